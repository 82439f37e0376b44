"""What people on call look at: one reading of Redis for many viewers, as metrics and as a page."""
