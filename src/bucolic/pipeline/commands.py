"""The verbs of `bucolic` that a flow runs around the stages, each in its own process."""

from collections.abc import Callable

from bucolic.errors import BucolicError, DataError, ParamsError
from bucolic.pipeline.process import stream
from bucolic.pipeline.workspace import Workspace


def check_params(workspace: Workspace, on_line: Callable[[str], None]) -> None:
    """Validate the workspace's params.yaml with the workspace's own code.

    Raises:
        ParamsError: with the line that `bucolic params check` prints.
    """
    _verb(workspace, on_line, ParamsError, "params", "check")


def render_report(workspace: Workspace, on_line: Callable[[str], None]) -> None:
    """Write reports/report.html.

    Raises:
        DataError: with the last line of `bucolic report`.
    """
    _verb(workspace, on_line, DataError, "report")


def send_records(workspace: Workspace, on_line: Callable[[str], None]) -> None:
    """Send waiting records to MLflow; one that cannot be sent waits on, and nothing is raised."""
    stream(["bucolic", "track"], workspace.root, on_line, workspace.environment)


def _verb(
    workspace: Workspace, on_line: Callable[[str], None], error: type[BucolicError], *verb: str
) -> None:
    lines: list[str] = []

    def take(line: str) -> None:
        lines.append(line)
        on_line(line)

    if stream(["bucolic", *verb], workspace.root, take, workspace.environment):
        last = next((line for line in reversed(lines) if line.strip()), "no message")
        raise error(f"`bucolic {' '.join(verb)}`: {last}")
