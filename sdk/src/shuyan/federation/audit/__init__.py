"""Membership inference as an audit: after a training, every department attacks the model with its own rows.

A department knows which of its rows the model was trained on and which were held out. It plays the attacker of Carlini
et al. ("Membership Inference Attacks From First Principles", IEEE S&P 2022): it trains shadow models of the same kind on
random halves of its rows, and asks how many of the rows trained on can be told from the others while one in a hundred
of the others is taken for them by mistake. What leaves the department is whether that share stays below the limit that
the job declares, or that its rows are too few to say; of that, only the sums over all departments are ever seen.

:mod:`.rates` has the statistics, :mod:`.lira` the attack; an app brings its model's scores and a way to fit it again.
"""

from __future__ import annotations

from shuyan.federation.audit.lira import Rows, Verdict, audited, odds_of_truth, sample, surprise_of_counts
from shuyan.federation.audit.params import FALSE_POSITIVE_RATE, MembershipAudit
from shuyan.federation.audit.result import ACTION, STATES, AuditContent, ask, needs_rows_held_out, states

__all__ = ["ACTION", "FALSE_POSITIVE_RATE", "STATES", "AuditContent", "MembershipAudit", "Rows", "Verdict", "ask",
           "audited", "needs_rows_held_out", "odds_of_truth", "sample", "states",
           "surprise_of_counts"]
