"""Why a query is refused: one code per kind, with the offending clause and where it stands."""

from __future__ import annotations

from typing import Final

from sqlglot import exp

from shuyan.federation.problems import OWN_FIGURE_REFUSED
from shuyan.problems import ProblemError, define

_LONGEST_CLAUSE: Final = 160


def _define(code: str, zh: str, en: str, status: int = 422) -> str:
    return define(code, status, zh=f"第 {{line}} 行第 {{column}} 列“{{clause}}”：{zh}",
                  en=f"Line {{line}}, column {{column}}, “{{clause}}”: {en}")


SYNTAX: Final = _define("sql_syntax", "无法识别的语法。", "this is not SQL that can be read.")
NOT_SELECT: Final = _define("sql_not_select", "只能提交一条 SELECT 查询。", "only a single SELECT may be asked.")
SEVERAL: Final = _define("sql_several_statements", "一次只能提交一条语句。", "only one statement may be asked at a time.")
TABLE_FUNCTION: Final = _define("sql_table_function", "不能使用表函数，FROM 之后只能是已授权的数据资源。",
                                "table functions are not available; only granted resources may stand after FROM.")
FILE: Final = _define("sql_file_relation", "不能把文件或其他数据库中的表当作数据来源。",
                      "files and tables of other databases are not relations here.")
WINDOW: Final = _define("sql_window_function", "不支持窗口函数。", "window functions are not available.")
STAR: Final = _define("sql_star", "不能使用 *，请逐一写出所需字段。", "* is not available; name the columns you need.")
BARE_ROWS: Final = _define("sql_bare_rows", "查询会逐行返回数据；请使用聚合函数或 GROUP BY。",
                           "the query would return single rows; use aggregates or GROUP BY.")
SET_OPERATION: Final = _define("sql_set_operation", "不支持 UNION、INTERSECT 和 EXCEPT。",
                               "UNION, INTERSECT and EXCEPT are not available.")
LATERAL: Final = _define("sql_lateral", "不支持 LATERAL。", "LATERAL is not available.")
RECURSIVE: Final = _define("sql_recursive", "不支持递归查询。", "recursive queries are not available.")
SUBQUERY: Final = _define("sql_subquery", "表达式中不能使用子查询（包括关联子查询）；子查询只能放在 FROM 或 WITH 中。",
                          "subqueries, correlated ones included, may stand in FROM or WITH only, not in an expression.")
NONDETERMINISTIC: Final = _define("sql_nondeterministic", "不能使用随机数、当前时间等结果不确定的函数。",
                                  "functions whose value changes by chance or with time are not available.")
IDENTIFIER_COLUMN: Final = _define("sql_identifier_column", "该字段是直接标识符，不对外授权。",
                                   "this column identifies directly, and such columns are never granted.")
UNKNOWN_RELATION: Final = _define("sql_unknown_relation", "没有名为“{name}”的已授权数据资源。",
                                  "there is no granted resource “{name}”.")
UNKNOWN_COLUMN: Final = _define("sql_unknown_column", "没有字段“{name}”。", "there is no column “{name}”.")
AMBIGUOUS: Final = _define("sql_ambiguous_column", "字段“{name}”在多个来源中都有，请加上来源名称。",
                           "more than one relation has a column “{name}”; say whose.")
NOT_GRANTED: Final = _define("sql_column_not_granted", "授权凭证未授予字段“{name}”。", "the grant does not cover the column “{name}”.")
UNKNOWN_FUNCTION: Final = _define("sql_unknown_function", "不支持函数“{name}”。", "the function “{name}” is not available.")
NO_DOMAIN: Final = _define(
    "sql_no_domain", "分组表达式的取值范围未知；请按已登记取值范围的字段、布尔表达式或结果为常量的 CASE 分组。",
    "the values it can take are not known beforehand; group by declared dimensions, booleans or a CASE over constants.")
DISTINCT: Final = _define("sql_distinct_not_allowed", "DISTINCT 只能用于 count，且字段须登记取值范围。",
                          "DISTINCT may stand in count only, over a column with declared values.")
NESTED_AGGREGATE: Final = _define("sql_nested_aggregate", "聚合函数不能嵌套。", "aggregates cannot be nested.")
AGGREGATE_PLACE: Final = _define("sql_aggregate_misplaced", "此处不能使用聚合函数。", "an aggregate cannot stand here.")
PARAMETER: Final = _define("sql_parameter", "不支持参数占位符，请直接写出常量。", "parameters are not available; write the value itself.")
TOO_COMPLEX: Final = _define("sql_too_complex", "查询过长或嵌套过深。", "the query is too long or nested too deeply.")
NOT_GROUPED: Final = _define("sql_not_grouped", "该字段既未分组也未聚合。", "it is neither grouped by nor aggregated.")
JOIN: Final = _define("sql_join", "只支持带 ON 或 USING 条件的 INNER JOIN 和 LEFT JOIN。",
                      "only INNER and LEFT JOIN with ON or USING are available.")
MIXED_LEVELS: Final = _define("sql_mixed_levels", "已汇总的结果不能再与部门内的记录连接或混用。",
                              "a result over all departments cannot be combined with rows inside them.")
