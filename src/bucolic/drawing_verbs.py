"""The verbs that draw with a trained model: from texts, and from pictures as unCLIP does.

What was typed is checked before torch is imported, which takes seconds.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from bucolic.base.errors import ParamsError
from bucolic.base.places import find_root
from bucolic.pipeline.table import MODEL

if TYPE_CHECKING:
    from bucolic.api.images import Image
    from bucolic.base.sheet import Pictures
    from bucolic.generate import Bucolic

Verb = TypeVar("Verb", bound=Callable[..., Any])
_SEED = click.option("--seed", default=0, show_default=True, help="Seed of the pictures.")
_FRAMES = click.option(
    "--steps", "frames", default=5, show_default=True, help="Pictures on the way."
)
_IMAGE = click.Path(path_type=Path)


def _sampling_options(verb: Verb) -> Verb:
    """How strongly and how finely to sample, with which model, and where to write."""
    for option in (
        click.option(
            "--out",
            type=click.Path(path_type=Path),
            default=Path("generated.png"),
            show_default=True,
            help="A .png for one enlarged grid, or a folder for single pictures.",
        ),
        click.option("--model", "folder", type=_IMAGE, help="Folder of a model."),
        click.option("--guidance", type=float, help="How strongly the condition pulls."),
    ):
        verb = option(verb)
    return verb


@click.command()
@click.argument("prompts", nargs=-1, required=True)
@click.option("-n", "count", default=4, show_default=True, help="Pictures for each prompt.")
@_SEED
@click.option("--steps", type=int, help="Steps of the sampler; chosen on val.")
@click.option("--best-of", default=1, show_default=True, help="Keep the best of so many, by CLIP.")
@_sampling_options
def generate(  # noqa: PLR0913, PLR0917 - an argument for each option
    prompts: tuple[str, ...],
    count: int,
    seed: int,
    steps: int | None,
    best_of: int,
    guidance: float | None,
    folder: Path | None,
    out: Path,
) -> None:
    """Draw pictures of PROMPTS with the trained model."""
    from bucolic.api.arguments import CANDIDATES, COUNTS, STEPS, prompts_of, whole_number

    _checked(guidance, out)
    texts = prompts_of(prompts)
    whole_number("n", count, COUNTS)
    whole_number("steps", 1 if steps is None else steps, STEPS)
    whole_number("best_of", best_of, CANDIDATES)
    model = _model(folder)
    asked: dict[str, Any] = {"seed": seed, "guidance": guidance, "steps": steps, "best_of": best_of}
    _save(model, model.generate(texts, n=count, **asked), texts, out, asked)


@click.command()
@click.argument("image", type=_IMAGE)
@click.option("-n", "count", default=4, show_default=True, help="Variations.")
@_SEED
@_sampling_options
def vary(
    image: Path, count: int, seed: int, guidance: float | None, folder: Path | None, out: Path
) -> None:
    """Draw variations of IMAGE: what CLIP sees of it stays, the rest is left to chance."""
    from bucolic.api.arguments import COUNTS, whole_number

    picture = _checked(guidance, out, image)
    whole_number("n", count, COUNTS)
    model = _model(folder)
    asked: dict[str, Any] = {"seed": seed, "guidance": guidance}
    drawn = model.vary(picture, n=count, **asked)
    _save(model, drawn, [f"a variation of {_named(image)}"], out, asked)


@click.command()
@click.argument("first", type=_IMAGE)
@click.argument("last", type=_IMAGE)
@_FRAMES
@_SEED
@_sampling_options
def interpolate(
    first: Path,
    last: Path,
    frames: int,
    seed: int,
    guidance: float | None,
    folder: Path | None,
    out: Path,
) -> None:
    """Draw pictures between what CLIP sees of FIRST and of LAST."""
    from bucolic.api.arguments import FRAMES, whole_number

    ends = _checked(guidance, out, first, last)
    whole_number("steps", frames, FRAMES[1:])
    model = _model(folder)
    asked: dict[str, Any] = {"seed": seed, "guidance": guidance}
    drawn = model.interpolate(*ends, frames=frames, **asked)
    told = f"from {_named(first)} to {_named(last)}"
    _save(model, drawn[None], [told], out, asked, frames)


@click.command()
@click.argument("image", type=_IMAGE)
@click.option("--from", "before", required=True, help="What the picture shows: 'a brown cow'.")
@click.option("--to", "after", required=True, help="What it shall show: 'a white sheep'.")
@click.option("--amount", default=0.5, show_default=True, help="How far to go, 0 to 1.")
@_FRAMES
@click.option("--seed", hidden=True, type=int, help="Taken as by the others; nothing is random.")
@_sampling_options
def edit(  # noqa: PLR0913, PLR0917 - an argument for each option
    image: Path,
    before: str,
    after: str,
    amount: float,
    frames: int,
    seed: int | None,  # noqa: ARG001 - see its help
    guidance: float | None,
    folder: Path | None,
    out: Path,
) -> None:
    """Turn IMAGE from what one text says towards what another one does."""
    from bucolic.api.arguments import FRAMES, finite_number, prompts_of, whole_number

    (picture,) = _checked(guidance, out, image)
    prompts_of([before, after])
    finite_number("amount", amount, least=0, most=1)
    whole_number("steps", frames, FRAMES)
    model = _model(folder)
    asked: dict[str, Any] = {"amount": amount, "guidance": guidance}
    drawn = model.edit(picture, before, after, frames=frames, **asked)
    _save(model, drawn[None], [f"{_named(image)}, {before} to {after}"], out, asked, frames)


def _checked(guidance: float | None, out: Path, *images: Path) -> "list[Image]":
    """The pictures of these files, once the place and the number are known to be fit.

    Raises:
        DataError: a file is not there, or no picture.
        ParamsError: the place takes no picture, or is one of the files; or the number is none.
    """
    from bucolic.api.arguments import finite_number
    from bucolic.api.images import one_image
    from bucolic.data.pillow import prepare_pillow
    from bucolic.showing.pictures import require_place

    prepare_pillow()
    require_place(out)
    finite_number("guidance", guidance or 0.0, least=0)
    found: list[Image] = [one_image("image", image) for image in images]
    if out.exists() and any(out.samefile(image.expanduser()) for image in images):
        raise ParamsError(f"{out} is the picture to begin with: choose another name by --out")
    return found


def _model(folder: Path | None) -> "Bucolic":
    from bucolic.generate import Bucolic  # takes seconds

    return Bucolic.from_pretrained(folder or find_root(Path.cwd()) / MODEL)


def _named(image: Path) -> str:
    """A file's name as text, whatever bytes the system has for it."""
    return os.fsencode(image.name).decode("utf-8", "replace")


def _save(
    model: "Bucolic",
    drawn: "Pictures",
    texts: list[str],
    out: Path,
    asked: Mapping[str, Any],
    columns: int | None = None,
) -> None:
    from bucolic.showing.pictures import COLUMNS, origin_of, save_pictures

    origin = origin_of(asked, model.digests)
    for path in save_pictures(drawn, texts, out, origin=origin, columns=columns or COLUMNS):
        click.echo(path)


DRAWING_VERBS = (generate, vary, interpolate, edit)
