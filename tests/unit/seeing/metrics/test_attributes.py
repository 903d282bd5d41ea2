import numpy as np
import pytest

from bucolic.seeing.metrics.attributes import accuracies, agreement, all_right

SEEN = {"species": ["cow", "cow", "sheep", "none"], "sky": ["blue", "grey", "blue", "blue"]}
STATED = [
    {"species": "cow", "sky": "blue"},
    {"species": "sheep", "sky": "grey"},
    {},
    {"sky": "blue"},
]


def test_only_stated_attributes_are_judged():
    """An attribute that a prompt leaves open is neither right nor wrong."""
    agreements = agreement(SEEN, STATED)
    assert agreements["species"][:2].tolist() == [1.0, 0.0]
    assert np.isnan(agreements["species"][2:]).all()
    assert accuracies(agreements) == {"species": 0.5, "sky": 1.0}


def test_all_right_counts_prompts_that_state_something():
    """One wrong attribute spoils a prompt; a prompt without any is neither."""
    found = all_right(agreement(SEEN, STATED))
    assert found[[0, 1, 3]].tolist() == [1.0, 0.0, 1.0]
    assert np.isnan(found[2])


def test_an_attribute_nobody_states_has_no_accuracy():
    """None, not NaN."""
    agreements = agreement(SEEN, [{}, {}, {}, {}])
    assert accuracies(agreements) == {"species": None, "sky": None}
    assert np.isnan(all_right(agreements)).all()


def test_every_picture_needs_its_prompt():
    """Unequal numbers are an error of the caller."""
    with pytest.raises(ValueError, match="shorter"):
        agreement({"sky": ["blue"]}, [{}, {}])
