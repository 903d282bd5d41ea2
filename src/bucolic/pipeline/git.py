"""Git, asked in one way: no setting, hook, variable or language of the user's changes an answer.

A question that Git does not answer (another owner's folder, a broken configuration, no Git at all)
is a GitError with Git's own words, and never taken for the answer "nothing".
"""

import logging
import os
import re
import subprocess
from pathlib import Path
from typing import Any

from bucolic.base.errors import DataError

logger = logging.getLogger(__name__)
SETTINGS = {
    "core.hooksPath": os.devnull,  # hooks are for what the user does, and may fail or take long
    "core.fsmonitor": "false",
    "submodule.recurse": "false",
    "status.renames": "false",
    "diff.autoRefreshIndex": "true",
}
FIXED = {"LC_ALL": "C", "LANGUAGE": "", "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}
# Of Git's variables those of identity, configuration and transport are the user's to set. The
# others, as a hook has them, would answer for another repository, index or kind of path.
KEPT = re.compile(
    r"GIT_(CONFIG_|AUTHOR_|COMMITTER_|SSH|SSL_|HTTP_|ASKPASS$|EXEC_PATH$|DISCOVERY_|LFS_|PYTHON_)"
)
SAID_MAX = 400  # characters of Git's words in one message
# Files that decide no result. Without magic, "*" passes folders, so Markdown is left out anywhere.
DECIDES_NOTHING = ("params.yaml", "dvc.lock", "reports", "bench/results", "*.md")


class GitError(DataError):
    """Git did not answer; the message holds its own words."""


def environment() -> dict[str, str]:
    """Return os.environ without the variables that bind Git to another repository."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GIT_") or KEPT.match(name)
    }


def ask(folder: Path, *arguments: str, stdin: bytes = b"") -> bytes:
    """Run `git ARGUMENTS` in `folder` and return what it prints.

    Raises:
        GitError: Git fails, or cannot be started.
    """
    done = _run(folder, arguments, stdin)
    if done.returncode:
        raise GitError(f"`git {arguments[0]}` failed in {folder}: {_words(done)}")
    return done.stdout


def names(folder: Path, *arguments: str) -> list[str]:
    """Run a command of Git that prints names, each ended by NUL; they may be in any encoding."""
    return [os.fsdecode(name) for name in ask(folder, *arguments).split(b"\0") if name]


def commit(folder: Path) -> str | None:
    """Return the commit that is checked out, None where the repository has none yet.

    Raises:
        GitError: Git does not answer.
    """
    question = ("rev-parse", "--verify", "--quiet", "HEAD^{commit}")
    done = _run(folder, question)
    if done.returncode == 1 and not done.stderr:
        return None
    if done.returncode:
        raise GitError(f"`git rev-parse` failed in {folder}: {_words(done)}")
    return done.stdout.decode().strip()


def identity(folder: Path) -> dict[str, str]:
    """Return the variables that say who commits: the user, or this program where nobody is named.

    DVC saves an experiment as a commit, and refuses to at the end of a run where it finds no name.

    Raises:
        GitError: Git does not answer.
    """
    found = {}
    for key, unnamed in (("name", "bucolic"), ("email", "bucolic@localhost")):
        configured = _setting(folder, f"user.{key}")
        for role in ("AUTHOR", "COMMITTER"):
            variable = f"GIT_{role}_{key.upper()}"
            found[variable] = os.environ.get(variable) or configured or unnamed
    return found


def _setting(folder: Path, name: str) -> str | None:
    done = _run(folder, ("config", "--get", name))
    if done.returncode == 1 and not done.stderr:
        return None
    if done.returncode:
        raise GitError(f"`git config` failed in {folder}: {_words(done)}")
    return done.stdout.decode(errors="surrogateescape").strip()


def known_commit(folder: Path) -> str | None:
    """Return the commit that is checked out, None where there is none or Git does not answer."""
    try:
        return commit(folder)
    except GitError:
        return None


def state(root: Path) -> dict[str, Any]:
    """Return the `commit`, and whether files that decide a result differ from it (`dirty`).

    params.yaml is the user's knob and recorded by itself; dvc.lock, reports/ and bench/results/
    are what runs leave behind; Markdown, bench/RESULTS.md among it, is read by people alone. Of
    files that Git does not know, code alone counts. What Git does not answer is None, and a
    warning says why.
    """
    found: dict[str, Any] = {"commit": None, "dirty": None}
    try:
        found["commit"] = commit(root)
        found["dirty"] = _is_dirty(root)
    except GitError as error:
        logger.warning("the record cannot say which code ran: %s", error)
    return found


def _is_dirty(root: Path) -> bool:
    ignored = [f":(exclude){pattern}" for pattern in DECIDES_NOTHING]
    options = ("--porcelain", "--untracked-files=no", "--ignore-submodules=untracked")
    edited = ask(root, "status", *options, "--", ".", *ignored)
    added = ask(root, "ls-files", "--others", "--exclude-standard", "--", "src", "flows")
    return bool(edited or added)


def _run(
    folder: Path, arguments: tuple[str, ...], stdin: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    settings = [word for name, value in SETTINGS.items() for word in ("-c", f"{name}={value}")]
    try:
        return subprocess.run(
            ["git", *settings, *arguments],
            cwd=folder,
            env={**environment(), **FIXED},
            input=stdin,
            capture_output=True,
            check=False,
        )
    except OSError as error:
        raise GitError(f"git cannot be started in {folder}: {error.strerror}") from None


def _words(done: subprocess.CompletedProcess[bytes]) -> str:
    """What Git complained of, in one line, without what it reported before."""
    lines = (done.stderr or done.stdout).decode(errors="replace").splitlines()
    first = next((i for i, line in enumerate(lines) if line.startswith(("fatal:", "error:"))), 0)
    return " ".join(" ".join(lines[first:]).split())[:SAID_MAX] or f"exit code {done.returncode}"
