import html.parser
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from ruamel.yaml import YAML

from bucolic.data.verdicts import write_verdicts
from bucolic.evaluation.table import ARMS, METRICS
from bucolic.pipeline.record import SCHEMA, pipeline_id
from bucolic.pipeline.table import NAMES
from bucolic.reporting.report_page import _params, render

DVC_YAML = Path(__file__).resolve().parents[3] / "dvc.yaml"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
VALUES = {
    "attributes_all_right": 0.612,
    "attribute_accuracy": 0.701,
    "r_precision": 0.644,
    "r_precision_own_clip": 0.655,
    "clip_similarity": 0.512,
    "psnr_db": 27.94,
    "ssim": 0.871,
    "sharpness_ratio": 0.52,
    "kid": 0.0123,
    "fid": 0.0456,
    "cmmd": 1.289,
    "density": 0.918,
    "coverage": 0.877,
}
CLIP = {
    "model": "meadow-clip",
    "weights_sha256": "fe" * 32,
    "precision": "fp32",
    "trained_on": "drawings",
}


class Outline(html.parser.HTMLParser):
    """Collects images, links, external references and visible text."""

    def __init__(self) -> None:
        super().__init__()
        self.images: list[dict[str, str | None]] = []
        self.references: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a tag points to."""
        found = dict(attrs)
        if tag == "img":
            self.images.append(found)
        self.references += [found[name] or "" for name in ("src", "href") if name in found]

    def handle_data(self, data: str) -> None:
        """Keep the text."""
        self.text += data


def write(path: Path, content: Any) -> None:
    """Write JSON, making folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def record(stage: str, **more: Any) -> dict[str, Any]:
    """A record as a stage leaves it."""
    return {
        "schema": SCHEMA,
        "stage": stage,
        "status": "ok",
        "started": "2027-01-02T03:04:05+00:00",
        "duration_s": 12.34,
        "rows": {"in": 1200, "out": 1199, "failed": 1},
        "new": 1000,
        "reused": 199,
        "device": "cpu",
        "params": {"clip": {"allow_mismatch": False}},
        "inputs": {},
        "git": {"commit": COMMIT, "dirty": False},
        "keywords": ["cow", "<script>alert(1)</script>"],
        **more,
    }


