"""Facts about this machine: its clock, its processes, signals and TCP settings."""
