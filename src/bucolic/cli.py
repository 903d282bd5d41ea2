"""The command line: one verb a stage, and what a user does around them.

Everything heavy is imported inside the verb that needs it, so that --help answers at once.
"""

import logging
import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bucolic.base.errors import BucolicError, ParamsError, TransientError, as_told
from bucolic.base.places import find_home, find_root
from bucolic.base.signals import (
    Ended,
    end_at_once,
    follow_launcher,
    hold_back,
    raising_ended,
    wait_to_be_ended,
)
from bucolic.base.torchrun import leads, rank, started_by_torchrun
from bucolic.drawing_verbs import DRAWING_VERBS
from bucolic.pipeline.own_code import run_own_code
from bucolic.pipeline.services import QUIET
from bucolic.pipeline.table import LAST, STAGES, Declared

if TYPE_CHECKING:
    from bucolic.pipeline.digests import Digests


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

    def list_commands(self, context: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Names of the verbs in the order they are declared in: stages first, as they run."""
        return list(self.commands)

    def invoke(self, context: click.Context) -> object:
        """Run the verb; a BucolicError becomes its message and its code, and so does a signal."""
        try:
            with raising_ended():
                return super().invoke(context)
        except Ended as ended:
            if leads():
                click.echo(f"bucolic: {ended}", err=True)
            end_at_once(ended.exit_code)
        except Exception as error:
            if not leads():
                wait_to_be_ended()
            if (told := _told(error)) is None:
                raise
            speaker = "bucolic" if leads() else f"bucolic, process {rank()}"
            click.echo(f"{speaker}: {told}", err=True)
            context.exit(told.exit_code)


def _told(error: Exception) -> BucolicError | None:
    """An error as one line to the user; None for what is a fault of the program."""
    if isinstance(error, ModuleNotFoundError) and not str(error.name).startswith("bucolic"):
        return ParamsError(
            f"the environment {sys.prefix} lacks {error.name}, which this checkout needs: "
            "make setup, then source .venv/bin/activate"
        )
    return as_told(error)


@click.group(cls=OneLineErrors, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="bucolic")
def main() -> None:
    """Study CLIP-conditioned image generation on a theme of MS-COCO.

    The pipeline is run by `dvc repro`; its stages are the first verbs. Params are in params.yaml,
    where filter.keywords is the theme.
    """
    # Warnings of libraries on their own internals would bury the one line that matters.
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logging.getLogger("bucolic").setLevel(logging.INFO if leads() else logging.WARNING)
    if started_by_torchrun():
        follow_launcher()
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    # Threads that spin for long while they wait bring a machine with other work to a crawl, that
    # hardly spin a quiet one (docs/experiments.md). Read by OpenMP when torch is imported.
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")


def _code_digests(name: str, root: Path) -> "Digests":
    from bucolic.pipeline.digests import code_digests

    return code_digests(name, root)


def _render(root: Path) -> None:
    from bucolic.reporting.report_page import render

    click.echo(f"report: {render(root)}")


def _try_to_render(root: Path) -> None:
    """Render the page after a stage that has ended well, which no page may undo."""
    try:
        _render(root)
    except Exception as error:  # noqa: BLE001 - see above
        logging.getLogger(__name__).warning("%s; `bucolic report` tries again", error)


ENGINE = click.option(
    "--engine",
    metavar="local|ray|ray://HOST:PORT",
    help="What works on the items; by default BUCOLIC_ENGINE, or this process.",
)


def _verb(stage: Declared) -> None:
    """Make a verb of a stage, which runs its function in the project's root."""

    def verb(engine: str | None = None) -> None:
        if engine:
            os.environ["BUCOLIC_ENGINE"] = engine
        hold_back()  # until there is a record that can say it
        root = find_root(Path.cwd())
        os.chdir(root)
        code = _code_digests(stage.name, root)  # before what they are of is imported
        from bucolic.pipeline.launch import run_in_processes

        if (exit_code := run_in_processes(stage, root, code)) is not None:
            sys.exit(exit_code)
        from bucolic.pipeline.execute import execute
        from bucolic.tracking.hooks import open_tracker, send

        waits = stage.streams or stage is LAST
        try:
            tracker = open_tracker if stage.streams else None
            execute(stage.name, root, partial(stage.run, root=root), tracker, code)
        except Ended:
            waits = "mlflow" in sys.modules  # to load it takes longer than one who ends us waits
            raise
        finally:
            if leads():
                send(root, wait=waits)
        if stage is LAST:
            _try_to_render(root)

    number = STAGES.index(stage) + 1
    command = main.command(stage.name, help=f"Stage {number}: {stage.help}", short_help=stage.help)
    command(ENGINE(verb) if stage.has_engine else verb)


for declared in STAGES:
    _verb(declared)


@main.group("params")
def params_group() -> None:
    """Check or show params.yaml."""


@params_group.command("check")
def params_check() -> None:
    """Validate params.yaml, find its data set, and say which libraries are not as pinned."""
    from bucolic.pipeline.graph import read_graph, require_outs_inside
    from bucolic.pipeline.libraries import what_differs
    from bucolic.pipeline.params import check_dataset_root, load_params

    project = find_root(Path.cwd())
    params = load_params(project)
    check_dataset_root(params, project)
    require_outs_inside(project, read_graph(project))
    click.echo(f"params.yaml is valid: {params.dataset.root}, {', '.join(params.filter.keywords)}")
    for line in what_differs(project):
        click.echo(line, err=True)


@params_group.command("show")
def params_show() -> None:
    """Print every param with the defaults filled in, as JSON."""
    from bucolic.pipeline.params import load_params

    click.echo(load_params(find_root(Path.cwd())).model_dump_json(indent=2))


@main.command()
@click.argument("name")
def preset(name: str) -> None:
    """Write params.yaml for a preset; the former one is kept.

    There are meadow, meadow-long, meadow-128, tiny, folder, coco2017 and coco2017-128.
    """
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


@main.command("plan")
def plan_verb() -> None:
    """Show what the params will fetch, write and take, before anything is fetched."""
    from bucolic.base.runtime import default_workers
    from bucolic.pipeline.params import load_params
    from bucolic.planning.plan import plan

    root = find_root(Path.cwd())
    for line in plan(root, find_home(root), load_params(root), default_workers()):
        click.echo(line)


@main.command("words")
@click.option("--limit", type=click.IntRange(1), default=40, show_default=True)
def words_verb(limit: int) -> None:
    """Show which words stand beside the theme, and what each would add as a keyword."""
    from bucolic.pipeline.params import load_params
    from bucolic.planning.words import words

    root = find_root(Path.cwd())
    for line in words(root, load_params(root), limit):
        click.echo(line)


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
    from bucolic.base.places import find_home
    from bucolic.pipeline.kept import forget_old

    root = find_root(Path.cwd())
    # Work lies beside the checkout where HOME cannot be written.
    freed_bytes = sum(forget_old(folder, kept_s=0) for folder in {find_home(root), root})
    click.echo(f"{freed_bytes / 1e6:.1f} MB freed; .cache and DVC's own cache are as they were")


@main.command()
def report() -> None:
    """Render reports/report.html and model_card.md from the figures and records there are."""
    _render(find_root(Path.cwd()))


@main.command()
@click.argument("first")
@click.argument("second", required=False)
def compare(first: str, second: str | None) -> None:
    """Compare two evaluated runs prompt by prompt: FIRST with SECOND, or with the workspace.

    Each is a commit, an experiment as `dvc exp show` names it, or a verdicts.parquet.
    """
    from bucolic.reporting.comparison import differences, left_out, lines, verdicts_at

    root = find_root(Path.cwd())
    runs = verdicts_at(root, first), verdicts_at(root, second)
    click.echo(f"first: {first}; second: {second or 'workspace'}")
    for line in [*lines(differences(*runs)), *left_out(*runs)]:
        click.echo(line)


for drawing_verb in DRAWING_VERBS:
    main.add_command(drawing_verb)


@main.command()
def up() -> None:
    """Start the Prefect server with the deployments, a worker, and the MLflow UI."""
    from bucolic.pipeline.up import up as start

    sys.exit(start(find_root(Path.cwd())))


if __name__ == "__main__":
    main()