def evaluation(pictures: str = "drawings") -> dict[str, Any]:
    """A complete evaluate.json, with one figure that does not apply."""
    figures = {**VALUES, "attributes": {"species": 0.74, "count": 0.61, "colour": 0.75}}
    bounds = {arm.name: dict(figures) for arm in ARMS if arm.place.startswith("bounds.")}
    bounds["real"]["psnr_db"] = None
    return {
        "metrics": figures,
        "best_of": figures,
        "bounds": bounds,
        "memorisation": {"copied_share": 0.0042, "controls": {"half_copies": True}},
        "diversity": {"of_draws": 0.311, "ratio": None},
        "denoising": {
            f"noise_{level}_percent": {"species": 1 - level / 200, "count": 0.9, "colour": None}
            for level in (0, 40, 100)
        },
        "heldout_combinations": {**figures, "bounds": {"real": figures, "retrieval": figures}},
        "counts": {
            "prompts": 500,
            "test_images": 812,
            "draws": 4,
            "seed": 0,
            "judges": {"r_precision": "meadow-judge (feee)", "kid": "meadow-clip (fefe)"},
            "n": {"metrics.r_precision": 441},
            "pictures": pictures,
            "heldout_combinations": {"prompts": 240},
            "intervals": {"metrics.r_precision": [0.601, 0.685]},
        },
        "reasons": {
            "bounds.real.psnr_db": "some pictures equal their references",
            "diversity.ratio": "no prompt is met by two real test pictures",
        },
    }


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project in which every stage has run."""
    for stage in NAMES:
        write(tmp_path / f"reports/records/{stage}.json", record(stage))
    dataset = {
        "inputs": {"datasets/meadow": "5eed.dir"},
        "params": {"dataset": {"root": "datasets/meadow"}},
    }
    write(tmp_path / "reports/records/annotations.json", record("annotations", **dataset))
    chosen = record(
        "filter",
        params={"filter": {"keywords": ["cow", "no"], "match": "word"}},
        details={"keywords": {"cow": 900, "sheep": 450}},
    )
    write(tmp_path / "reports/records/filter.json", chosen)
    failed = record("images", details={"failures": {"77": "not_found: 404"}})
    write(tmp_path / "reports/records/images.json", failed)
    write(tmp_path / "reports/evaluate.json", evaluation())
    write(tmp_path / "reports/images.json", {"status": {"ok": 1199, "not_found": 1}})
    write(tmp_path / "reports/shard.json", {"train": {"images": 2848, "captions": 9000}})
    write(
        tmp_path / "models/current/config.json",
        {
            "clip": CLIP,
            "size_px": 64,
            "latent_prior": "flow",
            "text_prior": "ridge",
            "sampling": {"guidance": 4.0, "steps": 6},
            "training": {"precision": "fp32", "images_seen": {"autoencoder": 18000}},
            "data": {"train": "ab" * 32},
        },
    )
    rows = [
        {"phase": phase, "images_seen": 1000 * k, "train_loss": 5 / k, "val_loss": 6 / k}
        for phase in ("autoencoder", "prior")
        for k in range(1, 9)
    ]
    curves = "\n".join(json.dumps(row) for row in rows)
    (tmp_path / "models/current/curves.jsonl").write_text(curves + "\n")
    shutil.copy(DVC_YAML, tmp_path)
    (tmp_path / "params.yaml").write_text("filter:\n  keywords: [alpaca]\n")
    figures = tmp_path / "reports/figures"
    figures.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)
    for name in ("samples.png", "bounds.png"):
        Image.fromarray(noise).save(figures / name)
    return tmp_path


def outline(root: Path) -> Outline:
    """The rendered page, parsed."""
    parsed = Outline()
    parsed.feed(render(root).read_text())
    return parsed


def test_the_page_shows_every_figure_with_its_interval_and_its_reason(root: Path):
    """Values, an interval, a label a metric, and a note where there is no value."""
    text = outline(root).text
    for metric in METRICS:
        assert metric.label in text
        assert f"{VALUES[metric.name]:.{metric.decimals}f}" in text
    assert "0.601 to 0.685" in text
    assert "n 441" in text
    assert "R-precision: meadow-judge (feee); KID: meadow-clip (fefe)." in " ".join(text.split())
    assert "some pictures equal their references" in text
    assert "0.004" in text
    assert "half copies caught" in text
    assert "no prompt is met by two real test pictures" in text


def test_the_page_draws_what_noise_on_true_latents_costs(root: Path):
    """One line for each attribute that was measured, ending where it ends."""
    page = render(root).read_text()
    chart = page[page.index("Seen of true latents") :]
    assert "species end at 0.5; count end at 0.9" in chart[: chart.index("</figure>")]
    assert "colour" not in chart[: chart.index("</figure>")]


def verdict(prompt: int, draw: int, seen: str, **more: Any) -> dict[str, Any]:
    """A row of verdicts.parquet on a prompt that states a cow."""
    row = {
        "slice": "ordinary",
        "prompt": prompt,
        "draw": draw,
        "image_id": 7,
        "caption_id": 70,
        "text": f"a cow, number {prompt}",
        "stated": [("species", "cow")],
        "seen": [("species", seen), ("sky", "blue")],
        "all_right": seen == "cow",
        "r_precision": None,
        "r_precision_own_clip": None,
        "clip_similarity": 0.5,
    }
    return row | more


def test_the_page_tells_what_is_taken_for_what_and_which_prompts_fail(root: Path):
    """Confusions over all draws of ordinary prompts; the prompt that fails most comes first."""
    rows = [verdict(0, draw, "cow") for draw in range(2)]
    rows += [verdict(1, 0, "sheep"), verdict(1, 1, "cow")]
    rows += [verdict(0, 0, "alpaca", slice="heldout", text="held out")]
    write_verdicts(root / "reports/verdicts.parquet", rows, {})
    text = outline(root).text
    matrix = text[text.index("What is taken for what") : text.index("Prompt by prompt")]
    assert "".join(matrix.split()).endswith("Speciescowsheepcow31")
    lines = text[text.index("Prompt by prompt") :]
    assert lines.index("a cow, number 1") < lines.index("a cow, number 0")
    assert "1 of 2" in lines
    assert "sheep for cow (1)" in lines
    assert "held out" not in lines[: lines.index("Stages")]


def test_the_page_shows_how_guidance_and_steps_were_chosen(root: Path):
    """All candidates with their figures on val; what none of them has is left out."""
    candidate = {"guidance": 2.0, "steps": 4, "match": -1.25, "kid": None, "sharpness": 0.4}
    other = candidate | {"guidance": 3.0, "match": -1.5, "chosen": False, "intervals": {}}
    chosen = candidate | {"chosen": True, "intervals": {"match": [-1.31, -1.19]}}
    found = {"candidates": [chosen, other], "prompts": 128, "judge": "meadow-clip (fefe)"}
    write(root / "reports/sampling.json", found)
    text = outline(root).text
    section = text[text.index("How guidance and steps were chosen") : text.index("Theme")]
    assert "On 128 prompts" in section
    assert "-1.31" in section
    assert section.count("chosen") == 2  # the heading's, and the row's
    assert "KID" not in section


def test_the_head_names_what_made_it_and_how_to_make_it_again(root: Path):
    """Commit, digests, and two commands."""
    text = outline(root).text
    for part in (
        COMMIT,
        "datasets/meadow",
        "5eed.dir",
        "fe" * 32,
        f"git checkout {COMMIT}",
        "make demo",
    ):
        assert part in text


def test_the_params_are_those_that_the_stages_ran_with(root: Path):
    """params.yaml may have been edited since; the page ends with what made its figures."""
    text = outline(root).text
    shown = text[text.index("dataset: {") : text.index("match: word") + len("match: word")]
    assert YAML(typ="safe").load(shown) == {
        "dataset": {"root": "datasets/meadow"},
        "filter": {"keywords": ["cow", "no"], "match": "word"},
    }
    assert "alpaca" not in text


def test_figures_of_another_theme_are_left_out(root: Path):
    """Where a swap stopped half-way, the new keywords never stand over the old model's figures."""
    outputs = {"data/selection.parquet": "new"}
    theme = {"keywords": ["zebra"], "started": "2027-02-02T00:00:00+00:00"}
    write(root / "reports/records/filter.json", record("filter", **theme, outputs=outputs))
    inputs = {"data/selection.parquet": "old"}
    write(root / "reports/records/images.json", record("images", inputs=inputs))
    parsed = outline(root)
    assert "zebra" in parsed.text
    assert "figures and pictures of images, embed, shard, train, evaluate" in parsed.text
    assert f"{VALUES['r_precision']:.3f}" not in parsed.text
    assert [] == parsed.images


