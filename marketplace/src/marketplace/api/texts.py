"""Why a field was refused, said in both languages: pydantic's own sentences are English only."""

from __future__ import annotations

from typing import Any

from shuyan.problems import Language

_REASONS: dict[str, tuple[str, str]] = {
    "missing": ("缺少必填项", "is required"),
    "extra_forbidden": ("不认识的字段", "is not a known field"),
    "int_type": ("必须是整数", "must be an integer"),
    "int_from_float": ("必须是整数", "must be an integer"),
    "int_parsing": ("必须是整数", "must be an integer"),
    "float_type": ("必须是数字", "must be a number"),
    "finite_number": ("必须是有限数值", "must be a finite number"),
    "bool_type": ("必须是 true 或 false", "must be true or false"),
    "bool_parsing": ("必须是 true 或 false", "must be true or false"),
    "string_type": ("必须是文本", "must be text"),
    "list_type": ("必须是列表", "must be a list"),
    "tuple_type": ("必须是列表", "must be a list"),
    "dict_type": ("必须是对象", "must be an object"),
    "model_type": ("必须是对象", "must be an object"),
    "model_attributes_type": ("必须是对象", "must be an object"),
    "greater_than_equal": ("不得小于 {ge}", "must be at least {ge}"),
    "greater_than": ("必须大于 {gt}", "must be greater than {gt}"),
    "less_than_equal": ("不得大于 {le}", "must be at most {le}"),
    "less_than": ("必须小于 {lt}", "must be less than {lt}"),
    "string_too_short": ("至少 {min_length} 个字符", "must have at least {min_length} characters"),
    "string_too_long": ("至多 {max_length} 个字符", "must have at most {max_length} characters"),
    "too_short": ("至少 {min_length} 项", "must have at least {min_length} items"),
    "too_long": ("至多 {max_length} 项", "must have at most {max_length} items"),
    "string_pattern_mismatch": ("格式不符", "has the wrong format"),
    "literal_error": ("只能是 {expected} 之一", "must be one of {expected}"),
    "enum": ("只能是 {expected} 之一", "must be one of {expected}"),
}


def reason(error: Any, language: Language) -> str:
    """The sentence for one pydantic error; unknown kinds read as a plain "not valid", never as internal text."""
    zh, en = _REASONS.get(error["type"], ("取值无效", "is not valid"))
    return (zh if language == "zh" else en).format_map(error.get("ctx") or {})
