"""TCP sockets on leased ports."""