def test_what_another_bucolic_recorded_is_left_out_and_named(
    root: Path, caplog: pytest.LogCaptureFixture
):
    """Its stage and those below are of an earlier run, a line says what to do; so is a failure."""
    path = root / "reports/records/filter.json"
    write(path, record("filter", schema=1, details={"keywords": {"zebra": 9}}))
    failed = record("embed", schema=1, status="failed", error={"message": "no zebra"})
    write(root / ".work/failures/embed.json", {**failed, "pipeline_id": pipeline_id(root)})
    text = outline(root).text
    assert "zebra" not in text
    assert "figures and pictures of filter, images, embed, shard, train, evaluate" in text
    said = "filter ran with another version of bucolic, which is left out: dvc repro -f -s filter"
    assert [f"{path.parent}: {said}"] == caplog.messages


def test_the_page_needs_no_network(root: Path):
    """Everything is inlined; the only links lead to notes on the page and to the local MLflow."""
    parsed = outline(root)
    assert parsed.references
    for reference in parsed.references:
        assert reference.startswith(("data:image/png;base64,", "#note-", "http://127.0.0.1:5001"))
    assert len(parsed.images) == 2
    assert all(image["alt"] for image in parsed.images)


def test_what_users_write_is_text_not_markup(root: Path):
    """A keyword with markup in it is shown, not run."""
    page = render(root).read_text()
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_real_photographs_are_not_inlined(root: Path):
    """Of photographs only what the model drew is on the page."""
    write(root / "reports/evaluate.json", evaluation("photographs"))
    parsed = outline(root)
    assert len(parsed.images) == 1
    assert "that the model drew" in (parsed.images[0]["alt"] or "")


