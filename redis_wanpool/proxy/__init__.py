"""A proxy for programs in any language: HTTP, CONNECT and SOCKS 5, each connection from a leased port."""

try:
    from redis_wanpool.proxy.server import Proxy, serve
except ModuleNotFoundError as error:
    if error.name != "h11":
        raise
    raise ModuleNotFoundError(
        'the proxy needs h11, which reads HTTP: pip install "redis-wanpool[proxy]"', name="h11"
    ) from error

__all__ = ["Proxy", "serve"]
