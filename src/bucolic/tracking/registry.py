"""The registered model `bucolic-cvae`: a version for each training, and its champion.

A version is found by the record_id of its training, so a record that is sent again makes none.
Trainings that end in the same weights have a version each; evaluate judges that of its own
pipeline, or else the newest.

A version brings the code that reads it, so weights that this code cannot read make none.

The rule for the alias `champion`, applied when evaluate reports on a version: it is settled by what
train measured on val, so that test stays what nothing is chosen on. Against a champion with the
same val pictures and prompts, and the same judge, the higher score wins, a tie leaves things as
they are; else the scores do not compare, and the newer training has the alias. The score is
val_attributes_all_right, else val_match, whichever is the first that both have. A version whose
files are gone, or that was sent without its code, is never champion, and gives way to any other.
"""

import logging
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bucolic
from bucolic.base.errors import DataError
from bucolic.pipeline.git import known_commit
from bucolic.pipeline.libraries import public_version
from bucolic.pipeline.table import MODEL, SHARDS
from bucolic.tracking import described
from bucolic.tracking.mlflow_store import Store

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.models import ModelSignature

REGISTERED = "bucolic-cvae"
CHAMPION = "champion"
DESCRIPTION = """\
Draws pictures for prompts, conditioned on CLIP embeddings.

    model = mlflow.pyfunc.load_model("models:/bucolic-cvae@champion")
    model.predict(pandas.DataFrame({"prompt": ["two cows under a blue sky"]}), params={"n": 4})

A version is a training; its tags say which data, params and commit the weights came from, which
commit's code is shipped with them, and what evaluate measured. `champion` is the best on the
newest val data; test chooses nothing."""
EXAMPLE = "two cows under a blue sky"
JUDGED = "judged"  # when evaluate started whose scores a version carries
SCORED = "scores"  # names of the tags that are these scores
REASON = "champion_because"
SETTLING = ("val_attributes_all_right", "val_match")  # the first that both have settles
VAL = ("val_digest", "val_prompts", "val_judge")  # of what, and by whom, these were measured
# Not the package of our name, which anybody may register: the model brings its own code.
NEEDED = ("mlflow", "torch", "open_clip_torch", "safetensors", "pillow", "numpy", "pydantic")
CODE = Path(bucolic.__path__[0])
NOT_CODE = shutil.ignore_patterns("__pycache__")
LOG = logging.getLogger(__name__)
NOT_THERE = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # the model, or its alias
PARTS = {"MLmodel", "artifacts", "code"}
SERVED = ("*.safetensors", "*.json")  # no pickle, and no curves, which the run holds


def register(store: Store, record: described.Record, run_id: str, weights: Path) -> str | None:
    """Make a version of the weights that train left, unless it has one.

    Returns:
        Its number; None, after a warning, for weights of a format that this code cannot read.
    """
    if known := _versions(store, record_id=record["record_id"]):
        return str(known[-1].version)
    import mlflow  # noqa: PLC0415 - see open_store

    from bucolic.models.store import require_readable  # noqa: PLC0415 - torch, for train alone

    try:
        require_readable(weights)
    except DataError as error:
        LOG.warning("MLflow: no version is made: %s", error)
        return None

    commits = (record.get("git") or {}).get("commit"), known_commit(CODE)
    if all(commits) and len(set(commits)) > 1:
        LOG.warning("MLflow: the model trained at commit %s is sent with the code of %s", *commits)
    uri = _log_model(run_id, weights)
    tags = {
        "weights_digest": record["outputs"][MODEL],
        "data_digest": str(record["inputs"].get(SHARDS)),
        "params_digest": described.params_digest(record),
        "kind": described.kind(record),
        "keywords": described.keywords(record),
        "commit": str(commits[0]),
        "code_commit": str(commits[1]),
        "pipeline_id": record["pipeline_id"],
        "record_id": record["record_id"],
        **_measured_on_val(record),
    }
    version = mlflow.register_model(uri, REGISTERED, tags=tags).version
    store.client.update_registered_model(REGISTERED, DESCRIPTION)
    return str(version)


