"""Mock data of a granted schema: what a sandbox is told of its scenario's data, and the tables made of that.

The tables are made of declared values and bounds, of marginals that a department approved, and of a seed: never of rows. The
same description gives the same tables on every machine.
"""

from shuyan.mockdata.description import (
    Described,
    Description,
    DescriptionError,
    MadeColumn,
    Marginal,
    Quota,
    Terms,
    cell_names,
    read_description,
)
from shuyan.mockdata.identities import KINDS, kind_of
from shuyan.mockdata.tables import column_values, preview, table

__all__ = [
    "KINDS",
    "Described",
    "Description",
    "DescriptionError",
    "MadeColumn",
    "Marginal",
    "Quota",
    "Terms",
    "cell_names",
    "column_values",
    "kind_of",
    "preview",
    "read_description",
    "table",
]
