"""Writing files so that a reader never meets half of one, and content hashes of files.

Everything is first written under a temporary name in the same folder, flushed to disk, and then
renamed: after a crash either the old file or the new one is there, whole. A folder cannot replace
another in one step, so between the two there may be none; never half of one.

What a killed process left under a temporary name is swept away by the next who writes there, and
only where it surely was killed: other hosts and containers may share the folder, and their numbers
of processes mean nothing here.
"""

import glob
import hashlib
import itertools
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

CHUNK_BYTES = 1 << 20
LONGEST_NAME_BYTES = 160  # in a temporary name, which a file system cuts at 255
ABANDONED_S = 24 * 3600.0  # another host's leavings, untouched for so long
_numbers = itertools.count()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path that takes the place of `path` when the block ends without error.

    The block may create a file or a folder there. A folder that stands at `path` is removed first.
    """
    _sweep(path)
    with _replacing(path) as temporary:
        yield temporary


@contextmanager
def _replacing(path: Path, *, lasting: bool = True) -> Iterator[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Numbered, since two threads may write the same path.
    temporary = path.with_name(f"{_prefix(path)}{next(_numbers)}.{this_process()}.tmp")
    remove(temporary)
    try:
        yield temporary
        if lasting:
            _flush(temporary)
        if path.is_dir():
            remove(path)
        temporary.replace(path)
    finally:
        remove(temporary)


def write_bytes(path: Path, content: bytes, *, lasting: bool = True) -> None:
    """Write `content` to `path` atomically.

    Args:
        path: where to.
        content: what.
        lasting: whether it must be whole after a power cut, too; what is checked against a digest
            when it is read need not, and is written without waiting for the disk.
    """
    # Not swept: among 20,000 fetched images, looking for leavings at each would take minutes.
    with _replacing(path, lasting=lasting) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write `content` to `path` atomically, as UTF-8."""
    with replacing(path) as temporary:
        temporary.write_bytes(content.encode())


def write_json(path: Path, content: Any) -> None:
    """Write `content` as JSON with sorted keys; NaN and infinities are refused with ValueError."""
    text = json.dumps(content, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False)
    write_text(path, text + "\n")


def remove(path: Path) -> None:
    """Remove a file or a whole folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, onerror=_unless_gone)
    else:
        path.unlink(missing_ok=True)


def _unless_gone(_function: object, _path: str, info: Any) -> None:
    """Two processes may remove one folder; what the other has removed is what was wanted."""
    if not isinstance(info[1], FileNotFoundError):
        raise info[1]


def file_digest(
    path: Path, algorithm: str = "sha256", *, count: Callable[[int], None] = lambda _: None
) -> str:
    """Hexadecimal digest of a file's bytes, read in pieces of 1 MiB; `count` is told each size."""
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            count(len(chunk))
    return digest.hexdigest()


def fingerprint(content: Any) -> str:
    """First 16 hexadecimal digits of the sha256 of `content` as canonical JSON."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def clone(path: Path, target: Path) -> None:
    """Make a second name for a file, or for each file of a folder: a hard link, else a copy.

    Whoever writes into one of the two in place changes both; bucolic itself only ever replaces.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        shutil.copytree(path, target, copy_function=_link_or_copy)
    else:
        _link_or_copy(path, target)


def link(path: Path, target: Path) -> bool:
    """Give a file a second name; False where there is one already, or the file system has none."""
    target.parent.mkdir(parents=True, exist_ok=True)
    return _linked(path, target)


def _link_or_copy(path: str | Path, target: str | Path) -> None:
    if not _linked(path, target):  # another file system, or one without links
        shutil.copy2(path, target)


def _linked(path: str | Path, target: str | Path) -> bool:
    path = Path(path)
    try:
        # Of a symbolic link, the file and not the link.
        os.link(path.resolve() if path.is_symlink() else path, target)
    except OSError:
        return False
    return True


def _prefix(path: Path) -> str:
    """What all temporary names for `path` begin with."""
    short = len(path.name.encode()) <= LONGEST_NAME_BYTES
    return f".{path.name if short else fingerprint(path.name)}."


def sweep_below(folder: Path) -> None:
    """Remove what killed processes left anywhere below a folder.

    For folders of many files, where `write_bytes` looks for no leavings.
    """
    _remove_left(folder.rglob(".*.tmp"))


def _sweep(path: Path) -> None:
    """Remove what killed processes left while they wrote `path`."""
    _remove_left(path.parent.glob(f"{glob.escape(_prefix(path))}*.tmp"))


def _remove_left(found: Iterable[Path]) -> None:
    for left in found:
        if is_gone(left.name.split(".")[-2], touched_s=last_touched_s(left)):
            remove(left)


def this_process() -> str:
    """Name of this process: see `process_name`."""
    return process_name(os.getpid())


def process_name(pid: int) -> str:
    """A process of this machine among all that may share a folder: `SPACE-PID`."""
    return f"{_process_space()}-{pid}"


@cache
def _process_space() -> str:
    """What numbers of processes are comparable in: one boot of one host, one PID namespace."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()
        return fingerprint([boot, str(Path("/proc/self/ns/pid").readlink())])[:8]
    except OSError:  # no Linux
        return fingerprint([uuid.getnode()])[:8]


def is_gone(process: str, touched_s: float, silence_s: float = ABANDONED_S) -> bool:
    """Whether a process named by `this_process` has surely ended.

    Args:
        process: its name.
        touched_s: when it last showed that it lives, in seconds since 1970.
        silence_s: after so long a process of another host, which cannot be asked, counts as gone.
    """
    space, _, pid = process.rpartition("-")
    if space == _process_space() and pid.isdigit():
        return not is_alive(int(pid))
    return time.time() - touched_s > silence_s


def last_touched_s(path: Path) -> float:
    """When a file, or anything in a folder, was last written, in seconds since 1970; 0 if gone."""
    latest_s = 0.0
    with suppress(OSError):  # somebody removes it meanwhile
        for entry in chain((path,), path.rglob("*")):
            latest_s = max(latest_s, entry.lstat().st_mtime)
    return latest_s


def is_alive(pid: int) -> bool:
    """Whether a process of this machine has the number `pid` and has not ended."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    """Whether it has ended, and nobody has asked how: in a container perhaps nobody ever will."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state == "Z"


def _flush(path: Path) -> None:
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    for file in files:
        with file.open("rb") as handle:
            os.fsync(handle.fileno())
