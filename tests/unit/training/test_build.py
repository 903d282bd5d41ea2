"""What a phase is trained with."""

from bucolic.models.cvae.config import CvaeTrainConfig
from bucolic.training.build import recipe_of


def test_a_key_of_the_phase_goes_before_the_common_one():
    """Budget and rate are each phase's own; the batch is where it is set."""
    config = CvaeTrainConfig(batch_size=16, prior_batch_size=64, prior_images=640, prior_lr=0.004)
    autoencoder, prior = recipe_of(config, "autoencoder"), recipe_of(config, "prior")
    assert (16, 64) == (autoencoder.batch_size, prior.batch_size)
    assert (640, 10, 0.004) == (prior.images, prior.steps, prior.lr)
    assert 24_000 == autoencoder.images
    common = config.model_copy(update={"prior_batch_size": None})
    assert 16 == recipe_of(common, "prior").batch_size
