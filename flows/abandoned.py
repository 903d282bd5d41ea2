"""End runs that a killed `bucolic up` left: `python flows/abandoned.py`, before a worker starts.

Left alone such a run would hold the deployment's only slot until its lease ends, minutes later.
"""

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.states import Crashed

UNDER_WAY = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]


def end_abandoned_runs() -> None:
    """Mark every run that is under way as crashed: `bucolic up` has ended what was left of them."""
    state = FlowRunFilterState(type=FlowRunFilterStateType(any_=UNDER_WAY))
    with get_client(sync_client=True) as client:
        for run in client.read_flow_runs(flow_run_filter=FlowRunFilter(state=state)):
            client.set_flow_run_state(run.id, Crashed(message="its worker was ended"), force=True)


if __name__ == "__main__":
    end_abandoned_runs()
