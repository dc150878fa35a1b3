"""A local server with the part of the Hugging Face hub's protocol that its client needs for a download."""

from __future__ import annotations

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class HubServer(ThreadingHTTPServer):
    """Serves ``files`` (path on the hub to bytes). ``hashes`` replaces what it says a file's SHA-256 is.

    ``requests`` lists the requests. ``send`` limits the bytes of a body before the connection breaks. With ``hold``,
    `stalled` is set at that point, and the connection stays open until `release` is set.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.hashes: dict[str, str] = {}
        self.requests: list[tuple[str, str]] = []
        self.send: int | None = None
        self.hold = False
        self.stalled, self.release = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05})

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request, client_address) -> None:
        """Ignore clients that were killed."""

    def __enter__(self) -> HubServer:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release.set()
        self.shutdown()
        self.thread.join()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    """`HEAD` and `GET` of `/[spaces/]OWNER/NAME/resolve/main/FILE`, with the hub's own headers."""

    def do_HEAD(self) -> None:
        self._headers()

    def do_GET(self) -> None:
        body = self._headers()
        if body is None:
            return
        limit = self.server.send
        self.wfile.write(body if limit is None else body[:limit])
        self.wfile.flush()
        if limit is not None and self.server.hold:
            self.server.stalled.set()
            self.server.release.wait(30)
        self.close_connection = True

    def _headers(self) -> bytes | None:
        self.server.requests.append((self.command, self.path))
        body = self.server.files.get(self.path)
        if body is None:
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None
        self.send_response(200)
        announced = self.server.hashes.get(self.path, hashlib.sha256(body).hexdigest())
        self.send_header("ETag", f'"{announced}"')
        self.send_header("X-Repo-Commit", "0123456789abcdef0123456789abcdef01234567")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        return body

    def log_message(self, *_: object) -> None:
        """Log nothing."""
