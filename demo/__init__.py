"""A whole market on one machine: real processes, real commands, nothing played by a stand-in."""
