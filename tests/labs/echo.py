"""A server that tells each connection from where it seems to come; run as a program.

Port 7 says it once, and closes first if it is asked to; port 80 says it to each GET, and closes first after /bye.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress


async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    address, port = writer.get_extra_info("peername")
    with suppress(ConnectionError):
        writer.write(f"{address}:{port}\n".encode())
        await reader.readline()  # until we are to close, or the other side has closed
    writer.close()


async def http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    address, port = writer.get_extra_info("peername")
    body = json.dumps({"address": address, "port": port})
    with suppress(ConnectionError, asyncio.IncompleteReadError):
        closes = False
        while not closes:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            closes = "connection: close" in head or head.startswith("get /bye ")
            lines = ["HTTP/1.1 200 OK", "Content-Type: application/json", f"Content-Length: {len(body)}"]
            lines += ["Connection: close"] * closes
            writer.write("\r\n".join([*lines, "", body]).encode())
            await writer.drain()
    writer.close()


async def main() -> None:
    servers = [
        await asyncio.start_server(talk, "0.0.0.0", port, backlog=512) for talk, port in ((plain, 7), (http, 80))
    ]
    print("ready", flush=True)
    await asyncio.gather(*(server.serve_forever() for server in servers))


asyncio.run(main())
