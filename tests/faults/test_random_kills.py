"""A short version of random_kills.py: one kill of each stage."""

import os
import secrets
from pathlib import Path

from random_kills import run_rounds

SEED = int(os.environ.get("BUCOLIC_KILL_SEED") or secrets.randbelow(1 << 32))
ROUNDS = 7


def test_random_kills_change_no_byte_and_cost_no_finished_work(tmp_path: Path):
    """One kill of each stage, at random moments; the rounds themselves hold the assertions."""
    found = run_rounds(tmp_path / "bucolic", ROUNDS, SEED)
    assert ROUNDS == sum(found.values())
    # The round that is killed at a stage's end may meet DVC as it writes, which is before, too.
    assert any(how.endswith(("before DVC's commit", "a file of its own")) for how in found)