CLAUSE: Final = _define("sql_clause", "不支持这一子句。", "this clause is not available.")
EXPRESSION: Final = _define("sql_expression", "不支持这种表达式。", "this kind of expression is not available.")
TYPE: Final = _define("sql_type", "不支持转换为此类型。", "casts to this type are not available.")
NO_BOUNDS: Final = _define("sql_no_bounds", "求最值或分位数的字段须登记上下界，且须直接引用字段。",
                           "extremes and quantiles need a column with declared bounds, named directly.")
ARGUMENT: Final = _define("sql_argument", "函数参数有误：{reason}。", "wrong arguments: {reason}.")
MAY_ISOLATE: Final = _define(
    "sql_may_isolate",
    "求和、平均等聚合的表达式可能只反映个别记录，不能执行；请仅使用列的加减乘（不超过二次）、以单独一列为自变量的函数，或在聚合函数内直接写条件。",
    "what is summed could pick out single rows. Use sums and products of two columns, functions of a column as it is, or conditions "
    "written inside the aggregate.")
PATTERN: Final = _define("sql_pattern", "匹配模式须为不超过 {maximum} 个字符的常量。",
                         "a pattern must be a constant of at most {maximum} characters.")
TYPES: Final = _define("sql_wrong_types", "类型不匹配（{reason}）。", "the types do not fit ({reason}).")
TOO_MANY_CELLS: Final = _define("sql_too_many_cells", "结果最多可能有 {cells} 个数值，超过上限 {maximum}。",
                                "the result could have {cells} values, more than {maximum}.")
NOISE_ONE_GROUPING: Final = _define(
    "sql_noise_one_grouping", "授权凭证要求差分隐私，一次查询只能有一个跨部门的分组汇总。",
    "the grant asks for differential privacy, and with it a query has one grouping over departments only.")
NOISE_ONE_RESOURCE: Final = _define(
    "sql_noise_one_resource", "授权凭证要求差分隐私，查询只能使用一个数据资源的记录，不能连接，也不能在部门内先行分组。",
    "the grant asks for differential privacy, and with it a query reads one resource, without joins or grouping inside departments.")
NOISE_BOUNDS: Final = _define(
    "sql_noise_bounds", "授权凭证要求差分隐私，求和的字段须登记上下界，且须直接引用字段。",
    "the grant asks for differential privacy, and with it only columns with declared bounds can be summed, named directly.")
NOISE_ONE_OPEN_KEY: Final = _define(
    "sql_noise_one_open_key", "取值未登记的分组字段，一次查询只能有一个；请用 || 把它们连成一个表达式。",
    "only one thing without declared values can be grouped by; join them into one with ||.")
OWN_FIGURE: Final = OWN_FIGURE_REFUSED
COLUMNS_DIFFER: Final = define(
    "columns_differ", 409, zh="字段“{column}”在各部门登记的类型不一致，不能合并使用。",
    en="The departments declare the column “{column}” with different types, so it cannot be used as one.")
COLUMN_UNITS_DIFFER: Final = define(
    "column_units_differ", 409, zh="字段“{column}”在各部门登记的计量单位不一致，不能合并使用。",
    en="The departments declare the column “{column}” in different units, so it cannot be used as one.")
DEPARTMENT_LEFT: Final = define(
    "department_left", 503, zh="有部门在两轮计算之间失去联系；继续计算可能会显示单个部门的数字，计算已终止。请待其恢复后重新提交。",
    en="A department was lost between two rounds. Going on could show a single department's figure, so the run has ended; submit it "
       "again once all are back.")
RELEASED_FAILED: Final = define("sql_released_failed", 422, zh="在已发布的结果上计算时出错：{reason}。",
                                en="The part of the query that runs on the released result failed: {reason}.")


def place(source: str, start: int) -> tuple[int, int]:
    """Line and column, from 1, of an offset in a text."""
    before = source[:start]
    return before.count("\n") + 1, start - (before.rfind("\n") + 1) + 1


def at(source: str, start: int, clause: str, code: str, **args: object) -> ProblemError:
    """A refusal of what stands at an offset."""
    line, column = place(source, start)
    text = " ".join(clause.split())
    if len(text) > _LONGEST_CLAUSE:
        text = text[: _LONGEST_CLAUSE - 1] + "…"
    return ProblemError(code, field="sql", line=line, column=column, clause=text, **args)


def refuse(source: str, node: exp.Expr, code: str, **args: object) -> ProblemError:
    """A refusal of a part of the parsed query."""
    starts = [found.meta["start"] for found in node.walk() if "start" in found.meta]
    ends = [found.meta["end"] for found in node.walk() if "end" in found.meta]
    if not starts:
        text = node.sql(dialect="duckdb")
        found_at = source.lower().find(text.lower())
        return at(source, max(found_at, 0), text if found_at >= 0 else source, code, **args)
    start, end = min(starts), max(ends)
    opened = source[start : end + 1].count("(") - source[start : end + 1].count(")")
    while opened > 0 and end + 1 < len(source):
        end += 1
        opened += {"(": 1, ")": -1}.get(source[end], 0)
    return at(source, start, source[start : end + 1], code, **args)
