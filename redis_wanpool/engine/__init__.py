"""The background work of a pool object, whatever its caller does."""
