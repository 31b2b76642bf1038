"""How large a request's body may be: small, but for what carries files, which is as large as the files that are allowed."""

from __future__ import annotations

from typing import Final

from flask import Flask, request, session

from marketplace.api.problems import is_api_path
from marketplace.attachments.service import MAX_BYTES

MAXIMUM: Final = 4 * 1024 * 1024
_SLACK: Final = 1024 * 1024  # names, boundaries, other fields
MAXIMUM_NOTICE: Final = 512 * 1024
"""A notification from outside: Stripe's are a few KiB."""
MAXIMUM_FORM: Final = 5 * MAX_BYTES + _SLACK
"""A form with files: five of the largest."""
MAXIMUM_JSON: Final = -(-MAX_BYTES // 3) * 4 + _SLACK
"""A file in base64 (RFC 4648); a little more, so that one just too large is told of as a file."""


def limit(app: Flask) -> None:
    """Set the limits. To be called before anything that reads bodies is added to the application."""
    app.config["MAX_CONTENT_LENGTH"] = MAXIMUM

    @app.before_request
    def _for_this_request() -> None:
        if request.path.startswith("/webhooks/"):
            request.max_content_length = MAXIMUM_NOTICE
        elif is_api_path(request.path):
            if request.path.endswith("/files") and "Authorization" in request.headers:
                request.max_content_length = MAXIMUM_JSON
        elif request.mimetype == "multipart/form-data" and "sid" in session:  # a cookie of ours: nobody else sends files
            request.max_content_length = MAXIMUM_FORM
