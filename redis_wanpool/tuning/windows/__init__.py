"""The TCP settings of Windows, and where it keeps them."""
