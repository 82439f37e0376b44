"""Values and their checks; no I/O."""
