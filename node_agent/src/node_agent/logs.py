"""The node's log: JSON lines in ``node.log``, and short lines on the terminal."""

from __future__ import annotations

import logging
import logging.handlers
import sys
from pathlib import Path

import structlog
from structlog.typing import Processor

_MAX_BYTES = 8 * 1024 * 1024


def configure(path: Path) -> None:
    """Send everything logged to the file (rotated, 0600) and to standard error."""
    path.touch(mode=0o600)
    path.chmod(0o600)
    shared: list[Processor] = [structlog.stdlib.add_log_level, structlog.stdlib.add_logger_name,
              structlog.processors.TimeStamper(fmt="iso", utc=True), structlog.processors.format_exc_info]
    file = logging.handlers.RotatingFileHandler(path, maxBytes=_MAX_BYTES, backupCount=2, encoding="utf-8")
    file.setFormatter(structlog.stdlib.ProcessorFormatter(
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    structlog.processors.JSONRenderer(ensure_ascii=False)], foreign_pre_chain=shared))
    terminal = logging.StreamHandler(sys.stderr)
    terminal.setFormatter(structlog.stdlib.ProcessorFormatter(
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    structlog.processors.KeyValueRenderer(key_order=["timestamp", "level", "event"])],
        foreign_pre_chain=shared))
    logging.basicConfig(level=logging.INFO, handlers=[file, terminal], force=True)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(), wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True)
