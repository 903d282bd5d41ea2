"""What a phase is trained with."""

import json

import pytest
import torch

from bucolic.base.errors import ParamsError
from bucolic.data.shards import Split
from bucolic.models.cvae.config import CvaeConfig, CvaeTrainConfig
from bucolic.models.kinds import kind_named
from bucolic.training.build import new_model, recipe_of, require_shareable
from bucolic.training.distributed import World


def test_a_key_of_the_phase_goes_before_the_common_one():
    """Budget and rate are each phase's own; the batch is where it is set."""
    config = CvaeTrainConfig(batch_size=16, prior_batch_size=64, prior_images=640, prior_lr=0.004)
    autoencoder, prior = recipe_of(config, "autoencoder"), recipe_of(config, "prior")
    assert (16, 64) == (autoencoder.batch_size, prior.batch_size)
    assert (640, 10, 0.004) == (prior.images, prior.steps, prior.lr)
    assert 24_000 == autoencoder.images
    common = config.model_copy(update={"prior_batch_size": None})
    assert 16 == recipe_of(common, "prior").batch_size


@pytest.mark.parametrize("rung", ["none", "mlp", "flow"])
def test_the_first_weights_are_those_of_the_seed_whatever_the_text_prior(
    splits: dict[str, Split], rung: str
):
    """Two runs that differ in the text prior alone begin with the same networks."""
    shapes = {"autoencoder": {"width": 16}, "prior": {"width": 32, "blocks": 2}}
    ridge, other = (
        new_model(
            kind_named("cvae"),
            CvaeConfig.model_validate_json(json.dumps(shapes | {"text_prior": name})),
            splits,
            seed=3,
        )[0]
        for name in ("ridge", rung)
    )
    for network in ("autoencoder", "prior"):
        weights = [getattr(model, network).state_dict() for model in (ridge, other)]
        assert all(torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items())


def test_a_batch_that_processes_cannot_share_is_refused_before_anything_is_trained():
    """Its phase is named; statistics of whole batches need one process."""
    config = CvaeTrainConfig(batch_size=16, prior_batch_size=9)
    prior = recipe_of(config, "prior")
    with pytest.raises(ParamsError, match="prior's batch of 9 rows cannot be shared among 2"):
        require_shareable(prior, "prior", World(0, 2), divisible=True)
    require_shareable(prior, "prior", World(0, 3), divisible=True)
    require_shareable(prior, "prior", World(), divisible=False)
    with pytest.raises(ParamsError, match="trained by one process, not by 3"):
        require_shareable(prior, "prior", World(0, 3), divisible=False)
