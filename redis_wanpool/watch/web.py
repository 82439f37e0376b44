"""A page on which a namespace is seen live; it changes nothing, and many pages cost Redis one reading."""

import asyncio
import ipaddress
import json
import logging
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from aiohttp import web

from redis_wanpool.errors import BackendUnavailable, InvalidValue, WanpoolError
from redis_wanpool.model.places import PortMap
from redis_wanpool.system.clock import boottime
from redis_wanpool.watch import facts
from redis_wanpool.watch.reading import Watch

logger = logging.getLogger("redis_wanpool")

FOLDER = Path(__file__).with_name("page")
KINDS = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
MOST_PAGES = 200  #: that are open at once
GOODBYE = 1.0  #: seconds that open answers have at the end
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::\d{1,5})?")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def is_our_host(header: str, names: Collection[str] = ()) -> bool:
    """Whether a Host header may ask: a number of an address, localhost, or one of these names.

    A page elsewhere whose name leads here (DNS rebinding) comes under its own name, so it reads nothing.
    """
    match = _HOST.fullmatch(header)
    if match is None:
        return False
    name = match[1].strip("[]").lower().rstrip(".")
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name == "localhost" or name in {other.lower() for other in names}
    return True


class Live:
    """What all open pages see: read while somebody looks, told to each as fast as it takes it.

    Attributes:
        news: the last message of each kind.
        serial: of each kind, a number that grows when it changes.
    """

    def __init__(self, watch: Watch, pace: float) -> None:
        self.watch = watch
        self.threads = ThreadPoolExecutor(8, "wanpool-web")
        self.news: dict[str, bytes] = {}
        self.serial: dict[str, int] = {}
        self.pages = 0
        self._pace = pace
        self._changed = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None
        self._down_since: float | None = None
        self._maps: dict[int, tuple[PortMap, bytes]] = {}

    async def read(self, what: Callable[..., Any], *args: Any) -> Any:
        """Reads in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self.threads, what, *args)

    async def follow(self) -> AsyncGenerator[bytes, None]:
        """The news, until the page is gone; a slow page gets the newest, not all."""
        told: dict[str, int] = {}
        self.pages += 1
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._go_on())
        try:
            while True:
                async with self._changed:
                    while self.serial == told:
                        await self._changed.wait()
                    new = [kind for kind, serial in self.serial.items() if told.get(kind) != serial]
                    told = dict(self.serial)
                    frames = [b"event: %b\ndata: %b\n\n" % (kind.encode(), self.news[kind]) for kind in new]
                yield b"".join(frames)
        finally:
            self.pages -= 1

    async def _go_on(self) -> None:
        while self.pages:
            for kind, look in (("state", self._state), ("held", self._held), ("events", self._events)):
                try:
                    await self._tell(kind, await self.read(look))
                except WanpoolError:  # which the state tells
                    pass
                except Exception:  # a fault of ours: the pages go on
                    logger.exception("cannot tell the pages what is new of %s", kind)
            await asyncio.sleep(self._pace)

    async def _tell(self, kind: str, news: bytes) -> None:
        async with self._changed:
            if self.news.get(kind) != news:
                self.news[kind] = news
                self.serial[kind] = self.serial.get(kind, 0) + 1
                self._changed.notify_all()

    def _state(self) -> bytes:
        operator = self.watch.operator
        about: dict[str, Any] = {"namespace": operator.namespace, "url": operator.url, "error": "", "error_for": 0}
        try:
            about |= facts.of_reading(self.watch.wans.get())
            self._down_since = None
        except WanpoolError as error:
            now = boottime()
            self._down_since = now if self._down_since is None else self._down_since
            about |= {"error": str(error), "error_for": round(now - self._down_since)}
        return encoded(about)

    def _held(self) -> bytes:
        return encoded(facts.of_holders(self.watch.holders.get()))

    def _events(self) -> bytes:
        events = self.watch.events.get()
        return encoded(facts.of_events(events, self.watch.wans.get().at_ms // facts.SLOT_MS * facts.SLOT_MS))

    def map_of(self, wan_idx: int) -> bytes:
        places = self.watch.port_map(wan_idx)
        known = self._maps.get(wan_idx)
        if known is None or known[0] is not places:
            known = self._maps[wan_idx] = places, encoded(facts.of_map(places))
        return known[1]

    def port(self, port: int) -> bytes:
        return encoded(facts.of_port(*self.watch.explain(port)))

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        self.threads.shutdown(wait=False, cancel_futures=True)


def encoded(document: Mapping[str, Any]) -> bytes:
    """A document in one line, as an event of a stream needs it."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def application(live: Live, names: Collection[str] = ()) -> web.Application:
    """The page and what it asks for."""

    @web.middleware
    async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not is_our_host(request.headers.get("Host", ""), names):
            return web.Response(status=421, text="this page is not served under that name; allow it with --host NAME\n")
        try:
            return await handler(request)
        except WanpoolError as error:
            status = 503 if isinstance(error, BackendUnavailable) else 404
            return web.json_response({"error": str(error)}, status=status)

    async def add_headers(_: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(HEADERS)

    async def told(request: web.Request) -> web.StreamResponse:
        if live.pages >= MOST_PAGES:
            return web.Response(status=503, text="too many pages are open\n")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"retry: 2000\n\n")
        with suppress(ConnectionError):
            async with aclosing(live.follow()) as all_news:
                async for news in all_news:
                    await response.write(news)
        return response

    def document(read: Callable[[int], bytes], most: int) -> Handler:
        async def handler(request: web.Request) -> web.StreamResponse:
            number = int(request.match_info["number"])
            if number > most:
                raise web.HTTPNotFound
            response = web.Response(body=await live.read(read, number), content_type="application/json")
            response.enable_compression()
            return response

        return handler

    def file(path: Path) -> Handler:
        body, kind = path.read_bytes(), KINDS[path.suffix[1:]]

        async def handler(_: web.Request) -> web.StreamResponse:
            return web.Response(body=body, content_type=kind, charset="utf-8")

        return handler

    app = web.Application(middlewares=[guarded])
    app.on_response_prepare.append(add_headers)
    app.router.add_get("/", file(FOLDER / "index.html"))
    for path in sorted(FOLDER.glob("*.*")):
        app.router.add_get(f"/{path.name}", file(path))
    app.router.add_get("/live", told, allow_head=False)
    app.router.add_get(r"/map/{number:\d{1,6}}", document(live.map_of, 999_999))
    app.router.add_get(r"/port/{number:\d{1,5}}", document(live.port, 65_535))
    return app