def _measured_on_val(record: described.Record) -> dict[str, str]:
    """The scores that settle the champion, and what they are of."""
    figures, details = record.get("figures") or {}, record.get("details") or {}
    scores = {
        name: str(figures[name]) for name in SETTLING if described.is_number(figures.get(name))
    }
    return scores | {name: str(details[name]) for name in VAL if name in details}


def judges(record: described.Record) -> bool:
    """Whether a record says what a model reached: it read the weights, and measured."""
    read_weights = MODEL in (record.get("inputs") or {})
    return record["status"] == "ok" and read_weights and bool(_metrics(record))


def _metrics(record: described.Record) -> dict[str, Any]:
    metrics: dict[str, Any] = (record.get("figures") or {}).get("metrics") or {}
    return metrics


def judge(store: Store, record: described.Record) -> None:
    """Write evaluate's figures on the version it judged, and settle the champion."""
    version = _evaluated(store, record)
    if version is None:
        return
    if record["started"] < version.tags.get(JUDGED, ""):
        return  # a record that waited: the version carries the scores of a later judgement
    _write_scores(store, version, record, _metrics(record))
    champion = _champion(store, besides=version)
    if champion and champion.version == version.version:
        _explain(store, version, "it was before it was judged again")
    elif not _is_whole(version):
        return
    elif reason := _reason(version, champion):
        store.client.set_registered_model_alias(REGISTERED, CHAMPION, version.version)
        _explain(store, version, reason)


def _explain(store: Store, version: "ModelVersion", reason: str) -> None:
    store.client.set_model_version_tag(REGISTERED, version.version, REASON, reason)


def _write_scores(
    store: Store,
    version: "ModelVersion",
    record: described.Record,
    metrics: dict[str, Any],
) -> None:
    """Put the scores in place of those of an earlier judgement."""
    numbers = {name: value for name, value in metrics.items() if described.is_number(value)}
    scores = {described.fit_name(name): str(value) for name, value in numbers.items()}
    former = version.tags.get(SCORED, "none").split(",")
    for name in former:
        if name in version.tags and name not in scores:
            store.client.delete_model_version_tag(REGISTERED, version.version, name)
    about = {
        "test_digest": str((record.get("details") or {}).get("test_digest")),
        JUDGED: record["started"],
        SCORED: ",".join(scores) or "none",
    }
    for name, value in {**scores, **about}.items():
        store.client.set_model_version_tag(REGISTERED, version.version, name, value)


def _reason(version: "ModelVersion", champion: "ModelVersion | None") -> str | None:
    """Why a version should take the alias; None where it should not."""
    if champion is None:
        return "no other that was evaluated can be served"
    mine, theirs = version.tags, champion.tags
    name = next((score for score in SETTLING if score in mine and score in theirs), None)
    if name is None or not _comparable(mine, theirs):
        newest = int(version.version) > int(champion.version)
        return "the newest; the former champion was judged on other val data" if newest else None
    better = float(mine[name]) > float(theirs[name])
    return f"{name} {float(mine[name]):.4f} against {float(theirs[name]):.4f}" if better else None


def _comparable(mine: dict[str, str], other: dict[str, str]) -> bool:
    """Whether two versions were judged on the same val pictures, by the same judge."""
    return all(mine.get(name) == other.get(name) is not None for name in VAL)


def _evaluated(store: Store, record: described.Record) -> "ModelVersion | None":
    """The version of the weights that evaluate read: its pipeline's own, or else the newest."""
    equal = _versions(store, weights_digest=record["inputs"].get(MODEL))
    own = [v for v in equal if v.tags.get("pipeline_id") == record["pipeline_id"]]
    return next(reversed(own or equal), None)


def _versions(store: Store, **tags: str | None) -> "list[ModelVersion]":
    """Versions that carry all the tags, the newest last."""
    found = store.client.search_model_versions(f"name = '{REGISTERED}'")
    wanted = [v for v in found if all(v.tags.get(k) == value for k, value in tags.items())]
    return sorted(wanted, key=lambda version: int(version.version))


