"""reports/report.html: one static page about the last run, which opens anywhere, offline.

Everything it shows is read from files that the stages left: figures (reports/STAGE.json), records
(reports/records/STAGE.json), the sample grid and training curves. Stages that have not run yet are
named as such; what an earlier run left, under inputs that are others now, is left out. Pictures
are inlined; of photographs only what the model drew.
"""

import json
import logging
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, TemplateError
from ruamel.yaml import YAML

from bucolic.base.errors import DataError
from bucolic.base.files import write_text
from bucolic.data.verdicts import read_verdicts
from bucolic.evaluation import table
from bucolic.models.config import CONFIG_FILE, CURVES_FILE, DEFAULT_KIND
from bucolic.models.kinds import kind_named
from bucolic.pipeline.graph import read_graph
from bucolic.pipeline.lineage import current
from bucolic.pipeline.post import FAILURES, RECORDS
from bucolic.pipeline.record import foreign, pipeline_id, spent_s
from bucolic.pipeline.services import MLFLOW_PORT, MLFLOW_RUNS
from bucolic.pipeline.table import MODEL, NAMES, PICTURES, SAMPLING, VERDICTS
from bucolic.reporting.charts import Chart, line_chart, training_charts
from bucolic.reporting.figure_tables import FigureTables
from bucolic.reporting.model_card import model_card
from bucolic.reporting.pictures import gallery_in, inlined
from bucolic.reporting.verdict_tables import confusions, prompt_lines, verdicts_of

FAILURES_SHOWN = 20
CARD = "model_card.md"
DENOISED = {"val": "species", "train": "count", "third": "colour"}
OF_MODEL = {
    "memorisation.copied_share": "Share of copies: nearer to a training picture than 98 % of "
    "reconstructed held-out ones are, less the share of these; about 0 by chance",
    "memorisation.c_t_z": "C_T, z: positive where pictures are nearer to training than "
    "reconstructed held-out ones; within 2 of 0 by chance",
    "diversity.of_draws": "Mean cosine distance of two of 16 pictures of one prompt",
    "diversity.of_real": "The same of real pictures that meet the prompt",
    "diversity.ratio": "Diversity over that of real pictures",
    "likelihood.bits_per_dim": "Bits for a pixel value, estimated: reconstruction and KL to p(z|c)",
    "likelihood.bits_per_dim_standard_normal": "The same with the KL to N(0, I), a bound",
    "likelihood.kl_standard_normal_nats": "KL of the posterior to N(0, I), nats",
    "likelihood.kl_latent_prior_nats": "KL of the posterior to p(z|c), nats",
    "likelihood.active_units_share": "Share of latent units that say something about a picture",
    "condition_use.shuffled_condition_drop_db": "Reconstruction lost, dB, with another's condition",
    "condition_use.resampled_latent_drop_db": "Reconstruction lost, dB, with the latent left to "
    "chance",
}
SAMPLED = {
    "match": "Match, log probability",
    "attributes_all_right": "All attributes right",
    "species": "Species",
    "count": "Count",
    "colour": "Colour",
    "kid": "KID",
    "sharpness": "Sharpness",
}
LOG = logging.getLogger(__name__)

MODEL_FIRST = sorted(table.ARMS, key=lambda arm: arm.name != table.MODEL)
COLUMNS = [(arm.place, arm.label) for arm in MODEL_FIRST]
SLICES = (
    ("heldout_combinations", "Model, held out"),
    ("heldout_combinations.best_of", "Model, best of several, held out"),
    ("metrics", "Model, ordinary"),
    ("heldout_combinations.bounds.real", "Test image, held out"),
    ("heldout_combinations.bounds.retrieval", "Retrieval, held out"),
    ("bounds.retrieval", "Retrieval, ordinary"),
)


def render(root: Path) -> Path:
    """Write ROOT/reports/report.html, and model_card.md beside it, from what the stages left there.

    Args:
        root: the project's root.

    Returns:
        Path of the page.

    Raises:
        DataError: a file that it shows is broken, or the page cannot be written.
    """
    page = root / "reports" / "report.html"
    try:
        context = _context(root)
        write_text(page, _html(context))
        card = page.with_name(CARD)
        if context["model"]:
            write_text(card, _card(context))
        else:
            card.unlink(missing_ok=True)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, TemplateError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{page} cannot be made of what is in reports/: {reason}") from error
    return page


def _card(context: Mapping[str, Any]) -> str:
    found = context["found"]
    return model_card(context, context["model"], found["evaluate"], found["shard"])


