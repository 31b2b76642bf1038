"""The Shuyan SDK: find data, run federated jobs, buy and call products, and check a market without trusting it.

>>> import shuyan
>>> market = shuyan.connect("http://127.0.0.1:8700", client_id="…", client_secret="…")
>>> for resource in market.resources.list(sector="health"):
...     print(resource.title, resource.row_count)
"""

from shuyan._audit import verify_evidence
from shuyan._client import Job, Market, Product, connect
from shuyan._errors import (
    ConfigurationError,
    Conflict,
    ConnectionFailed,
    FieldError,
    InvalidInput,
    JobFailed,
    NotAllowed,
    NotFound,
    NotSignedIn,
    ProblemResponse,
    RateLimited,
    ShuyanError,
    Unavailable,
    VerificationFailed,
)
from shuyan._models import (
    App,
    Column,
    Demand,
    Entitlement,
    LogLine,
    Node,
    Order,
    Permission,
    Record,
    Resource,
    Review,
    Scenario,
)
from shuyan.trust.bundle import Verified

__version__ = "0.1.0"

__all__ = [
    "App",
    "Column",
    "ConfigurationError",
    "Conflict",
    "ConnectionFailed",
    "Demand",
    "Entitlement",
    "FieldError",
    "InvalidInput",
    "Job",
    "JobFailed",
    "LogLine",
    "Market",
    "Node",
    "NotAllowed",
    "NotFound",
    "NotSignedIn",
    "Order",
    "Permission",
    "ProblemResponse",
    "Product",
    "RateLimited",
    "Record",
    "Resource",
    "Review",
    "Scenario",
    "ShuyanError",
    "Unavailable",
    "VerificationFailed",
    "Verified",
    "connect",
    "verify_evidence",
]

# Show the public names as members of this module, not of the private ones they are written in.
for _name in __all__:
    if globals()[_name].__module__.startswith("shuyan._"):
        globals()[_name].__module__ = "shuyan"
