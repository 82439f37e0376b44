"""HTTP clients whose connections leave from leased ports, each client in a module of its name; and `install` for those
of libraries that open their connections themselves.

Each connection goes by IPv4 and has its own lease, from start to close: keep-alive keeps the lease, and ends when it
is lost; a redirect or a retry that needs another connection takes another lease.
"""

from redis_wanpool.http.libraries import install, uninstall
from redis_wanpool.http.line import over_wan

__all__ = ["install", "over_wan", "uninstall"]