def _html(context: Mapping[str, Any]) -> str:
    environment = Environment(
        loader=PackageLoader("bucolic.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2").render(context)


def _failure(root: Path, stage: str) -> dict[str, Any] | None:
    """The failure of a stage, unless it is of other params or another commit than today's."""
    failure = _read(root / FAILURES / f"{stage}.json")
    if not failure or foreign(failure):
        return None
    return failure if failure.get("pipeline_id") == pipeline_id(root) else None


def _context(root: Path) -> dict[str, Any]:
    left = {stage: _read(root / RECORDS / f"{stage}.json") for stage in NAMES}
    if others := [stage for stage, record in left.items() if record and foreign(record)]:
        LOG.warning(
            "%s: %s ran with another version of bucolic, which is left out: dvc repro -f -s %s",
            root / RECORDS,
            ", ".join(others),
            " ".join(others),
        )
    upstream = {stage.name: stage.upstream for stage in read_graph(root)}
    now = current(upstream, {stage: r for stage, r in left.items() if r and not foreign(r)})
    records = {stage: left[stage] if stage in now else None for stage in NAMES}
    figures = {
        stage: _read(root / f"reports/{stage}.json") if stage in now else None for stage in NAMES
    }
    # DVC removes a record before it runs the stage: where one is, DVC has put it back since.
    failures = {stage: None if stage in now else _failure(root, stage) for stage in NAMES}
    model = _read(root / MODEL / CONFIG_FILE) if "train" in now else None
    return {
        **_head(records, model or {}),
        "model": model,
        "found": figures,
        **_evaluation(root, figures["evaluate"]),
        "stages": [_stage(stage, records[stage], failures[stage]) for stage in NAMES],
        "earlier": [stage for stage in NAMES if left[stage] and stage not in now],
        "charts": _charts(root, model) if model else [],
        "sampling": _sampling(_read(root / SAMPLING)) if model else None,
        "counts": _keyword_counts(records["filter"]),
        "images": _failed_images(figures["images"], records["images"]),
        "duplicates": _duplicates(records["shard"]),
        "mlflow_url": MLFLOW_RUNS,
        "mlflow_port": MLFLOW_PORT,
    }


def _charts(root: Path, model: Mapping[str, Any]) -> list[Chart]:
    """The curves that the model's kind wants drawn."""
    kind = kind_named(model.get("kind", DEFAULT_KIND))
    return training_charts(root / MODEL / CURVES_FILE, kind.curves)


def _head(records: Mapping[str, dict[str, Any] | None], model: dict[str, Any]) -> dict[str, Any]:
    known = [record for record in records.values() if record]
    last = max(known, key=lambda record: record.get("started", ""), default={})
    clip = model.get("clip", {})
    return {
        "keywords": last.get("keywords", []),
        "commit": last.get("git", {}).get("commit"),
        "dirty": last.get("git", {}).get("dirty", False),
        "commits": len({record.get("git", {}).get("commit") for record in known}),
        "dataset": _dataset(records["annotations"]),
        "clip": clip,
        "mismatch": _mismatch(records),
        "params": _params(records),
    }


def _params(records: Mapping[str, dict[str, Any] | None]) -> str:
    """A params.yaml of the sections that the stages ran with, which today's may not be."""
    found: dict[str, dict[str, Any]] = {}
    for record in records.values():
        for name, section in (record or {}).get("params", {}).items():
            found.setdefault(name, {}).update(section)  # of some a stage lists single keys
    yaml, text = YAML(), StringIO()
    yaml.default_flow_style = None  # the innermost lists and mappings on a line of their own
    yaml.dump(found, text)
    return text.getvalue() if found else ""


def _dataset(record: dict[str, Any] | None) -> dict[str, str] | None:
    """Root and digest of the data set, as the annotations stage recorded its input."""
    inputs = (record or {}).get("inputs", {})
    name = (record or {}).get("params", {}).get("dataset", {}).get("root") or next(
        iter(inputs), None
    )
    return {"root": name, "digest": str(inputs.get(name, ""))} if name else None


def _mismatch(records: Mapping[str, dict[str, Any] | None]) -> bool:
    """Whether a stage ran with a CLIP that its user knew to be trained on other pictures."""
    sections = [(record or {}).get("params", {}).get("clip", {}) for record in records.values()]
    return any(section.get("allow_mismatch", False) for section in sections)


def _evaluation(root: Path, found: dict[str, Any] | None) -> dict[str, Any]:
    if found is None:
        parts = ("evaluation", "samples", "comparison", "verdicts", "gallery")
        return dict.fromkeys(parts)
    tables = FigureTables(found)
    of_prompts = [metric for metric in table.METRICS if metric.of == "prompts"]
    drawn = found["counts"].get("pictures") == "drawings"
    folder = root / PICTURES
    evaluation = {
        "arms": [label for _, label in COLUMNS],
        "rows": tables.rows(table.METRICS, [place for place, _ in COLUMNS]),
        "slices": [label for _, label in SLICES],
        "slice_rows": tables.rows(of_prompts, [arm for arm, _ in SLICES]),
        "has_held_out": bool(found["counts"].get("heldout_combinations", {}).get("prompts")),
        "notes": tables.notes,
        "counts": found["counts"],
        "of_model": tables.named(OF_MODEL),
        "denoising": _denoising(found),
        "controls": found.get("memorisation", {}).get("controls", {}),
        "decoded": found.get("memorisation", {}).get("decoded", {}),
        "judges": _by_judge(found["counts"].get("judges", {})),
    }
    return {
        "evaluation": evaluation,
        "samples": inlined(folder / "samples.png"),
        "comparison": inlined(folder / "bounds.png") if drawn else None,
        "verdicts": _verdicts(root / VERDICTS),
        "gallery": gallery_in(folder),
    }


def _verdicts(path: Path) -> dict[str, Any] | None:
    """Confusions and prompts; None where the file is not there."""
    if not path.is_file():
        return None
    verdicts = verdicts_of(read_verdicts(path))
    return {"confusions": confusions(verdicts), "prompts": prompt_lines(verdicts)}


def _sampling(found: dict[str, Any] | None) -> dict[str, Any] | None:
    """The candidates of guidance and steps, with the figures that all of them have."""
    if found is None:
        return None
    candidates = found["candidates"]
    shown = [name for name in SAMPLED if any(c.get(name) is not None for c in candidates)]
    return {**found, "names": {name: SAMPLED[name] for name in shown}}


def _denoising(found: dict[str, Any]) -> Chart | None:
    """Accuracies by the noise on true latents, in per cent; None where they were not measured."""
    levels = {
        int(name.split("_")[1]) / 100: shares for name, shares in found.get("denoising", {}).items()
    }
    series = {
        style: [(level, share[name]) for level, share in levels.items() if share[name] is not None]
        for style, name in DENOISED.items()
    }
    labels = {style: name for style, name in DENOISED.items() if series[style]}
    return line_chart("Seen of true latents by the noise on them", "higher", labels, series)


def _by_judge(judges: Mapping[str, str]) -> dict[str, list[str]]:
    """The labels of the metrics that each judge gave."""
    labels = {metric.name: metric.label for metric in table.METRICS}
    by_judge: dict[str, list[str]] = {}
    for name, judge in judges.items():
        by_judge.setdefault(judge, []).append(labels.get(name, name))
    return by_judge


def _stage(
    name: str, record: dict[str, Any] | None, failure: dict[str, Any] | None
) -> dict[str, Any]:
    """One line of the stage table; a failure that nothing has mended since comes first."""
    shown = failure or record or {}
    rows = shown.get("rows") or {}
    error = (failure or {}).get("error") or {}
    return {
        "name": name,
        "status": "failed" if failure else "done" if record else "not run yet",
        "message": error.get("message", ""),
        "rows": [rows.get(key) for key in ("in", "out", "failed")],
        "new": shown.get("new"),
        "reused": shown.get("reused"),
        "seconds": spent_s(shown) if "duration_s" in shown else None,
        "device": shown.get("device"),
        "started": str(shown.get("started", ""))[:16].replace("T", " "),
    }


def _keyword_counts(record: dict[str, Any] | None) -> list[dict[str, Any]]:
    counts: dict[str, int] = _details(record).get("keywords", {})
    most = max(counts.values(), default=0) or 1
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [{"word": w, "images": n, "percent": round(100 * n / most, 1)} for w, n in ordered]


def _failed_images(found: dict[str, Any] | None, record: dict[str, Any] | None) -> dict[str, Any]:
    counts: dict[str, int] = (found or {}).get("status", {})
    status = {name: number for name, number in counts.items() if name != "ok"}
    shown = list(_details(record).get("failures", {}).items())[:FAILURES_SHOWN]
    return {
        "known": found is not None,
        "status": status,
        "failures": shown,
        "left_out": sum(status.values()) - len(shown),
    }


def _details(record: dict[str, Any] | None) -> dict[str, Any]:
    details: dict[str, Any] = (record or {}).get("details", {})
    return details


def _duplicates(record: dict[str, Any] | None) -> str:
    """One sentence about files that stand under several ids; empty where none does."""
    counts = _details(record).get("duplicates") or {"files": 0}
    if not counts["files"]:
        return ""
    out = ", ".join(f"{number} of {split}" for split, number in counts["dropped"].items() if number)
    left_out = f"left out as copies of images in test or val: {out}" if out else "none left out"
    return (
        f"Files that stand under several image ids: {counts['files']}, "
        f"with {counts['images']} images; {left_out}."
    )


def _read(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file; None where there is none yet; DataError names a broken one."""
    text = _text(path)
    try:
        content: dict[str, Any] | None = json.loads(text) if text else None
    except ValueError as error:
        raise DataError(f"{path} is no JSON ({error}): run its stage again") from None
    return content


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""
