import numpy as np
import pytest

from bucolic.training.guidance import (
    Sampling,
    Verdict,
    choose_sampling,
    first_within_error,
    match_scores,
)


def test_the_weakest_guidance_as_good_as_the_best_is_taken():
    """Guidance 2 is as good as 3 within the error, 1 is not; then 8 steps do as well as 16."""
    noise = np.random.default_rng(0).normal(size=200)
    means = {1.0: 0.0, 2.0: 1.0, 3.0: 1.001}
    asked: list[Sampling] = []

    def judge(sampling: Sampling) -> Verdict:
        asked.append(sampling)
        own = 0.1 * (-1.0) ** np.arange(200) * (sampling.guidance == 3)
        scores = means[sampling.guidance] - (sampling.steps < 8) + noise + own
        return Verdict(scores, {"steps": sampling.steps}, {})

    choice = choose_sampling(judge, guidances=(3.0, 1.0, 2.0), steps=(16, 4, 8))

    assert choice.sampling == Sampling(2.0, 8)
    assert list(choice.verdicts) == asked
    assert choice.verdicts[choice.sampling].figures == {"steps": 8}
    assert len(asked) == len(set(asked)) == 5
    assert {sampling.steps for sampling in asked[:3]} == {16}


def test_the_error_is_that_of_paired_differences():
    """A small but steady loss counts, however much the prompts differ among themselves."""
    spread = np.linspace(-100, 100, 50)

    assert first_within_error([spread, spread + 0.1]) == 1
    assert first_within_error([spread, spread]) == 0


@pytest.mark.parametrize("count", [1, 2])
def test_very_few_prompts_still_give_a_choice(count: int):
    """One prompt has no error: the best is taken."""
    assert first_within_error([np.zeros(count), np.ones(count)]) == 1


def test_a_picture_that_matches_its_prompt_scores_near_zero():
    """Own prompts score log 1 where CLIP is sure, and log(1/n) where it cannot tell."""
    vectors = np.eye(4, dtype=np.float32)
    same = np.ones((4, 4), np.float32)

    assert match_scores(5 * vectors, vectors, scale=100).tolist() == pytest.approx([0] * 4)
    assert match_scores(same, same, scale=100).tolist() == pytest.approx([np.log(0.25)] * 4)
    assert match_scores(np.roll(vectors, 1, axis=0), vectors, scale=100).max() < -90
