"""Which weights a config means."""

from bucolic.clip import meadow_clip
from bucolic.clip.config import ClipConfig
from bucolic.clip.towers import weights_of


def test_meadow_clip_always_means_its_own_weights():
    """A tag left over from another model does not stand in the way of the shipped weights."""
    config = ClipConfig(model="meadow-clip", pretrained="laion2b_s34b_b79k")
    assert str(meadow_clip.WEIGHTS) == weights_of(config)
    assert "some_tag" == weights_of(ClipConfig(model="ViT-B-32", pretrained="some_tag"))
