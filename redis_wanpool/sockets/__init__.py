"""A leased port in a TCP socket."""
