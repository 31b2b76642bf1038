"""What of a sum may be shown: nothing about too few rows or one department, nor anything that the rest gives away.

:func:`suppress` decides over all tables of one result together; :func:`withheld` is the rule for one list of counts.
"""

from __future__ import annotations

from shuyan.federation.release._estimate import estimated
from shuyan.federation.release._single import withheld
from shuyan.federation.release._suppress import Decision, Reason, decide, suppress
from shuyan.federation.release._tables import Axis

__all__ = ["Axis", "Decision", "Reason", "decide", "estimated", "suppress", "withheld"]
