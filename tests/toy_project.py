"""A toy project with the shape of the real one: three tiny stages, params, records, failures."""

import json
import subprocess
from pathlib import Path

from bucolic.pipeline.environment import child_environment
from bucolic.pipeline.record import SCHEMA

DVC_YAML = """\
stages:
  third:
    cmd: python stage.py third second.txt
    params: [third]
    deps: [second.txt, stage.py]
    outs: [third.txt, reports/records/third.json]
    metrics: [reports/third.json]
  first:
    cmd: python stage.py first ${source}
    params: [filter]
    deps: ["${source}", stage.py]
    outs: [first, reports/records/first.json]
  second:
    cmd: python stage.py second first/out.txt
    params: [second]
    deps: [first/out.txt, stage.py]
    outs:
      - second.txt:
          cache: true
      - reports/records/second.json
"""
PARAMS_YAML = """\
# the theme
source: photos
filter:
  keywords: [cow, sheep] # a comment
second: {factor: 2}
third: {factor: 3}
"""
STAGE_PY = '''\
"""A stage that writes its input's names and the params, and can be told to fail or to wait."""
import json, os, sys, time, uuid
from pathlib import Path

name, source = sys.argv[1:]
order = Path(os.environ.get("TOY_ORDERS", "orders")) / name
times, code, wait_s = json.loads(order.read_text()) if order.is_file() else (0, 0, 0)
print("hello from", name, flush=True)
if wait_s:
    print("waiting as", os.getpid(), flush=True)
    time.sleep(wait_s)
record = {"schema": SCHEMA, "record_id": uuid.uuid4().hex, "stage": name, "status": "ok",
          "error": None, "started": "2026-01-01T00:00:00Z", "duration_s": 0.1, "keywords": ["cow"],
          "rows": {"in": 3, "out": 2, "failed": 1}, "figures": {}}
if times:
    order.write_text(json.dumps([times - 1, code, 0]))
    kind = "transient" if code == 75 else "data"
    error = {"kind": kind, "message": f"{name} met {kind}", "where": name, "retryable": code == 75}
    record.update(status="failed", error=error)
    Path(".work/failures").mkdir(parents=True, exist_ok=True)
    Path(f".work/failures/{name}.json").write_text(json.dumps(record))
    sys.exit(code)
if name == "third":
    record["figures"] = {"metrics": {"accuracy": 0.5}, "bounds": {"real": {"accuracy": 0.9}}}
    Path("reports").mkdir(exist_ok=True)
    Path("reports/third.json").write_text(json.dumps(record["figures"]))
out = Path("first/out.txt" if name == "first" else f"{name}.txt")
out.parent.mkdir(exist_ok=True)
out.write_text(f"{name} of {source}\\n" + Path("params.yaml").read_text())
Path("reports/records").mkdir(parents=True, exist_ok=True)
Path(f"reports/records/{name}.json").write_text(json.dumps(record))
'''.replace("SCHEMA", str(SCHEMA))
IGNORED = "/first\n/*.txt\n/reports\n/photos/\n/.work\n/orders\n"


def call(folder: Path, *command: str) -> str:
    """Run a command in `folder` with the environment's own tools; return its output."""
    done = subprocess.run(
        command, cwd=folder, env=child_environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def order(root: Path, stage: str, times: int = 0, code: int = 0, wait_s: float = 0) -> None:
    """Tell a toy stage to fail `times` times with `code`, or to wait."""
    (root / "orders" / stage).write_text(json.dumps([times, code, wait_s]))
