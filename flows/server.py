"""Prefect's server for this machine alone: `python flows/server.py HOST PORT`; see `bucolic up`.

Prefect checks neither the Host header nor, on its websockets, the page that asks: any site that the
user's browser shows could read logs, or start runs under a name that resolves to this machine. So
what did not come from here is refused before Prefect sees it.
"""

import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

LOCAL = {"127.0.0.1", "localhost", "::1"}
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


def guarded(app: App) -> App:
    """The ASGI application, asked only by programs of this machine and by its own pages."""

    async def guard(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or comes_from_here(dict(scope["headers"])):
            await app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await send({"type": "http.response.start", "status": 403, "headers": []})
            await send({"type": "http.response.body", "body": b"not asked from this machine"})

    return guard


def comes_from_here(headers: dict[bytes, bytes]) -> bool:
    """Whether the host that was asked is this machine and the page that asks, if any, its own.

    The page may name this machine in another way than its request does, at the same port.
    """
    host = _place(b"//" + headers.get(b"host", b""))
    origin = _place(headers[b"origin"]) if b"origin" in headers else host
    return host is not None and host == origin


def _place(address: bytes) -> int | None:
    """The port of an address on this machine; None for any other."""
    try:
        parts = urlsplit(address.decode())
        port = parts.port or 80
    except ValueError:
        return None
    return port if parts.hostname in LOCAL and parts.scheme in {"", "http"} else None


if __name__ == "__main__":
    import uvicorn
    from prefect.server.api.server import create_app

    host, port = sys.argv[1:]
    uvicorn.run(guarded(create_app(final=True)), host=host, port=int(port))
