"""The blocking face."""
