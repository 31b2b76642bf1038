"""What codes are called on pages, a file a domain: each has ``LABELS`` (kind → code → text) and may have ``TONES``."""
