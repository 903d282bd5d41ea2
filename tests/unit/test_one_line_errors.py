"""How verbs end: one line and an exit code where the user can help it."""

import errno
import os
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from bucolic.base.errors import DataError
from bucolic.cli import OneLineErrors

FULL = "bucolic: no space left: free some and run the same command again\n"
DENIED = (
    "bucolic: permission denied at params.yaml.tmp: "
    "give this user the right to it, or work in a checkout of their own\n"
)
MEMORY = "bucolic: out of memory: free some and run the same command again\n"


def fills_the_disk() -> None:
    """Write to a device without space."""
    Path("/dev/full").write_bytes(b"x")


def takes_all_memory() -> None:
    """Ask for an exbibyte."""
    bytearray(1 << 60)


def may_not_write() -> None:
    """Meet a folder of another user's, as the system tells it."""
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "params.yaml.tmp")


def meets_wrong_data() -> None:
    """Raise an error of the data."""
    raise DataError("no picture: mend it")


@pytest.mark.parametrize(
    ("verb", "said", "code"),
    [
        (fills_the_disk, FULL, 75),
        (takes_all_memory, MEMORY, 75),
        (may_not_write, DENIED, 3),
        (meets_wrong_data, "bucolic: no picture: mend it\n", 3),
    ],
)
def test_a_verb_ends_in_one_line_and_its_code(verb: object, said: str, code: int):
    """A full disk and memory that ran out are told like every error a user can mend."""
    group = OneLineErrors("group", [click.Command("verb", callback=verb)])
    done = CliRunner().invoke(group, ["verb"])
    assert (said, code) == (done.output, done.exit_code)


def test_a_bug_keeps_its_traceback():
    """What nobody foresaw is shown whole."""
    group = OneLineErrors("group", [click.Command("verb", callback=lambda: 1 // 0)])
    assert isinstance(CliRunner().invoke(group, ["verb"]).exception, ZeroDivisionError)
