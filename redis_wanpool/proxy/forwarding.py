"""HTTP from a client: requests that are forwarded, and CONNECT."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from typing import TYPE_CHECKING

import h11

from redis_wanpool.proxy import headers
from redis_wanpool.proxy.lines import Line
from redis_wanpool.proxy.refusal import Refusal
from redis_wanpool.proxy.upstream import Upstream
from redis_wanpool.proxy.wire import IdleWatch, Wire
from redis_wanpool.terminal.format import one_line

if TYPE_CHECKING:
    from redis_wanpool.proxy.visitor import Visitor

MOST_HEAD = 32_768  #: bytes that the head of a message may surely have; one of twice as many is refused
KEPT = 5.0  #: seconds for which a connection to a server, and its port, waits for another request
_NAME = 'Basic realm="wanpool: the user name chooses the WAN, like wan1, its name, or any", charset="UTF-8"'
_REPEATABLE = {b"GET", b"HEAD", b"OPTIONS"}


class Broken(Exception):
    """A message cannot be passed on to its end; the connection to the client says so by breaking."""


class UploadWrong(Exception):
    """The body of a request is not HTTP."""

    def __init__(self, why: h11.RemoteProtocolError) -> None:
        super().__init__(str(why))
        self.why = why


class Gone(Exception):
    """The client is gone."""


class Peer:
    """A connection on which HTTP is spoken."""

    def __init__(self, wire: Wire, role: type[h11.CLIENT] | type[h11.SERVER]) -> None:
        self.wire = wire
        self.http = h11.Connection(role, max_incomplete_event_size=MOST_HEAD)

    async def hear(self) -> h11.Event | type[h11.PAUSED]:
        """The next event."""
        while (event := self.http.next_event()) is h11.NEED_DATA:
            self.http.receive_data(await self.wire.receive())
        return event  # type: ignore[return-value]  # the other kind was waited for

    async def say(self, event: h11.Event) -> None:
        """Sends an event."""
        data = self.http.send(event)
        if data:
            await self.wire.send(data)


class Kept:
    """A connection to a server on which requests of one client follow one another."""

    def __init__(self, upstream: Upstream, to: tuple[Line, str, int]) -> None:
        self.upstream = upstream
        self.to = to
        self.peer = Peer(upstream.wire, h11.CLIENT)
        self.is_fresh = True
        self._timer: asyncio.TimerHandle | None = None

    def rest(self) -> None:
        """Waits for another request, for a moment."""
        self.is_fresh = False
        self.peer.http.start_next_cycle()
        self.upstream.wire.at_end = self.upstream.wire.close
        self._timer = asyncio.get_running_loop().call_later(KEPT, self.upstream.wire.close)

    def resume(self) -> bool:
        """Takes the next request; False if the connection has ended."""
        wire = self.upstream.wire
        if self._timer is not None:
            self._timer.cancel()
        wire.at_end = None
        return not (wire.ended or wire.transport.is_closing() or self.upstream.is_lost())


class Forwarder:
    """Serves a client that speaks HTTP."""

    def __init__(self, visitor: "Visitor") -> None:
        self.visitor = visitor
        self.client = Peer(visitor.wire, h11.SERVER)
        self._kept: Kept | None = None

    async def run(self) -> None:
        """Serves one request after another, until either side has had enough."""
        try:
            while await self._serve_one():
                self.client.http.start_next_cycle()
        finally:
            self._drop()

    async def _serve_one(self) -> bool:
        """Serves a request; whether another may follow."""
        request: h11.Request | None = None
        try:
            request = await self._next_request()
            if request is None:
                return False
            await self._serve(request)
        except Refusal as refused:
            return await self._refuse(refused, request)
        except h11.RemoteProtocolError as error:
            return await self._refuse(Refusal(error.error_status_hint, str(error)), None)
        except (Broken, ConnectionError):
            self.visitor.wire.reset()
            return False
        return self._may_go_on()

    def _may_go_on(self) -> bool:
        http = self.client.http
        return http.our_state is h11.DONE and http.their_state is h11.DONE

    async def _next_request(self) -> h11.Request | None:
        """The head of the next request; None if there is none."""
        visitor = self.visitor
        visitor.is_busy = False
        if visitor.proxy.draining:
            return None
        try:
            async with asyncio.timeout(visitor.proxy.head_timeout):
                await visitor.wire.peek() if not self.client.http.trailing_data[0] else None
                visitor.is_busy = True
                event = await self.client.hear()
        except TimeoutError:
            if not visitor.is_busy:
                return None
            raise Refusal(408, "the head of the request did not come in time") from None
        return event if isinstance(event, h11.Request) else None

    async def _serve(self, request: h11.Request) -> None:
        found = request.headers
        if request.http_version not in (b"1.0", b"1.1"):
            raise Refusal(505, "only HTTP/1.0 and HTTP/1.1 are spoken here")
        framing = [name for name in (b"content-length", b"transfer-encoding") if headers.values(found, name)]
        if len(framing) > 1 or (framing == [b"transfer-encoding"] and request.http_version == b"1.0"):
            raise Refusal(400, "the length of the request is not certain")  # which is how requests are smuggled
        line = await self.visitor.line_of(headers.credentials(found))
        if request.method == b"CONNECT":
            if framing and headers.values(found, b"content-length") != [b"0"]:
                raise Refusal(400, "a CONNECT has no body")
            await self._tunnel(line, *headers.authority(request.target.decode(), None))
            return
        authority, host, port, path = headers.absolute(request.target.decode())
        others = [pair for pair in headers.passed_on(found.raw_items()) if pair[0].lower() != b"host"]
        out = h11.Request(
            method=request.method,
            target=b"*" if request.method == b"OPTIONS" and path == "/" else path.encode(),
            headers=[(b"Host", authority.encode()), *others],
        )
        has_body = bool(framing) and headers.values(found, b"content-length") != [b"0"]
        await self._forward(line, host, port, out, has_body)

    async def _tunnel(self, line: Line, host: str, port: int) -> None:
        await self.client.hear()  # the end of the request
        upstream = await self.visitor.connect(line, host, port)
        try:
            await self.client.say(h11.Response(status_code=200, headers=[], reason=b"Connection established"))
            early, _ = self.client.http.trailing_data
        except BaseException:
            upstream.wire.reset()
            raise
        await self.visitor.tunnel(upstream, early)

    # -- forwarding

    async def _forward(self, line: Line, host: str, port: int, request: h11.Request, has_body: bool) -> None:
        kept = await self._connected(line, host, port)
        try:
            while True:
                may_repeat = not kept.is_fresh and not has_body and request.method in _REPEATABLE
                async with self._watched(kept):
                    if await self._exchange(kept, request, has_body, may_repeat):
                        break
                kept.upstream.wire.reset()
                kept = await self._connected(line, host, port)  # the server had closed the one that was kept
        except BaseException:
            kept.upstream.wire.reset()
            raise
        http = kept.peer.http
        if http.our_state is h11.DONE and http.their_state is h11.DONE and not kept.upstream.wire.ended:
            kept.rest()
            self._kept = kept
        else:
            kept.upstream.wire.close()

    async def _connected(self, line: Line, host: str, port: int) -> Kept:
        kept, self._kept = self._kept, None
        if kept is not None:
            if kept.resume() and kept.to == (line, host, port):
                return kept
            kept.upstream.wire.close()
        return Kept(await self.visitor.connect(line, host, port), (line, host, port))

    @asynccontextmanager
    async def _watched(self, kept: Kept) -> AsyncIterator[None]:
        """Ends the exchange when the client is gone, or nothing comes from either side."""
        client, server = self.visitor.wire, kept.upstream.wire
        watch = client.watch = server.watch = IdleWatch(self.visitor.proxy.idle_timeout, kept.upstream.expire)
        client.at_end = server.reset
        if client.ended:
            server.reset()
        try:
            yield
        finally:
            watch.stop()
            client.watch = server.watch = client.at_end = None

    async def _exchange(self, kept: Kept, request: h11.Request, has_body: bool, may_repeat: bool) -> bool:
        """Passes a request on, and its answer; False if a server that was kept has closed without a word."""
        upload: asyncio.Task[None] | None = None
        began = False
        try:
            await kept.peer.say(request)
            if has_body:
                upload = asyncio.get_running_loop().create_task(self._upload(kept))
            else:
                await self._upload(kept)
            async for event in self._answer(kept):
                began = True
                await self.client.say(event)
        except (h11.RemoteProtocolError, h11.LocalProtocolError, ConnectionError) as error:
            if not began and may_repeat and kept.upstream.wire.ended and not self.visitor.wire.ended:
                return False
            wrong = upload.exception() if upload is not None and upload.done() else None
            raise self._meaning(kept, wrong or error, began) from error
        finally:
            if upload is not None:
                upload.cancel()
                await asyncio.wait([upload])
                if not upload.cancelled():
                    upload.exception()
        return True

    def _meaning(self, kept: Kept, error: BaseException, began: bool) -> BaseException:
        """What an exchange that failed means to the client."""
        if self.visitor.wire.ended:
            return Gone()
        if began:
            return Broken()
        if isinstance(error, UploadWrong):
            return error.why
        if kept.upstream.timed_out:
            return Refusal(504, "the server does not answer")
        if kept.upstream.is_lost():
            return Refusal(503, "the lease of the port was lost", retry_after=1)
        return Refusal(502, f"the server's answer is not whole: {error}")

    async def _upload(self, kept: Kept) -> None:
        """Passes the body of the request on. If the server takes no more, its answer decides."""
        server = kept.peer
        try:
            while isinstance(event := await self.client.hear(), h11.Data):
                with suppress(ConnectionError):
                    await server.say(h11.Data(data=event.data))
        except h11.RemoteProtocolError as error:
            server.wire.reset()
            raise UploadWrong(error) from error
        with suppress(ConnectionError):
            await server.say(h11.EndOfMessage())

    async def _answer(self, kept: Kept) -> AsyncIterator[h11.Event]:
        """What the client is to hear of the server's answer."""
        ancient = self.client.http.their_http_version in (None, b"1.0")
        while True:
            event = await kept.peer.hear()
            if isinstance(event, h11.InformationalResponse):
                if not ancient:
                    found = headers.passed_on(event.headers.raw_items())
                    yield h11.InformationalResponse(status_code=event.status_code, headers=found, reason=event.reason)
            elif isinstance(event, h11.Response):
                found = headers.passed_on(event.headers.raw_items())
                if self.visitor.proxy.draining:
                    found.append((b"Connection", b"close"))
                yield h11.Response(status_code=event.status_code, headers=found, reason=event.reason)
            elif isinstance(event, h11.Data):
                yield h11.Data(data=event.data)
            elif isinstance(event, h11.EndOfMessage):
                if kept.upstream.is_lost() and kept.upstream.wire.ended:
                    raise ConnectionError("the lease of the port was lost")
                yield h11.EndOfMessage()
                return
            else:
                raise ConnectionError("the server closed the connection")

    def _drop(self) -> None:
        if self._kept is not None:
            self._kept.resume()
            self._kept.upstream.wire.close()

    # -- refusing

    async def _refuse(self, refused: Refusal, request: h11.Request | None) -> bool:
        """Tells the client why not; whether it may ask again on this connection."""
        self.visitor.said(f"{refused.status} {refused}")
        http = self.client.http
        if http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.visitor.wire.reset()
            return False
        body = f"wanpool: {one_line(str(refused))}\n".encode()
        found = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
        if refused.status == 407:
            found.append(("Proxy-Authenticate", _NAME))
        if refused.retry_after is not None:
            found.append(("Retry-After", str(refused.retry_after)))
        may_ask_again = False
        if refused.status == 407 and request is not None and http.their_state is not h11.ERROR:
            bodies = (b"content-length", b"transfer-encoding")
            may_ask_again = not any(headers.values(request.headers, name) for name in bodies)
        if may_ask_again:
            await self.client.hear()  # the end of the request
        else:
            found.append(("Connection", "close"))
        with suppress(ConnectionError):
            reason = HTTPStatus(refused.status).phrase.encode()
            await self.client.say(h11.Response(status_code=refused.status, headers=found, reason=reason))
            if request is None or request.method != b"HEAD":
                await self.client.say(h11.Data(data=body))
            await self.client.say(h11.EndOfMessage())
            if may_ask_again and self._may_go_on():
                return True
            await self.visitor.wire.finish()
        return False
