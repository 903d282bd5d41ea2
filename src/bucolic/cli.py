"""The command line: one verb a stage, and what a user does around them.

Everything heavy is imported inside the verb that needs it, so that --help answers at once.
"""

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bucolic.errors import BucolicError, ParamsError, TransientError, as_transient
from bucolic.own_code import run_own_code
from bucolic.places import find_root
from bucolic.signals import Ended, end_at_once, hold_back, raising_ended

if TYPE_CHECKING:
    from bucolic.params import Params
    from bucolic.pipeline.digests import Digests
    from bucolic.report import Summary
    from bucolic.runtime import Runtime

ANNOTATIONS = Path("data/annotations")
SELECTION = Path("data/selection.parquet")
IMAGES = Path("data/images")
EMBEDDINGS = Path("data/embeddings")
SHARDS = Path("data/shards")
MODEL = Path("models/current")
FIGURES = Path("reports/figures")


class OneLineErrors(click.Group):
    """A group whose verbs end in one clear line and an exit code where the user can help it."""

    def __call__(self, *args: Any, **extra: Any) -> Any:
        """Run as a command: typed by a user, as the code of the checkout it is typed in."""
        if not args:
            try:
                run_own_code()
            except BucolicError as error:
                click.echo(f"bucolic: {error}", err=True)
                sys.exit(error.exit_code)
        return super().__call__(*args, **extra)

    def invoke(self, context: click.Context) -> object:
        """Run the verb; a BucolicError becomes its message and its code, and so does a signal."""
        try:
            with raising_ended():
                return super().invoke(context)
        except Ended as ended:
            click.echo(f"bucolic: {ended}", err=True)
            end_at_once(ended.exit_code)
        except Exception as error:
            if (told := _told(error)) is None:
                raise
            click.echo(f"bucolic: {told}", err=True)
            context.exit(told.exit_code)


def _told(error: Exception) -> BucolicError | None:
    """An error as one line to the user; None for what is a fault of the program."""
    if isinstance(error, BucolicError):
        return error
    if isinstance(error, ModuleNotFoundError) and not str(error.name).startswith("bucolic"):
        return ParamsError(
            f"the environment {sys.prefix} lacks {error.name}, which this checkout needs: "
            "make setup, then source .venv/bin/activate"
        )
    return as_transient(error)


@click.group(cls=OneLineErrors, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="bucolic")
def main() -> None:
    """Study CLIP-conditioned image generation on a theme of MS-COCO.

    The pipeline is run by `dvc repro`; its stages are the first seven verbs. Params are in
    params.yaml, where filter.keywords is the theme.
    """
    # Warnings of libraries on their own internals would bury the one line that matters.
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logging.getLogger("bucolic").setLevel(logging.INFO)
    os.environ.setdefault("DO_NOT_TRACK", "true")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # Threads that spin for long while they wait bring a machine with other work to a crawl; that do
    # not spin at all, a quiet one. This costs a tenth. Read by OpenMP when torch is imported.
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")


def _code_digests(name: str, root: Path) -> "Digests":
    from bucolic.pipeline.digests import code_digests

    return code_digests(name, root)


def _render(root: Path) -> None:
    from bucolic.report_page import render

    click.echo(f"report: {render(root)}")


def _try_to_render(root: Path) -> None:
    """Render the page after a stage that has ended well, which no page may undo."""
    try:
        _render(root)
    except Exception as error:  # noqa: BLE001 - see above
        logging.getLogger(__name__).warning("%s; `bucolic report` tries again", error)


def stage(call: Callable[["Params", "Runtime"], "Summary"]) -> click.Command:
    """Make a verb of a stage: `call` runs its function in the project's root."""
    name = call.__name__.strip("_")

    def verb() -> None:
        hold_back()  # until there is a record that can say it
        root = find_root(Path.cwd())
        os.chdir(root)
        code = _code_digests(name, root)  # before what they are of is imported
        from bucolic.pipeline.execute import execute
        from bucolic.tracking.hooks import open_sink, send

        waits = name in {"train", "evaluate"}
        try:
            execute(name, root, call, open_sink if name == "train" else None, code)
        except Ended:
            waits = "mlflow" in sys.modules  # to load it takes longer than one who ends us waits
            raise
        finally:
            send(root, wait=waits)
        if name == "evaluate":
            _try_to_render(root)

    return main.command(name, help=call.__doc__)(verb)


@stage
def annotations(params: "Params", runtime: "Runtime") -> "Summary":
    """Stage 1: fetch and verify the annotation files."""
    from bucolic.places import dataset_root
    from bucolic.stages.annotations import get_annotations

    root = dataset_root(Path.cwd(), params.dataset.root)
    return get_annotations(root, ANNOTATIONS, runtime=runtime)


@stage
def filter_(params: "Params", _runtime: "Runtime") -> "Summary":
    """Stage 2: choose the images of the theme, and split them."""
    from bucolic.stages.filter import select_images

    return select_images(ANNOTATIONS, SELECTION, config=params.filter)


@stage
def images(params: "Params", runtime: "Runtime") -> "Summary":
    """Stage 3: fetch, check and pack the chosen images."""
    from bucolic.places import dataset_root
    from bucolic.stages.images import get_images

    root = dataset_root(Path.cwd(), params.dataset.root)
    return get_images(root, SELECTION, IMAGES, config=params.images, runtime=runtime)


@stage
def embed(params: "Params", runtime: "Runtime") -> "Summary":
    """Stage 4: embed images and captions with CLIP."""
    from bucolic.stages.embed import embed as run

    return run(SELECTION, IMAGES, EMBEDDINGS, clip=params.clip, runtime=runtime)


