"""YAML files: read as DVC reads them, and edited so that all else stays as it was.

DVC reads UTF-8 and YAML 1.2, and passes on text, numbers, booleans, null, lists and mappings. A
file, a key or a value that it would refuse later is refused here in one line that says where.
"""

import codecs
import io
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from bucolic.base.errors import ParamsError
from bucolic.base.files import write_bytes

NOT_UTF8 = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
TAG = "tag:yaml.org,2002:"
PLAIN = {TAG + name for name in ("str", "int", "float", "bool", "null", "seq", "map")}
KEYS = {TAG + "str", TAG + "merge"}
DEPTH_MAX = 20
DIGITS_MAX = 100  # of a whole number
VALUES_MAX = 100_000  # aliases of aliases make any number of values out of a few lines
WIDTH = 1 << 16  # characters of a line that is written; the user's lines are not folded
Place = tuple[str | int, ...]


def read_yaml(path: Path) -> Any:
    """Read a YAML 1.2 file of plain values.

    Raises:
        ParamsError: with the encoding, the line or the key that DVC or JSON would not take.
    """
    text = _read_text(path)
    try:
        root = YAML(typ="safe").compose(text)
        _require_plain(path, root)
        return YAML(typ="safe").load(text)
    except YAMLError as error:
        raise _broken(path, error) from None
    except RecursionError:
        raise ParamsError(f"{path} is nested too deeply: mend it") from None
    except ValueError as error:  # a number of thousands of digits
        raise ParamsError(f"{path} holds a value that cannot be read: {error}") from None


@contextmanager
def editing(path: Path) -> Iterator[Any]:
    """Yield the content of a YAML file and write it back, with its comments and line ends.

    Raises:
        ParamsError: as `read_yaml`; the file stays as it is.
    """
    read_yaml(path)
    before = path.read_bytes()
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = WIDTH
    content = yaml.load(_read_text(path))
    yield content
    buffer = io.StringIO()
    yaml.dump(content, buffer)
    after = buffer.getvalue().replace("\n", "\r\n" if b"\r\n" in before else "\n")
    start = codecs.BOM_UTF8 if before.startswith(codecs.BOM_UTF8) else b""
    write_bytes(path, start + after.encode())


def name_of(place: Place) -> str:
    """A place as one writes it: filter.keywords[1]."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return "".join(parts).removeprefix(".")


def _read_text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ParamsError(f"{path} is missing: write one with bucolic preset meadow") from None
    except OSError as error:
        raise ParamsError(f"{path} cannot be read: {error.strerror}") from None
    found = next((name for mark, name in NOT_UTF8.items() if content.startswith(mark)), None)
    if found is None and b"\0" in content[:2]:
        found = "UTF-16"  # as some tools write it, without a mark
    if found:
        raise ParamsError(f"{path} is {found} and DVC reads UTF-8 alone: save it as UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ParamsError(
            f"{path} is not UTF-8 at line {line} (byte 0x{content[error.start]:02x}): "
            "save it as UTF-8"
        ) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _broken(path: Path, error: YAMLError) -> ParamsError:
    if isinstance(error, ReaderError):
        code = error.character if isinstance(error.character, int) else ord(error.character)
        said = f"U+{code:04X}, which no YAML file may hold: remove it"
        return ParamsError(f"{path}: character {error.position + 1} is {said}")
    mark = getattr(error, "problem_mark", None)
    where = f" at line {mark.line + 1}" if mark else ""
    problem = getattr(error, "problem", None) or "it cannot be read"
    return ParamsError(f"{path} is not valid YAML{where}: {problem}")


def _require_plain(path: Path, root: Node | None) -> None:
    """Refuse what YAML can say and DVC or JSON cannot, by the key and the line where it stands."""
    if not isinstance(root, MappingNode):
        raise ParamsError(f"{path} holds no keys: write one with bucolic preset meadow")
    for count, (place, node) in enumerate(_walk(root, ())):
        if count > VALUES_MAX:
            raise ParamsError(f"{path} holds more than {VALUES_MAX} values: shorten it")
        if problem := _problem(node, len(place)):
            raise _refused(path, place, node, problem)
        for key in _keys(node):
            if problem := _key_problem(key):
                raise _refused(path, place, key, problem)


def _refused(path: Path, place: Place, node: Node, problem: str) -> ParamsError:
    where = f"{name_of(place)} (line {node.start_mark.line + 1})".lstrip()
    return ParamsError(f"{path}: {where} {problem}")


def _keys(node: Node) -> list[Node]:
    return [key for key, _ in node.value] if isinstance(node, MappingNode) else []


def _walk(node: Node, place: Place) -> Iterator[tuple[Place, Node]]:
    """Every value with its place; aliases are followed, and a circle of them never ends."""
    yield place, node
    if isinstance(node, SequenceNode):
        for index, item in enumerate(node.value):
            yield from _walk(item, (*place, index))
    elif isinstance(node, MappingNode):
        for key, value in node.value:
            yield from _walk(value, (*place, str(key.value)))


def _problem(node: Node, depth: int) -> str | None:
    """What is wrong with one value, apart from those inside it."""
    if depth > DEPTH_MAX:
        return f"is nested more than {DEPTH_MAX} deep: mend it"
    if node.tag == TAG + "timestamp":
        return f"is a date, {node.value}: put it in quotes"
    is_scalar = node.tag not in {TAG + "seq", TAG + "map"}
    if node.tag not in PLAIN or is_scalar != isinstance(node, ScalarNode):
        kind = str(node.tag).removeprefix(TAG)
        return f"is of type {kind}: write text, a number, true, false, null, a list or a mapping"
    return _scalar_problem(node) if isinstance(node, ScalarNode) else None


def _scalar_problem(node: ScalarNode) -> str | None:
    if node.tag == TAG + "str":
        return _unfit(node.value)
    if node.tag == TAG + "int" and len(node.value) > DIGITS_MAX:
        return f"is a number of {len(node.value)} digits: no param is as large"
    return _unread(node)


def _unread(node: ScalarNode) -> str | None:
    """Why a value is not of the type that a tag before it, or its first characters, promise."""
    try:
        YAML(typ="safe").constructor.construct_object(node)
    except (ValueError, LookupError, YAMLError):
        kind = str(node.tag).removeprefix(TAG)
        return f"is {node.value!r}, which is no {kind}: put it in quotes, without a tag"
    return None


def _key_problem(key: Node) -> str | None:
    if key.tag not in KEYS:
        shown = key.value if isinstance(key, ScalarNode) else "a list or mapping"
        return f"has a key that is no text, {shown}: put it in quotes"
    return _unfit(key.value)


def _unfit(text: str) -> str | None:
    """Why a text cannot be kept in JSON, shown in a line, or be a name."""
    wrong = (c for c in text if unicodedata.category(c) in {"Cc", "Cs"} and c not in "\t\n\r")
    found = next(wrong, None)
    return None if found is None else f"holds U+{ord(found):04X}, no character of text: remove it"
