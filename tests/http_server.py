"""A local HTTP server with the habits of COCO's bucket: ranges, 404, 503, broken transfers."""

import hashlib
import os
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import unquote, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from bucolic.fetching.fetch import RemoteFile

Habit = Callable[[BaseHTTPRequestHandler], None]


class Bucket:
    """What the server does, and what was asked of it.

    Attributes:
        url: base address.
        asked: how often each path was asked for.
        ranges: the Range headers that came, in order.
        busy: path to how many more times it answers 503.
        cut: path to after how many bytes the connection breaks, once.
        habits: path to what is done in place of serving the file.
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
        self.habits: dict[str, Habit] = {}
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


def served(bucket: Bucket, content: bytes, **changes: object) -> RemoteFile:
    """Put an archive on the server and describe it."""
    (bucket.folder / "a.zip").write_bytes(content)
    known = {"name": "a.zip", "urls": (f"{bucket.url}/a.zip",), "size_bytes": len(content)}
    return RemoteFile(**{**known, "sha256": hashlib.sha256(content).hexdigest(), **changes})


def _handler(bucket: Bucket) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            bucket.asked[self.path] += 1
            time.sleep(bucket.slow_s)
            if bucket.busy.get(self.path, 0) > 0:
                bucket.busy[self.path] -= 1
                self.send_error(503, "Slow Down")
                return
            if habit := bucket.habits.get(self.path):
                habit(self)
                return
            file = bucket.folder / unquote(urlsplit(self.path).path).lstrip("/")
            if not os.path.isfile(file):  # noqa: PTH113 - Path.is_file raises for a long name
                self.send_error(404)
                return
            self._send(file.read_bytes())

        def _send(self, content: bytes) -> None:
            start, last = 0, len(content) - 1
            asked = None if bucket.ignores_ranges else self.headers.get("Range")
            if asked:
                bucket.ranges.append(asked)
                first, _, end = asked.removeprefix("bytes=").partition("-")
                start, last = int(first), min(last, int(end or last))
                if start >= len(content):
                    self.send_error(416)
                    return
            self.send_response(206 if asked else 200)
            if asked:
                self.send_header("Content-Range", f"bytes {start}-{last}/{len(content)}")
            self.send_header("Content-Length", str(last + 1 - start))
            self.end_headers()
            cut = min(last + 1, bucket.cut.pop(self.path, len(content)))
            self.wfile.write(content[start : max(start, cut)])

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler


def answering(status: int, **headers: str) -> Habit:
    """A habit: this status with these headers and no body; Retry_After stands for Retry-After."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def sending(pieces: Iterable[bytes], length: int | None = None) -> Habit:
    """A habit: 200 and a body in pieces, whose length is promised as `length` or not at all."""

    def send(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        if length is not None:
            handler.send_header("Content-Length", str(length))
        handler.end_headers()
        with suppress(ConnectionError):
            for piece in pieces:
                handler.wfile.write(piece)
                handler.wfile.flush()

    return send


@contextmanager
def serving_securely(folder: Path, habit: Habit) -> Iterator[tuple[str, Path]]:
    """Serve over https for the block: the address, and the certificate signed by the server itself.

    Every path is answered in the one habit; the certificate is written into `folder`.
    """
    certificate = _self_signed(folder)
    silent = {"do_GET": habit, "log_message": lambda *_: None}
    handler = type("Handler", (BaseHTTPRequestHandler,), silent)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.handle_error = lambda *_: None
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"https://127.0.0.1:{server.server_port}", certificate
        server.shutdown()


def _self_signed(folder: Path) -> Path:
    """Write a certificate for 127.0.0.1 and its key into one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path = folder / "certificate.pem"
    path.write_bytes(private + signed.public_bytes(serialization.Encoding.PEM))
    return path
