"""Measurements: ``make bench``. They print what they saw and never judge it."""
