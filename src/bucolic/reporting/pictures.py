"""Pictures inside the page itself, so that it opens anywhere; what the gallery's show."""

import base64
from pathlib import Path

GALLERY = {
    "variations": (
        "Variations. What CLIP sees of a test picture, drawn anew: what they share the model was "
        "told, what differs it makes up."
    ),
    "interpolations": (
        "Interpolations. On the arc between the embeddings of two test pictures, all from the same "
        "noise."
    ),
    "text_differences": (
        "Text differences. The model's own pictures, turned from what one text says towards what "
        "another one does (evaluate.edits); at 100 % only the difference of the texts is left."
    ),
    "guidance": (
        "Guidance. The same prompt and noise, drawn with growing guidance: first truer to the "
        "prompt, then exaggerated."
    ),
}


def inlined(path: Path) -> str | None:
    """A PNG as a data URI; None where there is none."""
    if not path.is_file():
        return None
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


def gallery_in(folder: Path) -> list[dict[str, str]]:
    """The sheets of evaluation/gallery.py that a folder has, and what each shows."""
    found = {about: inlined(folder / f"{name}.png") for name, about in GALLERY.items()}
    return [{"about": about, "picture": picture} for about, picture in found.items() if picture]
