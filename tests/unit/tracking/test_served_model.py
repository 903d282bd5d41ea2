"""README's `mlflow models serve`, asked over HTTP by several clients at once."""

import base64
import io
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image

from bucolic.generate import Bucolic
from bucolic.pipeline.environment import child_environment
from bucolic.tracking.outbox import flush
from bucolic.tracking.registry import CHAMPION, REGISTERED
from made_model import PROMPTS, write_untrained

START_S = 300  # a patient limit for a busy machine; it takes 10 to 15 s on a quiet one


@pytest.fixture
def model(home: Path, leave: Any) -> Path:
    """A registered model, which is champion; returns its folder."""
    folder = home / "models" / "current"
    write_untrained(folder)
    trained = leave("train", record_id="train", outputs={"models/current": ""})
    weights = {"models/current": trained["outputs"]["models/current"], "data/shards": "a"}
    later, figures = "2026-01-02T04:00:00+00:00", {"metrics": {"r_precision": 0.5}}
    leave("evaluate", record_id="evaluate", started=later, inputs=weights, figures=figures)
    assert flush(home).sent == 2
    return folder


@pytest.fixture
def address(home: Path, model: Path, tmp_path: Path) -> Iterator[str]:
    """Where the champion is served, by the command that README names."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = ["--env-manager", "local", "-h", "127.0.0.1", "-p", str(port)]
    environment = {**child_environment(), "MLFLOW_TRACKING_URI": f"sqlite:///{home}/mlflow.db"}
    with (tmp_path / "serve.log").open("w") as log:
        server = subprocess.Popen(
            ["mlflow", "models", "serve", "-m", f"models:/{REGISTERED}@{CHAMPION}", *place],
            stdout=log,
            stderr=log,
            env=environment,
            process_group=0,
        )
    try:
        _wait_for(f"http://127.0.0.1:{port}/health", server, tmp_path / "serve.log")
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(60)


def test_a_hundred_requests_from_eight_clients_are_answered_as_alone(address: str, model: Path):
    """All are 200 with the bytes that the Python API draws alone; what is wrong with one is said.

    One server answers both questions, since it takes longer to start than to ask.
    """
    artist = Bucolic.from_pretrained(model)
    alone = {prompt: artist.generate(prompt, seed=3)[0] for prompt in PROMPTS}
    asked = [PROMPTS[i % len(PROMPTS)] for i in range(100)]
    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(lambda prompt: _ask(address, [prompt], seed=3), asked))
    assert {status for status, _ in answers} == {200}
    for prompt, (_, answer) in zip(asked, answers, strict=True):
        assert np.array_equal(alone[prompt], _pictures(answer))

    for inputs, params, said in REFUSED:
        status, answer = _ask(address, inputs, **params)
        assert (400, True) == (status, said in answer["message"]), answer
    assert 200 == _ask(address, list(PROMPTS))[0]


REFUSED: list[tuple[Any, dict[str, Any], str]] = [
    ({"text": ["a cow"]}, {}, "missing inputs ['prompt']"),
    (["a cow", None], {}, "prompt number 2 must be a text, not None"),
    (["a cow", " "], {}, "prompt number 2 is empty"),
    ([["a cow"]], {}, "prompt number 1 must be a text"),
    ([], {}, "prompts is empty"),
    (["a cow"], {"n": 0}, "n must be a whole number from 1"),
    (["a cow"], {"n": 4.0}, "Can not safely convert"),
    (["a cow"], {"n": 2**70}, "n must be a whole number from 1"),
    (["a cow"], {"steps": 0}, "steps must be a whole number from 1"),
    (["a cow"], {"best_of": 0}, "best_of must be a whole number from 1"),
    (["a cow"], {"guidance": float("nan")}, "guidance must be a finite number"),
    (["a cow"], {"guidance": 1e30}, "guidance 1e+30 overflows"),
]


def _wait_for(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        assert server.poll() is None, log.read_text()
        try:
            requests.get(address, timeout=10).raise_for_status()
        except requests.ConnectionError:
            time.sleep(0.2)
        else:
            return
    pytest.fail(f"no server after {START_S} s: {log.read_text()}")


def _ask(address: str, inputs: Any, **params: Any) -> tuple[int, Any]:
    body = json.dumps({"inputs": inputs, "params": params})  # with NaN as itself
    headers = {"Content-Type": "application/json"}
    answer = requests.post(address, body, headers=headers, timeout=120)
    return answer.status_code, answer.json()


def _pictures(answer: Any) -> np.ndarray:
    files = [base64.b64decode(file) for file in answer["predictions"][0]["pictures"]]
    return np.stack([np.asarray(Image.open(io.BytesIO(f))).transpose(2, 0, 1) for f in files])
