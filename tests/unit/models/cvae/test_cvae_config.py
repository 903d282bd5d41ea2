import pytest
from pydantic import ValidationError

from bucolic.models.cvae.config import AutoencoderConfig, CvaeConfig, PriorConfig


def test_a_shape_is_read_as_part_of_a_section():
    """A shape given in part keeps the defaults of the rest."""
    config = CvaeConfig.model_validate_json('{"prior": {"width": 64}}')

    assert config.prior == PriorConfig(width=64)
    assert config.autoencoder == AutoencoderConfig()


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ('{"autoencoder": {"widht": 48}}', "widht"),
        ('{"autoencoder": {"width": "abc"}}', "width"),
        ('{"autoencoder": {"width": 0}}', "width must be at least 1, not 0"),
        ('{"prior": {"width": 100}}', "multiple of 32"),
    ],
)
def test_an_unfit_shape_is_refused(text: str, part: str):
    """A misspelt key, another type, or a width that cannot be built is named."""
    with pytest.raises(ValidationError, match=part):
        CvaeConfig.model_validate_json(text)
