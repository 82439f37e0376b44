"""What every pool keeps running, whatever its caller does."""
