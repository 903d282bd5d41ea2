"""The guard before Prefect's server: it is asked from this machine, by its own pages, or not."""

import asyncio
import runpy
from pathlib import Path
from typing import Any

import pytest

SERVER = Path(__file__).resolve().parents[3] / "flows/server.py"
guarded = runpy.run_path(str(SERVER))["guarded"]


def ask(kind: str, **headers: str) -> list[dict[str, Any]]:
    """What the guarded application sends to a request with these headers."""
    sent: list[dict[str, Any]] = []

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "answered"})

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    fields = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": kind, "headers": fields}
    asyncio.run(guarded(app)(scope, None, send))
    return sent


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    "headers",
    [
        {"host": "127.0.0.1:4200"},
        {"host": "localhost:4200"},
        {"host": "[::1]:4200"},
        {"host": "127.0.0.1:4200", "origin": "http://127.0.0.1:4200"},
        {"host": "127.0.0.1:4200", "origin": "http://localhost:4200"},
        {"host": "localhost:8080", "origin": "http://localhost:8080"},  # an ssh tunnel
    ],
)
def test_this_machine_and_its_own_pages_are_answered(kind: str, headers: dict[str, str]):
    """Programs send no Origin; a page may call this machine by another of its names."""
    assert ask(kind, **headers) == [{"type": "answered"}]


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"host": "evil.example:4200"},  # a name that resolves to 127.0.0.1
        {"host": "127.0.0.1.evil.example:4200"},
        {"host": "evil.example@127.0.0.1.evil.example"},
        {"host": "127.0.0.1:4200", "origin": "http://evil.example"},
        {"host": "127.0.0.1:4200", "origin": "http://evil.example:4200"},
        {"host": "127.0.0.1:4200", "origin": "http://127.0.0.1:8888"},
        {"host": "127.0.0.1:4200", "origin": "https://127.0.0.1:4200"},
        {"host": "127.0.0.1:4200", "origin": "null"},
        {"host": "127.0.0.1:4200", "origin": ""},
        {"host": "127.0.0.1:word"},
    ],
)
def test_anything_else_is_refused_before_prefect_sees_it(kind: str, headers: dict[str, str]):
    """403, or a websocket closed before it is accepted."""
    first = ask(kind, **headers)[0]
    expected = {"http": ("status", 403), "websocket": ("code", 1008)}[kind]
    assert first["type"] in {"http.response.start", "websocket.close"}
    assert first[expected[0]] == expected[1]


def test_start_and_end_of_the_server_pass():
    """Prefect's own start-up reaches it."""
    assert ask("lifespan") == [{"type": "answered"}]
