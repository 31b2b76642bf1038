"""Problems of uploaded files."""

from __future__ import annotations

from shuyan.problems import define

FILE_TOO_LARGE = define("file_too_large", 413, zh="文件“{name}”过大，上限为 {megabytes} MB。", en="The file “{name}” is too large; at most {megabytes} MB.")
FILE_EMPTY = define("file_empty", 422, zh="文件“{name}”是空的。", en="The file “{name}” is empty.")
FILE_KIND = define(
    "file_kind_not_allowed", 415, zh="文件“{name}”不是 PDF、PNG 或 JPEG 文件。", en="The file “{name}” is no PDF, PNG or JPEG file.")
FILE_NAME = define("file_name_invalid", 422, zh="文件名无效（1–120 个字符，不含控制字符）。", en="The file's name is not valid (1 to 120 characters, no control characters).")
