"""The TCP settings of Linux, and where it keeps them."""
