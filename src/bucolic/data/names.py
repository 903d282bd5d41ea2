"""Names of files that come from outside: annotations, source.json, indexes on disk.

One rule for every name that is joined to a folder or written into an archive: it stays below that
folder, here, on Windows and for whoever unpacks the archive. What the rule lets pass may still be
long, hold spaces or be in any script.
"""

import hashlib
import re
from string import Formatter
from typing import Annotated
from unicodedata import normalize
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

# Either kind of slash separates, whichever system the name is read on.
_LEAVES = re.compile(
    r"""
    [\x00-\x1f\x7f-\x9f\u2028\u2029]        # control characters and line ends
    | \A [/\\]                              # absolute, or a share of a network
    | \A [A-Za-z]:                          # a drive
    | (?:\A|[/\\]) \s* \.\. \s* (?:[/\\]|\Z)
    | (?:\A|[/\\]) \.? \Z                   # nothing, or the folder itself
    """,
    re.VERBOSE,
)
_PLAIN = re.compile(r"[0-9a-z_-][0-9a-z._-]{0,99}")
_HOST = re.compile(r"https?://[^/?#{}\s]+[/?]|file:(//[^/{}]*)?/(?!/)", re.IGNORECASE)


def stays_below(name: str) -> bool:
    """Whether `name` is a file's path below its folder, also where it is read as an address."""
    return not (_LEAVES.search(name) or ("%" in name and _LEAVES.search(unquote(name))))


def require_below(name: str) -> str:
    """Return `name`; an error of pydantic's, which is a ValueError, where it leaves its folder."""
    if not stays_below(name):
        raise PydanticCustomError(
            "leaves_its_folder",
            "Input should be a file's path below its folder: "
            "relative, without .., drive or control characters",
        )
    return name


def canonical(name: str) -> str:
    """The one form of a name that archives are written with: a/b.jpg, its accents composed."""
    parts = normalize("NFC", name.replace("\\", "/")).split("/")
    return "/".join(part for part in parts if part not in ("", "."))


def spellings(name: str, folder: str) -> list[str]:
    """The names below `folder` that `name` may mean, likeliest first; the first is itself.

    Backslashes may separate, accents may be composed or not, the name may be quoted as in an
    address, and `folder` itself may stand before it.
    """
    forms = [name]
    for respelt in (canonical, _decomposed, unquote):
        forms += [respelt(form) for form in forms]
    forms += [form.removeprefix(f"{folder}/") for form in forms]
    return [form for form in dict.fromkeys(forms) if stays_below(form)]


def _decomposed(name: str) -> str:
    return normalize("NFD", name)


def flat(name: str) -> str:
    """The name of a kept copy: `name` itself where any file system takes it, else its sha256."""
    return name if _PLAIN.fullmatch(name) else f"~{hashlib.sha256(name.encode()).hexdigest()}"


def _require_address(url: str) -> str:
    """Refuse what no library reads as an address, or that names neither server nor path."""
    try:
        parts = urlsplit(url)
        is_address = bool(parts.port or parts.netloc or parts.path)
    except ValueError:  # a bracket that is never closed, a port that is no number
        is_address = False
    if not (is_address and _HOST.match(url)):
        raise PydanticCustomError("no_address", "Input should be an http, https or file address")
    return url


def _require_template(url: str) -> str:
    """Refuse an address whose only field is not {file_name}, or that has it before its path."""
    try:
        fields = {part[1:] for part in Formatter().parse(url) if part[1] is not None}
    except ValueError:  # a brace that is never closed
        fields = set()
    if fields != {("file_name", "", None)} or not _HOST.match(url):
        raise PydanticCustomError(
            "no_template",
            "Input should be an http, https or file address "
            "with the field {file_name} behind its server, and no other field",
        )
    return _require_address(url)


FileName = Annotated[str, AfterValidator(require_below)]
Address = Annotated[str, AfterValidator(_require_address)]
ImageAddress = Annotated[str, AfterValidator(_require_template)]