@stage
def shard(params: "Params", runtime: "Runtime") -> "Summary":
    """Stage 5: pack pictures, captions and vectors into WebDataset shards."""
    from bucolic.stages.shard import shard as run

    return run(SELECTION, IMAGES, EMBEDDINGS, SHARDS, config=params.shard, runtime=runtime)


@stage
def train(params: "Params", runtime: "Runtime") -> "Summary":
    """Stage 6: train the model."""
    from bucolic.stages.train import train as run

    return run(SHARDS, MODEL, model=params.model, config=params.train, runtime=runtime)


@stage
def evaluate(params: "Params", runtime: "Runtime") -> "Summary":
    """Stage 7: judge the model on the held-out test split."""
    from bucolic.stages.evaluate import evaluate as run

    return run(
        MODEL,
        SHARDS,
        ANNOTATIONS,
        FIGURES,
        config=params.evaluate,
        clip=params.clip,
        runtime=runtime,
    )


@main.group("params")
def params_group() -> None:
    """Check or show params.yaml."""


@params_group.command("check")
def params_check() -> None:
    """Validate the whole of params.yaml, and that its data set is there."""
    from bucolic.params import check_dataset_root, load_params
    from bucolic.pipeline.graph import read_graph, require_outs_inside

    project = find_root(Path.cwd())
    params = load_params(project)
    check_dataset_root(params, project)
    require_outs_inside(project, read_graph(project))
    click.echo(f"params.yaml is valid: {params.dataset.root}, {', '.join(params.filter.keywords)}")


@params_group.command("show")
def params_show() -> None:
    """Print every param with the defaults filled in, as JSON."""
    from bucolic.params import load_params

    click.echo(load_params(find_root(Path.cwd())).model_dump_json(indent=2))


@main.command()
@click.argument("name")
def preset(name: str) -> None:
    """Write params.yaml for meadow, tiny, folder or coco2017; the former one is kept."""
    from bucolic.presets import write_preset

    kept = write_preset(name, find_root(Path.cwd()))
    click.echo(
        f"params.yaml is now preset {name}" + (f"; the former one is {kept}" if kept else "")
    )


@main.command()
@click.argument("name")
def theme(name: str) -> None:
    """Copy a word list, bucolic or naturey, into filter.keywords."""
    from bucolic.presets import write_theme

    words = write_theme(name, find_root(Path.cwd()))
    click.echo(f"filter.keywords: {', '.join(words)}")


@main.command()
def track() -> None:
    """Send the records that still wait to MLflow."""
    from bucolic.tracking.hooks import track as deliver

    delivery = deliver(find_root(Path.cwd()))
    if delivery.sent:
        click.echo(f"{delivery.sent} record{'s' * (delivery.sent > 1)} sent to MLflow")
    if delivery.reason:
        raise TransientError(f"{delivery.left}: {delivery.reason}")
    if not delivery.sent:
        click.echo("MLflow holds every record already")


@main.command()
def clean() -> None:
    """Free what killed runs left to go on from, and finished results that DVC has not taken."""
    from bucolic.pipeline.kept import forget_old
    from bucolic.places import find_home

    root = find_root(Path.cwd())
    # Work lies beside the checkout where HOME cannot be written.
    freed_bytes = sum(forget_old(folder, kept_s=0) for folder in {find_home(root), root})
    click.echo(f"{freed_bytes / 1e6:.1f} MB freed; .cache and DVC's own cache are as they were")


@main.command()
def report() -> None:
    """Render reports/report.html from the figures and records there are."""
    _render(find_root(Path.cwd()))


@main.command()
@click.argument("prompts", nargs=-1, required=True)
@click.option("-n", "count", default=4, show_default=True, help="Pictures for each prompt.")
@click.option("--seed", default=0, show_default=True, help="Seed of the pictures.")
@click.option("--guidance", type=float, help="How strongly the prompt pulls; chosen on val.")
@click.option("--steps", type=int, help="Steps of the sampler; chosen on val.")
@click.option("--model", "folder", type=click.Path(path_type=Path), help="Folder of a model.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("generated.png"),
    show_default=True,
    help="A .png for one enlarged grid, or a folder for single pictures.",
)
def generate(
    prompts: tuple[str, ...],
    count: int,
    seed: int,
    guidance: float | None,
    steps: int | None,
    folder: Path | None,
    out: Path,
) -> None:
    """Draw pictures of PROMPTS with the trained model."""
    from bucolic.arguments import COUNTS, STEPS, finite_number, prompts_of, whole_number
    from bucolic.pictures import require_place, save_pictures

    require_place(out)
    texts = prompts_of(prompts)
    whole_number("n", count, COUNTS)
    whole_number("steps", 1 if steps is None else steps, STEPS)
    finite_number("guidance", guidance or 0.0, least=0)
    from bucolic.generate import Bucolic  # takes seconds

    model = Bucolic.from_pretrained(folder or find_root(Path.cwd()) / MODEL)
    drawn = model.generate(texts, n=count, seed=seed, guidance=guidance, steps=steps)
    for path in save_pictures(drawn, texts, out, seed=seed):
        click.echo(path)


@main.command()
def up() -> None:
    """Start the Prefect server with the deployments, a worker, and the MLflow UI."""
    from bucolic.pipeline.up import up as start

    sys.exit(start(find_root(Path.cwd())))


if __name__ == "__main__":
    main()
