"""What only this machine knows: its clock, its processes and whether they live, signals and TCP settings."""
