"""The server of the page and its stream. It has its own thread, so a slow browser never delays the image callbacks."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import json
import logging
import secrets
import threading
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from aiohttp import WSMsgType, web

from depth_anything_ros.web_view.feed import Feed

PAGE = Path(__file__).with_name("page")
SCRIPTS = {"/view.js": "view.js", "/three.min.js": "three.min.js"}
FILES = {"/": "index.html", **SCRIPTS}
IN_FLIGHT = 2
"""Maximum number of unconfirmed frames per browser. A slow browser gets fewer frames, never old ones."""
STATUS_PERIOD = 0.5
"""Seconds between two reports."""
HEARTBEAT = 10.0
"""Seconds until the server notices a lost connection."""
_SECURITY = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; style-src 'self' 'unsafe-inline'; "
    "connect-src 'self' ws: wss:; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
Action = Callable[[Mapping[str, Any]], Awaitable[str]]
_log = logging.getLogger(__name__)


class ViewError(Exception):
    """An action of the page is not possible. The page shows the message."""


class ViewServer:
    """The server.

    Args:
        feed: The frames.
        status: Returns the status report as JSON values. Called in the server's thread.
        actions: Actions of the page by name. Each takes the page's JSON and returns a line to show.
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.

    Attributes:
        token: Token that a browser needs if the server listens on more than this machine; otherwise "".
        port: The port in use, after `start`.
    """

    def __init__(
        self,
        feed: Feed,
        status: Callable[[], Mapping[str, Any]],
        actions: Mapping[str, Action],
        host: str = "127.0.0.1",
        port: int = 8080,
    ) -> None:
        self.host, self.port = host, port
        self.token = "" if _is_loopback(host) else secrets.token_urlsafe(16)
        self._feed, self._status, self._actions = feed, status, actions
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending: asyncio.Event | None = None
        self._started = threading.Event()
        self._problem: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="web_view", daemon=True)

    @property
    def url(self) -> str:
        """The address of the page, with the token."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/" + (f"?token={self.token}" if self.token else "")

    def start(self) -> None:
        """Start listening. Raises `OSError` if the address is not available, `OverflowError` if the port is invalid."""
        self._thread.start()
        self._started.wait()
        if self._problem is not None:
            self._thread.join()  # so that `stop` has nothing to end
            raise self._problem

    def stop(self) -> None:
        """Close all connections and end the thread."""
        if self._loop is not None and self._ending is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._ending.set)
            self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # `start` raises it
            if self._started.is_set():
                _log.exception("the page's server has ended")
            self._problem = error
        finally:
            self._started.set()

    async def _serve(self) -> None:
        self._loop, self._ending = asyncio.get_running_loop(), asyncio.Event()
        self._feed.attach(self._loop)
        application = web.Application(middlewares=[self._guard])
        application.router.add_get("/stream", self._stream)
        application.router.add_post("/actions/{name}", self._act)
        for path, name in FILES.items():
            application.router.add_get(path, _sender(PAGE / name))
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, self.host, self.port).start()
            self.port = runner.addresses[0][1]
            self._started.set()
            await self._ending.wait()
        finally:
            await runner.cleanup()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Callable[[web.Request], Awaitable[Any]]) -> Any:
        """Reject requests without the token, and requests from pages of other sites.

        The scripts contain no data of the robot, and the page requests them without the token.
        """
        if self.token and request.path not in SCRIPTS and not self._has_token(request):
            raise web.HTTPForbidden(text="open the address that the terminal shows, with its token")
        if not self.token and not _is_local_name(request.host):
            raise web.HTTPForbidden(text=f"this server answers only to localhost, not to {request.host}")
        origin = request.headers.get("Origin")
        if origin is not None and origin.split("://")[-1] != request.host:
            raise web.HTTPForbidden(text=f"pages of {origin} may not use this server")
        return await handler(request)

    def _has_token(self, request: web.Request) -> bool:
        return hmac.compare_digest(request.query.get("token", "").encode(errors="replace"), self.token.encode())

    async def _act(self, request: web.Request) -> web.Response:
        action = self._actions.get(request.match_info["name"])
        if action is None:
            raise web.HTTPNotFound(text=f"there is no action {request.match_info['name']}")
        try:
            values = json.loads(await request.text() or "{}")
            if not isinstance(values, dict):
                raise ViewError("expected a JSON object")
            text, status = await action(values), 200
        except (ViewError, json.JSONDecodeError) as error:
            text, status = str(error), 409
        return web.json_response({"text": text}, status=status)

    async def _stream(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(heartbeat=HEARTBEAT, compress=False, max_msg_size=4096)
        await socket.prepare(request)
        assert self._ending is not None
        ready = asyncio.Semaphore(IN_FLIGHT)
        with self._feed.viewer():
            tasks = [
                asyncio.ensure_future(task)
                for task in (
                    self._send_frames(socket, ready),
                    self._send_status(socket),
                    _receive(socket, ready),
                    self._ending.wait(),
                )
            ]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                results = await asyncio.gather(*tasks, return_exceptions=True)
                await socket.close()
        for result in results:
            if isinstance(result, Exception) and not isinstance(result, ConnectionError):
                _log.error("a browser was disconnected: %s", result)
        return socket

    async def _send_frames(self, socket: web.WebSocketResponse, ready: asyncio.Semaphore) -> None:
        number = 0
        while True:
            await ready.acquire()
            number, message = await self._feed.newer(number)
            await socket.send_bytes(message)

    async def _send_status(self, socket: web.WebSocketResponse) -> None:
        while True:
            await socket.send_str(json.dumps(dict(self._status(), viewers=self._feed.viewers)))
            await asyncio.sleep(STATUS_PERIOD)


async def _receive(socket: web.WebSocketResponse, ready: asyncio.Semaphore) -> None:
    """Receive the browser's messages; each confirms a shown frame."""
    async for message in socket:
        if message.type == WSMsgType.TEXT:
            ready.release()


def _sender(path: Path) -> Callable[[web.Request], Awaitable[web.FileResponse]]:
    async def send(_: web.Request) -> web.FileResponse:
        return web.FileResponse(path, headers=_SECURITY)

    return send


def is_any_address(host: str) -> bool:
    """Return whether a host means every address of this machine, such as 0.0.0.0. Browsers elsewhere cannot open it."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_local_name(host: str) -> bool:
    """Return whether a request's host means this machine. Another name may belong to an attacking page."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    return _is_loopback(name.strip("[]"))
