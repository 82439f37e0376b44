"""`wanpool demo`: real processes lease ports, connect from them, crash, and never share one."""
