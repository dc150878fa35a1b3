"""A headless Chromium, driven by its DevTools protocol; tests skip where none is installed."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from waiting import limit

NAMES = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = (
    *("--headless=new", "--no-sandbox", "--remote-debugging-port=0", "--no-first-run", "--disable-dev-shm-usage"),
    *("--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--window-size=1280,800"),
)


def find_browser() -> str | None:
    return next(filter(None, map(shutil.which, NAMES)), None)


class Page:
    """A tab. ``errors`` has the exceptions and failed requests of its scripts."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket, self._numbers = socket, itertools.count(1)
        self.errors: list[str] = []

    async def call(self, method: str, **values: Any) -> dict[str, Any]:
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": values})
        async for message in self._socket:
            content = json.loads(message.data)
            if content.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded"):
                self.errors.append(json.dumps(content["params"]))
            if content.get("id") == number:
                assert "error" not in content, content
                return content["result"]
        raise AssertionError("the browser has ended")

    async def evaluate(self, expression: str) -> Any:
        answer = await self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def wait_for(self, expression: str, seconds: float = 60.0) -> Any:
        """Return the expression's value as soon as it is true."""
        deadline = asyncio.get_running_loop().time() + limit(seconds)
        while not (value := await self.evaluate(expression)):
            assert asyncio.get_running_loop().time() < deadline, f"{expression} is never true: {self.errors}"
            await asyncio.sleep(0.05)
        return value

    async def screenshot(self, path: Path) -> None:
        answer = await self.call("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(answer["data"]))


@asynccontextmanager
async def open_page(url: str, folder: Path) -> AsyncIterator[Page]:
    """Open a page in a new browser. ``folder`` takes the browser's files."""
    browser = find_browser()
    assert browser is not None
    process = await asyncio.create_subprocess_exec(
        browser, *OPTIONS, f"--user-data-dir={folder}", "about:blank", stderr=subprocess.PIPE
    )
    try:
        assert process.stderr is not None
        while "DevTools listening on" not in (line := (await process.stderr.readline()).decode()):
            assert line, "the browser has ended"
        port = line.split(":")[-1].partition("/")[0]
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/json") as answer:
                tabs = [tab for tab in await answer.json() if tab["type"] == "page"]
            async with session.ws_connect(tabs[0]["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                page = Page(socket)
                for domain in ("Runtime", "Log", "Page"):
                    await page.call(f"{domain}.enable")
                await page.call("Page.navigate", url=url)
                yield page
    finally:
        process.kill()
        await process.wait()
