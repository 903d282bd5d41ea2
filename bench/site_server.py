"""A server on this machine that shows a folder in COCO's layout, and counts what it sends."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class SiteServer(ThreadingHTTPServer):
    """Serves a folder, by ranges where it is asked for some and has them.

    Attributes:
        folder: what it shows.
        has_ranges: whether it serves parts of files.
        sent_bytes: of bodies, so far.
        answers: requests that were answered with a file or a part of one, so far.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.has_ranges = True
        self.sent_bytes = 0
        self.answers = 0
        self._counting = threading.Lock()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server_port}"

    def sent(self, size_bytes: int) -> None:
        """Count the answer that one of its threads sent."""
        with self._counting:
            self.sent_bytes += size_bytes
            self.answers += 1

    def described(self, path: str) -> dict[str, Any]:
        """What source.json says of a file there."""
        content = (self.folder / path).read_bytes()
        about = {"size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        return {"name": Path(path).name, "urls": [f"{self.url}/{path}"], **about}


@contextmanager
def serving(folder: Path) -> Iterator[SiteServer]:
    """Serve a folder for the block."""
    with SiteServer(folder) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()


class _Handler(BaseHTTPRequestHandler):
    server: SiteServer

    def do_GET(self) -> None:
        """Send a file, or a part of it."""
        path = self.server.folder / self.path.lstrip("/")
        if not path.is_file():
            self.send_error(404)
            return
        size_bytes = path.stat().st_size
        asked = self.headers.get("Range") if self.server.has_ranges else None
        first, _, last = (asked or "bytes=0-").removeprefix("bytes=").partition("-")
        start, end = int(first), min(int(last or size_bytes), size_bytes - 1) + 1
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{size_bytes}")
        self.send_header("Content-Length", str(end - start))
        self.end_headers()
        with path.open("rb") as file:
            file.seek(start)
            self.wfile.write(file.read(end - start))
        self.server.sent(end - start)

    def log_message(self, *_: object) -> None:
        """Say nothing."""
