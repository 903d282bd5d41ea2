"""The two small CLIPs for Meadow's drawings, whose weights ship in the package.

meadow-clip is what models are conditioned on: a modified ResNet and a causal text transformer.
meadow-judge judges what they draw: another architecture, trained from other seeds on other scenes,
so that a model gains nothing from the weak spots of the CLIP it was trained with.

Both are ordinary open_clip models, trained by tools/train_meadow_clip.py, with the figures they
reached in figures.json beside the weights; they know nothing of photographs. They share CLIP's
tokenizer, cut to its first 4,000 merges: the whole table would make the weights three times as
large.
"""

import json
import re
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

TRAINED_ON = "drawings"
FOLDER = Path(__file__).parent / "weights"
MERGES = FOLDER / "merges.txt.gz"
VOCABULARY = FOLDER / "words.txt"


@dataclass(frozen=True)
class Shipped:
    """A model of that name, and where its files lie."""

    name: str

    @property
    def config(self) -> Path:
        """Its architecture, as open_clip reads one."""
        return FOLDER / self.name / "model.json"

    @property
    def weights(self) -> Path:
        """Its tensors, in half precision."""
        return FOLDER / self.name / "model.safetensors"

    @property
    def figures(self) -> Path:
        """What tools/measure_meadow_clip.py measured of it."""
        return FOLDER / self.name / "figures.json"


MEADOW_CLIP, MEADOW_JUDGE = Shipped("meadow-clip"), Shipped("meadow-judge")
SHIPPED = {model.name: model for model in (MEADOW_CLIP, MEADOW_JUDGE)}


@cache
def register() -> None:
    """Make both models known to open_clip; its factory and tokenizer then take their names."""
    import open_clip  # noqa: PLC0415 - heavy, and words are looked up without it

    with tempfile.TemporaryDirectory() as folder:
        for model in SHIPPED.values():
            config = json.loads(model.config.read_text())
            # open_clip resolves no relative path, so the tokenizer's file is named in full here.
            config["text_cfg"]["tokenizer_kwargs"] = {"bpe_path": str(MERGES.resolve())}
            (Path(folder) / f"{model.name}.json").write_text(json.dumps(config))
        open_clip.add_model_config(folder)


def unknown_words(text: str) -> list[str]:
    """The words of a prompt that training never saw, lower-case, in order, each once."""
    return list(dict.fromkeys(word for word in words_of(text) if word not in vocabulary()))


def words_of(text: str) -> list[str]:
    """The words of a text in lower case."""
    return re.findall(r"\w+", text.lower())


@cache
def vocabulary() -> frozenset[str]:
    """The words of the captions that meadow-clip was trained on, lower-case."""
    return frozenset(VOCABULARY.read_text(encoding="utf-8").split())
