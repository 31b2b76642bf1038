"""Developers' apps at the market: submitted as packages, reviewed, signed by the operator offline, and run only then."""