@asynccontextmanager
async def serve(
    watch: Watch,
    *,
    bind: str = "127.0.0.1",
    port: int = 7081,
    beyond_loopback: bool = False,
    hosts: Collection[str] = (),
    pace: float = 1.0,
) -> AsyncIterator[int]:
    """Serves the page on this loop while the block lasts; yields the port at which it listens.

    Args:
        watch: reads Redis.
        bind: the IP address at which to listen.
        port: 0: the system chooses one.
        beyond_loopback: whether others than this machine may look; they need no password.
        hosts: names beside localhost under which browsers may ask.
        pace: seconds between two readings at least.

    Raises:
        InvalidValue: the address cannot be had, or is not loopback and `beyond_loopback` is not given.
    """
    try:
        is_loopback = ipaddress.ip_address(bind).is_loopback
    except ValueError:
        raise InvalidValue(f"bind {bind!r}: must be an IP address of this machine, like 127.0.0.1") from None
    if not is_loopback and not beyond_loopback:
        raise InvalidValue(
            f"bind {bind}: beyond loopback everybody who reaches it sees all leases, without a password; use a tunnel "
            "(ssh -L 7081:127.0.0.1:7081 HOST) or a proxy that asks for one, or allow it with --beyond-loopback"
        )
    live = Live(watch, pace)
    runner = web.AppRunner(application(live, hosts), handler_cancellation=True, shutdown_timeout=GOODBYE)
    try:
        await runner.setup()
        site = web.TCPSite(runner, bind, port)
        try:
            await site.start()
        except (OSError, OverflowError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise InvalidValue(f"port {port} at {bind}: {why}; choose another with --port") from error
        yield int(runner.addresses[0][1])
    finally:
        await live.close()
        await runner.cleanup()