def _is_whole(version: "ModelVersion") -> bool:
    """Whether MLflow still holds what a version is served from."""
    import mlflow  # noqa: PLC0415 - see open_store

    files = mlflow.artifacts.list_artifacts(f"models:/{REGISTERED}/{version.version}")
    return {file.path for file in files} >= PARTS


def _champion(store: Store, *, besides: "ModelVersion") -> "ModelVersion | None":
    """The version that carries the alias; where that one cannot be served, it goes to the next."""
    champion = _named(store)
    if champion is None or _is_whole(champion):
        return champion
    LOG.warning("MLflow: version %s, the champion, has lost its files", champion.version)
    store.client.delete_registered_model_alias(REGISTERED, CHAMPION)
    heir = _heir(store, champion, besides)
    if heir:
        store.client.set_registered_model_alias(REGISTERED, CHAMPION, heir.version)
        _explain(store, heir, f"version {champion.version}, which was better, lost its files")
    return heir


def _named(store: Store) -> "ModelVersion | None":
    from mlflow.exceptions import MlflowException  # noqa: PLC0415 - see open_store

    try:
        return store.client.get_model_version_by_alias(REGISTERED, CHAMPION)
    except MlflowException as error:
        if error.error_code in NOT_THERE:
            return None
        raise  # a server that is away: the record waits, and nobody takes the alias meanwhile


def _heir(store: Store, champion: "ModelVersion", besides: "ModelVersion") -> "ModelVersion | None":
    """The best of the others that were judged on the champion's val data and can be served."""
    name = next((score for score in SETTLING if score in champion.tags), "")
    others = [
        version
        for version in _versions(store)
        if _comparable(version.tags, champion.tags)
        if version.version not in (champion.version, besides.version)
        if name in version.tags and JUDGED in version.tags
    ]
    best_first = sorted(others, key=lambda v: (float(v.tags[name]), int(v.version)), reverse=True)
    return next(filter(_is_whole, best_first), None)


def _log_model(run_id: str, weights: Path) -> str:
    """Log the pyfunc model under train's run; return its address."""
    import mlflow  # noqa: PLC0415 - see open_store
    import pandas as pd  # type: ignore[import-untyped]  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as scratch, mlflow.start_run(run_id=run_id):
        served = Path(scratch) / "model"
        served.mkdir()
        for pattern in SERVED:
            for file in weights.glob(pattern):
                shutil.copyfile(file, served / file.name)
        code = shutil.copytree(CODE, Path(scratch) / "code" / CODE.name, ignore=NOT_CODE)
        info = mlflow.pyfunc.log_model(
            name=REGISTERED,
            python_model=str(Path(__file__).with_name("pyfunc_model.py")),
            artifacts={"model": str(served)},
            code_paths=[str(code)],
            signature=_signature(),
            input_example=pd.DataFrame({"prompt": [EXAMPLE]}),
            pip_requirements=[f"{name}=={public_version(name)}" for name in NEEDED],
        )
    return str(info.model_uri)


def _signature() -> "ModelSignature":
    from mlflow.models import ModelSignature  # noqa: PLC0415 - see open_store
    from mlflow.types.schema import (  # noqa: PLC0415
        Array,
        ColSpec,
        DataType,
        ParamSchema,
        ParamSpec,
        Schema,
    )

    prompt, picture = ColSpec(DataType.string, "prompt"), Array(DataType.string)
    params = [
        ParamSpec("n", DataType.long, 1),
        ParamSpec("seed", DataType.long, 0),
        ParamSpec("guidance", DataType.double, None),
        ParamSpec("steps", DataType.long, None),
        ParamSpec("best_of", DataType.long, 1),
    ]
    outputs = Schema([prompt, ColSpec(picture, "pictures")])
    return ModelSignature(Schema([prompt]), outputs, ParamSchema(params))
