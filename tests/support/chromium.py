"""A real Chromium without a window, driven by the protocol of its developer tools."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import aiohttp

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser")
QUIET = ("quic", "background-networking", "component-update", "sync", "gpu", "dev-shm-usage")
FLAGS = ["--headless=new", "--no-sandbox", "--no-first-run", "--hide-scrollbars", "--remote-debugging-port=0"]
FLAGS += ["--lang=en-US", *(f"--disable-{what}" for what in QUIET)]


class Page:
    """A page that is open."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._serial = 0
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self.troubles: list[str] = []  #: exceptions, errors of the console, what the policy refused
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for message in self._socket:
            said = json.loads(message.data)
            if "id" in said:
                self._answers.pop(said["id"]).set_result(said)
            elif said["method"] == "Runtime.exceptionThrown":
                self.troubles.append(json.dumps(said["params"]["exceptionDetails"]))
            elif said["method"] == "Log.entryAdded" and said["params"]["entry"]["level"] == "error":
                self.troubles.append(said["params"]["entry"]["text"] + " " + said["params"]["entry"].get("url", ""))

    async def send(self, method: str, **params: Any) -> Any:
        """Has the browser do something; its answer."""
        self._serial += 1
        answer = self._answers[self._serial] = asyncio.get_running_loop().create_future()
        await self._socket.send_str(json.dumps({"id": self._serial, "method": method, "params": params}))
        said = await asyncio.wait_for(answer, 60)
        assert "error" not in said, said
        return said["result"]

    async def close(self) -> None:
        self._reader.cancel()
        with suppress(asyncio.CancelledError):
            await self._reader
        await self._socket.close()

    async def open(self, url: str) -> None:
        await self.send("Page.navigate", url=url)

    async def evaluate(self, text: str) -> Any:
        """The value of an expression in the page."""
        said = await self.send("Runtime.evaluate", expression=text, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in said, said["exceptionDetails"]
        return said["result"].get("value")

    async def until(self, text: str, within: float = 30.0) -> Any:
        """Waits until an expression is true."""
        deadline = asyncio.get_running_loop().time() + within
        while not (value := await self.evaluate(text)):
            assert asyncio.get_running_loop().time() < deadline, (
                text,
                await self.evaluate("document.body?.innerText"),
                self.troubles,
            )
            await asyncio.sleep(0.05)
        return value

    async def shows(self, text: str, where: str = "body") -> Any:
        """Waits until a part of the page shows a text."""
        return await self.until(f"document.querySelector({json.dumps(where)})?.innerText.includes({json.dumps(text)})")

    async def key(self, name: str) -> None:
        for kind in ("rawKeyDown", "keyUp"):
            await self.send("Input.dispatchKeyEvent", type=kind, key=name, code=name, **_KEYS.get(name, {}))

    async def look(self, width: int, *, dark: bool = False, height: int = 900) -> None:
        """Has this width, and light or dark colours."""
        mobile = width < 500
        size = {"width": width, "height": height, "deviceScaleFactor": 2 if mobile else 1, "mobile": mobile}
        await self.send("Emulation.setDeviceMetricsOverride", **size)
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        await self.send("Emulation.setEmulatedMedia", features=features)

    async def picture(self, path: Path, *, whole: bool = True) -> None:
        """Keeps what is seen."""
        path.parent.mkdir(parents=True, exist_ok=True)
        said = await self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(said["data"]))


_KEYS = {"Tab": {"windowsVirtualKeyCode": 9}, "Enter": {"windowsVirtualKeyCode": 13, "text": "\r"}}
_KEYS |= {name: {"windowsVirtualKeyCode": 37 + number} for number, name in
          enumerate(("ArrowLeft", "ArrowUp", "ArrowRight", "ArrowDown"))}  # fmt: skip


class Chromium:
    """The browser, while its block lasts."""

    async def __aenter__(self) -> Chromium:
        self.folder = Path(mkdtemp(prefix="chromium-"))
        words = [str(PROGRAM), f"--user-data-dir={self.folder}", *FLAGS, "about:blank"]
        self.process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.session = aiohttp.ClientSession()
        told = self.folder / "DevToolsActivePort"
        deadline = asyncio.get_running_loop().time() + 60
        while not (told.exists() and told.read_text().count("\n")):
            assert asyncio.get_running_loop().time() < deadline and self.process.poll() is None
            await asyncio.sleep(0.05)
        self.url = f"http://127.0.0.1:{told.read_text().splitlines()[0]}"
        self.pages: list[Page] = []
        return self

    async def page(self, url: str = "about:blank", *, width: int = 1280, dark: bool = False) -> Page:
        """Opens another page."""
        async with self.session.put(f"{self.url}/json/new?about:blank") as answer:
            about = await answer.json()
        page = Page(await self.session.ws_connect(about["webSocketDebuggerUrl"], max_msg_size=0))
        self.pages.append(page)
        for domain in ("Page", "Runtime", "Log"):
            await page.send(f"{domain}.enable")
        await page.look(width, dark=dark)
        await page.open(url)
        return page

    async def __aexit__(self, *_: object) -> None:
        for page in self.pages:
            await page.close()
        await self.session.close()
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
