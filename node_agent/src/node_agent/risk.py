"""How easily a row could be told apart: k-anonymity and l-diversity over quasi-identifiers, measured on all rows.

A class is all rows that agree in every quasi-identifier; null agrees with null. With the data themselves as the population
(nobody outside them is known), the attacker models of Benitez and Malin (2010) and El Emam are: *prosecutor*, who knows that a person is in
the data: 1/k of the smallest class; *journalist*, who looks for anybody: 1/k of the smallest class, of k ≥ 1 in the population;
*marketer*, who matches everybody: classes / rows, the share expected to be right. l-diversity follows Machanavajjhala et
al. (2007): the fewest different values of a sensitive column in a class, and exp of the smallest entropy.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from node_agent import errors
from node_agent.sources_reading import opened
from shuyan.federation.schema import quote
from shuyan.problems import ProblemError
from shuyan_protos.local.v1 import local_pb2


def measure_risk(kind: str, location: str, quasi: Sequence[str], sensitive: Sequence[str] = ()) -> local_pb2.Risk:
    """Measure a source.

    Args:
        location: resolved, see :func:`node_agent.sources_reading.reading`.
        quasi: the quasi-identifiers, at least one.
        sensitive: columns whose diversity within the classes is measured.

    Raises:
        ProblemError: ``risk_columns``, ``resource_column``, or a ``source_…`` code.
    """
    if not quasi or set(quasi) & set(sensitive):
        raise ProblemError(errors.RISK_COLUMNS, field="quasi")
    with opened(kind, location) as (connection, table):
        known = {row[0] for row in connection.execute(f"DESCRIBE SELECT * FROM {table}").fetchall()}  # noqa: S608
        if missing := [name for name in (*quasi, *sensitive) if name not in known]:
            raise ProblemError(errors.RESOURCE_COLUMN, field="columns", column=missing[0])
        keys = ", ".join(quote(name) for name in quasi)
        classes = f"SELECT count(*) AS n FROM {table} GROUP BY {keys}"  # noqa: S608
        row = connection.execute(
            "SELECT coalesce(sum(n), 0), count(*), coalesce(min(n), 0), coalesce(sum(n) FILTER (n < 5), 0),"  # noqa: S608
            f" coalesce(sum(n) FILTER (n < 10), 0) FROM ({classes})").fetchone()
        rows, number, smallest, below_5, below_10 = map(int, row or (0, 0, 0, 0, 0))
        risk = local_pb2.Risk(quasi=quasi, rows=rows, classes=number, smallest_class=smallest,
                              measured_at_ms=time.time_ns() // 1_000_000)
        if rows:
            risk.share_below_5, risk.share_below_10 = below_5 / rows, below_10 / rows
            risk.prosecutor = risk.journalist = 1 / smallest
            risk.marketer = number / rows
        for name in sensitive:
            value = f"coalesce(CAST({quote(name)} AS VARCHAR), '')"
            # One row for each class and value, so that a class never holds its values all at once.
            counted = (f"SELECT {keys}, {value} AS __v, count(*) AS __m FROM {table} GROUP BY ALL")  # noqa: S608
            inner = (f"SELECT sum(__m) AS n, count(*) AS d, ln(sum(__m)) - sum(__m * ln(__m)) / sum(__m) AS h"  # noqa: S608
                     f" FROM ({counted}) GROUP BY {keys}")
            found = connection.execute(
                f"SELECT min(d), exp(min(h)), coalesce(sum(n) FILTER (d = 1), 0) FROM ({inner})").fetchone()  # noqa: S608
            if rows and found:
                risk.diversity.add(column=name, distinct=int(found[0]), entropy=round(float(found[1]), 6),
                                   share_single=int(found[2]) / rows)
    return risk