def test_the_gallery_is_shown_where_it_was_drawn(root: Path):
    """Each sheet has what it shows below it; a sheet that is not there leaves nothing."""
    figures = root / "reports/figures"
    assert "Variations" not in outline(root).text
    shutil.copy(figures / "samples.png", figures / "variations.png")
    shutil.copy(figures / "samples.png", figures / "guidance.png")

    parsed = outline(root)

    assert len(parsed.images) == 4
    assert "Variations. What CLIP sees of a test picture" in parsed.text
    assert "Guidance. The same prompt and noise" in parsed.text
    assert "Interpolations" not in parsed.text


def test_the_model_card_says_what_the_model_is_and_what_it_is_worth(root: Path):
    """Data, budgets, CLIP, sampling and headline figures with intervals, as Markdown."""
    candidate = {"guidance": 4.0, "steps": 6, "match": -1.0, "chosen": True, "intervals": {}}
    found = {"candidates": [candidate] * 2, "prompts": 128, "judge": "meadow-clip (fefe)"}
    write(root / "reports/sampling.json", found)
    render(root)
    card = " ".join((root / "reports/model_card.md").read_text().split())

    for part in (
        "# bucolic: cow, &lt;script&gt;",
        f"at commit {COMMIT}.",
        "2848 pictures of datasets/meadow",
        "digest of the split abababababab",
        "autoencoder 18000, in fp32",
        "meadow-clip, weights fefefefefefe",
        "guidance 4.0, 6 steps, chosen on val",
        "latent prior flow, text prior ridge",
        "500 prompts of held-out test pictures, 4 pictures each",
        "| R-precision | higher is better | 0.644 (0.601 to 0.685) | 0.644 | 0.644 |",
        "AI-generated",
    ):
        assert part in card
    assert "belong to their authors" not in card


def test_the_card_names_losses_that_no_likelihood_asks_for(root: Path):
    """Where a weight turns one on it is a CVAE with auxiliary loss, and else nothing is said."""
    render(root)
    card = root / "reports/model_card.md"
    assert "auxiliary" not in card.read_text()
    path = root / "models/current/config.json"
    content = json.loads(path.read_text())
    content["training"]["auxiliary"] = {"detail_weight": 8.0, "alignment_weight": 2.0}
    write(path, content)
    render(root)
    said = "CVAE with auxiliary loss: beside the likelihood, the squared error of fine detail and "
    assert said + "the angle between the prior's features and CLIP's |" in card.read_text()


def test_the_page_hides_no_interval_and_says_what_copies_would_be_seen(root: Path):
    """Those of single attributes as those of others; copies as they are, and as decoded."""
    path = root / "reports/evaluate.json"
    content = json.loads(path.read_text())
    content["memorisation"]["decoded"] = {"half_copies": True, "tenth_copies": False}
    content["counts"]["intervals"]["metrics.attributes.species"] = [0.701, 0.777]
    write(path, content)
    page = outline(root)
    assert "0.701 to 0.777" in page.text
    assert "display: none" not in (root / "reports/report.html").read_text()
    assert "half copies caught; tenth copies not caught." in " ".join(page.text.split())


def test_a_model_that_is_not_judged_has_a_card_and_one_that_is_gone_has_none(root: Path):
    """Nothing is said of whose its pictures are before that is known; a card does not outlive."""
    (root / "reports/evaluate.json").unlink()
    render(root)
    card = root / "reports/model_card.md"
    assert "Not judged yet." in card.read_text()
    assert "belong to their authors" not in card.read_text()
    assert "chosen on val" not in card.read_text()
    inputs = {"data/selection.parquet": "old"}
    outputs = {"data/selection.parquet": "new"}
    write(root / "reports/records/filter.json", record("filter", outputs=outputs))
    write(root / "reports/records/images.json", record("images", inputs=inputs))
    render(root)
    assert not card.exists()


