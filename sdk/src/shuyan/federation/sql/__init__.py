"""Federated SQL: one SELECT over rows that several departments keep, answered from secure sums.

1. :func:`~shuyan.federation.sql.gate.parse`: the text is one SELECT of nothing but what the grammar lists.
2. :func:`~shuyan.federation.sql.plan.make_plan`: names are traced to granted columns; the query becomes *cores*, grouped
   aggregates over all departments' rows, and SQL that runs on what they release.
3. :mod:`~shuyan.federation.sql.node`: each department works out its states in one pass, in SQL written anew from the tree.
4. :mod:`~shuyan.federation.sql.serve`: the coordinator learns how many departments are behind each cell, then the sums of
   the others, finds order statistics, suppresses, and runs the rest.

The market and every node do 1 and 2 for themselves, from the text and what is declared; neither trusts the other.
:func:`~shuyan.federation.sql.explain.explain` tells all this beforehand.

Importing this package imports nothing else.
"""
