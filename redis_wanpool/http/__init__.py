"""HTTP clients whose connections leave from leased ports, each client in a module of its name.

Each connection has a lease of its own, from the moment it is made until it is closed: keep-alive keeps the lease, and
ends when it is lost; a redirect or a retry that needs another connection takes another lease. Connections go by IPv4.
"""

from redis_wanpool.http.line import over_wan

__all__ = ["over_wan"]
