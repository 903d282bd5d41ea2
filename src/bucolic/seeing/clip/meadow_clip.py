"""meadow-clip: a small CLIP for Meadow's drawings, whose weights ship in the package.

It is an ordinary open_clip model: a modified ResNet and a causal text transformer, trained by
tools/train_meadow_clip.py, with the figures it reached in figures.json beside the weights. It
knows nothing of photographs. The tokenizer is CLIP's, cut to its first 4,000 merges: the whole
table would make the weights three times as large.
"""

import json
import re
import tempfile
from functools import cache
from pathlib import Path

NAME = "meadow-clip"
TRAINED_ON = "drawings"
FOLDER = Path(__file__).parent / "weights" / NAME
CONFIG = FOLDER / "model.json"
WEIGHTS = FOLDER / "model.safetensors"
MERGES = FOLDER / "merges.txt.gz"
VOCABULARY = FOLDER / "words.txt"
FIGURES = FOLDER / "figures.json"


@cache
def register() -> None:
    """Make the model known to open_clip; its factory and tokenizer then take the name."""
    import open_clip  # noqa: PLC0415 - heavy, and words are looked up without it

    config = json.loads(CONFIG.read_text())
    # open_clip resolves no relative path, so the tokenizer's file is named in full here.
    config["text_cfg"]["tokenizer_kwargs"] = {"bpe_path": str(MERGES.resolve())}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{NAME}.json"
        path.write_text(json.dumps(config))
        open_clip.add_model_config(path)


def unknown_words(text: str) -> list[str]:
    """The words of a prompt that training never saw, lower-case, in order, each once."""
    return list(dict.fromkeys(word for word in words_of(text) if word not in vocabulary()))


def words_of(text: str) -> list[str]:
    """The words of a text in lower case."""
    return re.findall(r"\w+", text.lower())


@cache
def vocabulary() -> frozenset[str]:
    """The words of the captions it was trained on, lower-case."""
    return frozenset(VOCABULARY.read_text(encoding="utf-8").split())
