"""What only this machine knows: its clock, who a process is and whether it lives, its signals and TCP settings."""
