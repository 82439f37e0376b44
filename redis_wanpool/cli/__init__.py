"""The command line: `wanpool`, one module a verb."""
