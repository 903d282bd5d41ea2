import dataclasses
import math

import numpy as np
import pytest

from bucolic.evaluation.document import document
from bucolic.evaluation.study import (
    Findings,
    Study,
    on_held_out_combinations,
    on_ordinary_prompts,
)
from bucolic.evaluation.table import ARMS, names


@pytest.fixture(scope="module")
def ordinary(study: Study) -> Findings:
    """The perfect artist on ordinary prompts."""
    return on_ordinary_prompts(study)


@pytest.fixture(scope="module")
def held_out(study: Study) -> Findings:
    """The perfect artist on held-out combinations."""
    return on_held_out_combinations(study)


def value(findings: Findings, name: str) -> float:
    """The value of a figure that must have one."""
    found = findings.figures[name].value
    assert found is not None, findings.figures[name].reason
    return found


def test_a_perfect_artist_gets_everything_right(ordinary: Findings):
    """Every stated attribute and every caption is met."""
    for name in ("attribute_accuracy", "attributes_all_right", "r_precision"):
        assert value(ordinary, f"metrics.{name}") == 1.0
    assert value(ordinary, "metrics.attributes.ground") == 1.0


def test_real_images_reach_the_ceiling(ordinary: Findings):
    """The real bound is 1 where the judges see everything."""
    for name in ("attribute_accuracy", "attributes_all_right", "r_precision", "sharpness_ratio"):
        assert value(ordinary, f"bounds.real.{name}") == 1.0


def test_shuffled_prompts_are_all_contradicted(ordinary: Findings):
    """Each picture is judged on a prompt that it contradicts.

    A few are right all the same: where the other prompt says that there are no animals, which is
    not judged, and the rest fits.
    """
    assert ordinary.counts["shuffled_prompts"] == 250
    assert value(ordinary, "bounds.shuffled_prompts.attributes_all_right") < 0.1
    assert value(ordinary, "bounds.shuffled_prompts.r_precision") < 0.05
    reason = ordinary.figures["bounds.shuffled_prompts.kid"].reason
    assert reason is not None
    assert "model's own pictures" in reason


def test_the_mean_image_is_right_by_luck_alone(ordinary: Findings):
    """One picture for all prompts: far below real, and far less sharp."""
    assert value(ordinary, "bounds.mean_image.attributes_all_right") < 0.4
    assert value(ordinary, "bounds.mean_image.r_precision") < 0.1
    assert value(ordinary, "bounds.mean_image.sharpness_ratio") < 0.2
    assert value(ordinary, "bounds.mean_image.kid") > value(ordinary, "bounds.real.kid") + 0.1


def test_retrieval_meets_partial_captions(ordinary: Findings):
    """Some training scene has the two facts that a caption states."""
    assert value(ordinary, "bounds.retrieval.attributes_all_right") > 0.95


def test_a_constant_error_of_two_grey_levels_is_reported_as_such(ordinary: Findings):
    """Reconstructions 2 levels off are 42.11 dB, in the metrics and in their bound."""
    for name in ("metrics", "bounds.decode_from_posterior"):
        assert value(ordinary, f"{name}.psnr_db") == pytest.approx(42.1102, abs=1e-3)
    assert value(ordinary, "metrics.ssim") > 0.99
    assert ordinary.figures["bounds.real.psnr_db"].value is None


def test_every_bound_has_the_keys_of_the_metrics(ordinary: Findings):
    """Each arm gives a figure or a reason under every name."""
    for arm in ARMS:
        assert {f"{arm.place}.{name}" for name in names()} <= set(ordinary.figures)


def test_an_artist_that_ignores_its_prompts_is_found_out(study: Study, blind_artist: object):
    """One picture whatever the prompt: near chance, where a perfect artist gets 1."""
    findings = on_ordinary_prompts(dataclasses.replace(study, artist=blind_artist))
    assert value(findings, "metrics.r_precision") < 0.15
    assert value(findings, "metrics.attribute_accuracy") < 0.6


def test_held_out_combinations_cannot_be_retrieved(held_out: Findings):
    """The prompts state the whole triple, which no training image shows."""
    assert held_out.counts["prompts"] == 210
    assert value(held_out, "heldout_combinations.attributes_all_right") == 1.0
    assert value(held_out, "heldout_combinations.bounds.real.attributes_all_right") == 1.0
    assert value(held_out, "heldout_combinations.bounds.retrieval.attributes_all_right") == 0.0


def test_without_attributes_and_with_few_images_everything_ends_well(study: Study):
    """Photographs: what does not apply is null with its reason, and nothing is NaN."""
    rows = np.arange(8)
    few = study.test.caption_rows < 8
    small = dataclasses.replace(
        study.test,
        image_ids=study.test.image_ids[rows],
        images=study.test.images[rows],
        image_vectors=study.test.image_vectors[rows],
        caption_ids=study.test.caption_ids[few],
        caption_rows=study.test.caption_rows[few],
        captions=study.test.captions[: int(few.sum())],
        caption_vectors=study.test.caption_vectors[few],
    )
    jury = dataclasses.replace(study.jury, probe=None)
    photographs = dataclasses.replace(study, test=small, attributes=None, jury=jury)
    ordinary, held_out = on_ordinary_prompts(photographs), on_held_out_combinations(photographs)
    content = document(ordinary, held_out, jury, {"test_images": 8})
    metrics = content["metrics"]
    for name in ("attribute_accuracy", "attributes_all_right", "r_precision", "kid"):
        assert metrics[name] is None
        assert len(content["reasons"][f"metrics.{name}"]) > 20
    for name in ("clip_similarity", "psnr_db", "ssim", "sharpness_ratio"):
        assert math.isfinite(metrics[name])
    assert content["heldout_combinations"]["attributes_all_right"] is None
    assert content["counts"]["pictures"] == "photographs"


def test_the_document_is_the_same_twice(study: Study, ordinary: Findings, held_out: Findings):
    """Same inputs, same figures; and the counts name judge, prompts and intervals."""
    again = document(on_ordinary_prompts(study), on_held_out_combinations(study), study.jury, {})
    first = document(ordinary, held_out, study.jury, {})
    assert again == first
    assert set(first) == {
        "metrics",
        "best_of",
        "heldout_combinations",
        "bounds",
        "memorisation",
        "diversity",
        "condition_use",
        "likelihood",
        "denoising",
        "counts",
        "reasons",
    }
    assert set(first["bounds"]) == {
        "real",
        "decode_from_posterior",
        "retrieval",
        "shuffled_prompts",
        "mean_image",
    }
    assert "world (0123456789ab)" in first["counts"]["judges"]["kid"]
    low, high = first["counts"]["intervals"]["metrics.r_precision"]
    assert 0.98 < low < high == 1.0
