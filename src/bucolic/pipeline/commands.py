"""The verbs of `bucolic` that a flow runs around the stages, each in its own process."""

from collections.abc import Callable

from bucolic.base.errors import ParamsError
from bucolic.base.files import remove
from bucolic.pipeline.process import stream
from bucolic.pipeline.workspace import Workspace


def check_params(workspace: Workspace, on_line: Callable[[str], None]) -> None:
    """Validate the workspace's params.yaml with the workspace's own code.

    Raises:
        ParamsError: with the line that `bucolic params check` prints.
    """
    lines: list[str] = []

    def take(line: str) -> None:
        lines.append(line)
        on_line(line)

    if stream(["bucolic", "params", "check"], workspace.root, take, workspace.environment):
        last = next((line for line in reversed(lines) if line.strip()), "no message")
        raise ParamsError(f"`bucolic params check`: {last}")


def render_report(workspace: Workspace, on_line: Callable[[str], None]) -> None:
    """Write reports/report.html; where it cannot be made there is none, and a line says why."""
    remove(workspace.root / "reports" / "report.html")  # an older one would tell of other figures
    stream(["bucolic", "report"], workspace.root, on_line, workspace.environment)


def send_records(workspace: Workspace, on_line: Callable[[str], None]) -> None:
    """Send waiting records to MLflow; one that cannot be sent waits on, and nothing is raised."""
    stream(["bucolic", "track"], workspace.root, on_line, workspace.environment)