def test_the_card_of_photographs_names_their_authors_rights(root: Path):
    """And one of a CLIP of other pictures says what figures by it mean."""
    write(root / "reports/evaluate.json", evaluation("photographs"))
    mismatched = record("evaluate", params={"clip": {"allow_mismatch": True}})
    write(root / "reports/records/evaluate.json", mismatched)
    render(root)
    card = (root / "reports/model_card.md").read_text()

    assert "belong to their authors" in card
    assert "figures by it mean little" in card


def test_a_mismatched_clip_is_said_plainly(root: Path):
    """clip.allow_mismatch puts a warning on the page, and nothing else does."""
    warning = "Scores on photographs mean little here"
    assert warning not in outline(root).text
    mismatched = record("evaluate", params={"clip": {"allow_mismatch": True}})
    write(root / "reports/records/evaluate.json", mismatched)
    assert warning in outline(root).text


def test_stages_that_have_not_run_are_named_as_such(tmp_path: Path):
    """A project without a single run has a page too."""
    shutil.copy(DVC_YAML, tmp_path)
    text = outline(tmp_path).text
    assert text.count("not run yet") >= len(NAMES)
    assert "The evaluate stage has not run yet" in text
    assert "No curves yet" in text


def test_a_failed_stage_is_shown_with_its_message(root: Path):
    """The failure of the last attempt is on the page, unless it was with other params."""
    error = {"message": "training diverged: lower the rate"}
    failed = record("train", status="failed", error=error)
    left = (root / "reports/records/train.json").read_text()
    (root / "reports/records/train.json").unlink()  # as DVC does before it runs the stage
    write(root / ".work/failures/train.json", {**failed, "pipeline_id": pipeline_id(root)})
    text = outline(root).text
    assert "train failed:" in text
    assert "training diverged: lower the rate" in text
    write(root / ".work/failures/train.json", {**failed, "pipeline_id": "of another run"})
    assert "train failed:" not in outline(root).text

    write(root / ".work/failures/train.json", {**failed, "pipeline_id": pipeline_id(root)})
    (root / "reports/records/train.json").write_text(left)  # DVC has put the result back
    assert "train failed:" not in outline(root).text


def test_the_params_of_a_run_that_stopped_midway_are_whole(root: Path):
    """A stage that lists one key of a section does not hide what another ran with."""
    whole = {"size_px": 64, "crop": "centre", "format": "png"}
    records = {"images": record("images", params={"shard": whole})}
    records["embed"] = record("embed", params={"shard": {"crop": "centre"}})
    assert whole == YAML(typ="safe").load(_params(records))["shard"]


def test_failed_images_and_keywords_are_listed(root: Path):
    """Reasons of failed images, and images for each keyword."""
    text = outline(root).text
    assert "not_found: 404" in text
    assert "900" in text
    assert "450" in text


@pytest.mark.parametrize(
    ("dropped", "left_out"),
    [
        ((2, 1), "left out as copies of images in test or val: 2 of train, 1 of val."),
        ((0, 0), "none left out."),
    ],
)
def test_files_under_several_ids_are_counted(root: Path, dropped: tuple[int, int], left_out: str):
    """How many there are, and what became of them, in one sentence."""
    counts = {"files": 3, "images": 8, "dropped": dict(zip(("train", "val"), dropped, strict=True))}
    counted = record("shard", details={"duplicates": counts})
    write(root / "reports/records/shard.json", counted)
    said = "Files that stand under several image ids: 3, with 8 images; "
    assert f"{said}{left_out} Which they are is in data/shards/rows.parquet." in outline(root).text


@pytest.mark.parametrize("files", [0, None])
def test_without_copies_nothing_is_said_of_them(root: Path, files: int | None):
    """None was found, or none was looked for."""
    details = {} if files is None else {"duplicates": {"files": files}}
    write(root / "reports/records/shard.json", record("shard", details=details))
    assert "several image ids" not in outline(root).text


def test_uncommitted_changes_are_said(root: Path):
    """A dirty tree cannot be made again from its commit."""
    git = {"commit": COMMIT, "dirty": True}
    newest = record("train", started="2027-02-01T00:00:00+00:00", git=git)
    write(root / "reports/records/train.json", newest)
    assert "uncommitted changes" in outline(root).text
