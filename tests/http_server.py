"""A local HTTP server with the habits of COCO's bucket: ranges, 404, 503, broken transfers."""

import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Bucket:
    """What the server does, and what was asked of it.

    Attributes:
        url: base address.
        asked: how often each path was asked for.
        ranges: the Range headers that came, in order.
        busy: path to how many more times it answers 503.
        cut: path to after how many bytes the connection breaks, each time.
        slow_s: seconds before each answer.
        ignores_ranges: answer 200 with the whole file whatever the Range.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = ""
        self.asked: Counter[str] = Counter()
        self.ranges: list[str] = []
        self.busy: dict[str, int] = {}
        self.cut: dict[str, int] = {}
        self.slow_s = 0.0
        self.ignores_ranges = False


@contextmanager
def serving(folder: Path) -> Iterator[Bucket]:
    """Serve a folder on a free local port for the block."""
    bucket = Bucket(folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(bucket))
    bucket.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield bucket
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(bucket: Bucket) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            bucket.asked[self.path] += 1
            time.sleep(bucket.slow_s)
            if bucket.busy.get(self.path, 0) > 0:
                bucket.busy[self.path] -= 1
                self.send_error(503, "Slow Down")
                return
            file = bucket.folder / self.path.lstrip("/")
            if not os.path.isfile(file):  # noqa: PTH113 - Path.is_file raises for a long name
                self.send_error(404)
                return
            self._send(file.read_bytes())

        def _send(self, content: bytes) -> None:
            start = 0
            asked = self.headers.get("Range")
            if asked and not bucket.ignores_ranges:
                bucket.ranges.append(asked)
                start = int(asked.removeprefix("bytes=").split("-")[0])
            self.send_response(206 if asked and not bucket.ignores_ranges else 200)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            end = bucket.cut.pop(self.path, len(content))
            self.wfile.write(content[start : max(start, end)])

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler
