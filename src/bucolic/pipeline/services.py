"""The services of this machine: where their pages are, and what keeps the tools from calling home.

Makefile, README and pyproject.toml, which cannot read this, repeat some of it; a test compares.
"""

HOST = "127.0.0.1"
PREFECT_PORT = 4200
MLFLOW_PORT = 5001


def page(port: int, host: str = HOST) -> str:
    """Address of a service of this machine."""
    return f"http://{host}:{port}"


PREFECT_PAGE = page(PREFECT_PORT)
MLFLOW_PAGE = page(MLFLOW_PORT)
# Without it MLflow's pages open on their view for chat models.
MLFLOW_VIEW = "workflowType=machine_learning"
MLFLOW_RUNS = f"{MLFLOW_PAGE}/#/experiments?{MLFLOW_VIEW}"
QUIET = {
    "DO_NOT_TRACK": "true",  # MLflow accepts only the word "true"
    "DVC_NO_ANALYTICS": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "RAY_USAGE_STATS_ENABLED": "0",
}
