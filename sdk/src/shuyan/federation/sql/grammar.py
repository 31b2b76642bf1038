"""What SQL may consist of: everything that is not listed here is refused."""

from __future__ import annotations

from typing import Final

from sqlglot import exp

MAX_CHARACTERS: Final = 20_000
MAX_TOKENS: Final = 4_000
MAX_NESTING: Final = 48
MAX_DEPTH: Final = 150
MAX_NODES: Final = 12_000
MAX_PATTERN: Final = 200
MAX_CORES: Final = 4
MAX_CELLS: Final = 100_000
MAX_KEYS: Final = 8
MAX_ROW_SETS: Final = 60

Kind = type[exp.Expr]

COMPARISONS: Final[tuple[Kind, ...]] = (
    exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.NullSafeEQ, exp.NullSafeNEQ, exp.Is, exp.In, exp.Between,
    exp.Like, exp.ILike, exp.RegexpLike, exp.StartsWith, exp.Contains, exp.EndsWith,
)
LOGIC: Final[tuple[Kind, ...]] = (exp.And, exp.Or, exp.Not)

SCALARS: Final[frozenset[Kind]] = frozenset({
    *COMPARISONS, *LOGIC, exp.Paren, exp.Neg, exp.Add, exp.Sub, exp.Mul, exp.Div, exp.IntDiv, exp.Mod, exp.Pow,
    exp.Escape, exp.Case, exp.If, exp.Coalesce, exp.Nullif, exp.Cast, exp.TryCast, exp.Abs, exp.Round, exp.Floor, exp.Ceil,
    exp.Sqrt, exp.Ln, exp.Log, exp.Exp, exp.Sign, exp.Least, exp.Greatest, exp.IsNan, exp.IsInf, exp.DateFromParts,
    exp.TimestampTrunc, exp.DateTrunc, exp.Extract, exp.Year, exp.Quarter, exp.Month, exp.Week, exp.WeekOfYear, exp.Day,
    exp.DayOfMonth, exp.DayOfWeek, exp.DayOfWeekIso, exp.DayOfYear, exp.Hour, exp.Minute, exp.Second, exp.DateDiff,
    exp.Lower, exp.Upper, exp.Length, exp.Substring, exp.Left, exp.Right, exp.Trim, exp.Replace, exp.Concat, exp.DPipe,
})

NAMED_SCALARS: Final = frozenset({"isfinite", "ltrim", "rtrim", "dayofmonth", "isodow", "trunc", "suffix", "prefix"})
"""Scalar functions that the parser has no class of its own for."""

AGGREGATES: Final[frozenset[Kind]] = frozenset({
    exp.Count, exp.CountIf, exp.Sum, exp.Avg, exp.Variance, exp.VariancePop, exp.Stddev, exp.StddevPop, exp.StddevSamp,
    exp.Min, exp.Max, exp.PercentileCont, exp.PercentileDisc, exp.Median, exp.CovarPop, exp.CovarSamp, exp.Corr,
})

NAMED_AGGREGATES: Final = frozenset({"histogram", "covariance_matrix", "correlation_matrix", "chi_square"})

STRUCTURE: Final[frozenset[Kind]] = frozenset({
    exp.Select, exp.From, exp.Where, exp.Join, exp.Group, exp.Having, exp.Order, exp.Ordered, exp.Limit, exp.Offset,
    exp.With, exp.CTE, exp.Subquery, exp.TableAlias, exp.Table, exp.Identifier, exp.Column, exp.Alias, exp.Star,
    exp.Literal, exp.Boolean, exp.Null, exp.DataType, exp.DataTypeParam, exp.Interval, exp.Var, exp.Distinct, exp.Filter,
    exp.WithinGroup, exp.Array, exp.Anonymous,
})

ARGUMENTS: Final[dict[Kind, frozenset[str]]] = {
    exp.Select: frozenset({"expressions", "from_", "joins", "where", "group", "having", "order", "limit", "offset", "with_"}),
    exp.Table: frozenset({"this", "alias"}),
    exp.Subquery: frozenset({"this", "alias"}),
    exp.Join: frozenset({"this", "on", "using", "side", "kind"}),
    exp.Group: frozenset({"expressions", "all"}),
    exp.With: frozenset({"expressions"}),
    exp.CTE: frozenset({"this", "alias", "materialized"}),
    exp.Limit: frozenset({"expression"}),
    exp.Column: frozenset({"this", "table"}),
    exp.TableAlias: frozenset({"this"}),
    exp.Identifier: frozenset({"this", "quoted"}),
    exp.Ordered: frozenset({"this", "desc", "nulls_first"}),
    exp.In: frozenset({"this", "expressions"}),
    exp.Count: frozenset({"this", "big_int"}),
    exp.Min: frozenset({"this"}),
    exp.Max: frozenset({"this"}),
    exp.Cast: frozenset({"this", "to"}),
    exp.TryCast: frozenset({"this", "to", "safe"}),
    exp.DataType: frozenset({"this", "nested", "expressions"}),
    exp.Trim: frozenset({"this", "expression", "position"}),
    exp.RegexpLike: frozenset({"this", "expression"}),
    exp.DateDiff: frozenset({"this", "expression", "unit", "date_part_boundary"}),
    exp.TimestampTrunc: frozenset({"this", "unit"}),
    exp.DateTrunc: frozenset({"this", "unit", "unabbreviate"}),
}
"""What these may be made of; another argument is a clause that is not available."""

TYPES: Final = frozenset({
    "BOOLEAN", "TINYINT", "SMALLINT", "INT", "BIGINT", "FLOAT", "DOUBLE", "DECIMAL", "VARCHAR", "TEXT", "DATE", "TIMESTAMP",
    "TIMESTAMPNTZ",
})
"""Casts may go to these."""

UNITS: Final = frozenset({
    "YEAR", "QUARTER", "MONTH", "WEEK", "DAY", "HOUR", "MINUTE", "SECOND", "DOW", "ISODOW", "DOY", "DAYOFWEEK", "DAYOFYEAR",
    "ISOYEAR", "EPOCH",
})

NONDETERMINISTIC: Final = frozenset({
    "random", "rand", "setseed", "uuid", "gen_random_uuid", "uuidv4", "uuidv7", "now", "current_date", "current_time",
    "current_timestamp", "localtime", "localtimestamp", "today", "get_current_timestamp", "get_current_time",
    "transaction_timestamp", "txid_current", "nextval", "currval", "current_localtime", "current_localtimestamp",
    "currentdate", "currenttime", "currenttimestamp", "rowid", "age",
})

TABLE_FUNCTIONS: Final = frozenset({
    "read_csv", "read_csv_auto", "read_parquet", "parquet_scan", "read_json", "read_json_auto", "read_ndjson", "read_text",
    "read_blob", "glob", "sniff_csv", "range", "generate_series", "unnest", "query", "query_table", "sqlite_scan",
    "postgres_scan", "mysql_scan", "duckdb_tables", "duckdb_settings", "duckdb_secrets", "which_secret",
})
