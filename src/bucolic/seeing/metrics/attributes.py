"""How many of the facts that prompts state are true of their pictures."""

from collections.abc import Mapping, Sequence

import numpy as np


def agreement(
    predicted: Mapping[str, Sequence[str]], stated: Sequence[Mapping[str, str]]
) -> dict[str, np.ndarray]:
    """Whether each stated attribute is what a classifier sees in the picture.

    Args:
        predicted: attribute to its value in each of n pictures.
        stated: what each of the n prompts says; attributes it leaves open are absent.

    Returns:
        Attribute to float64 [n]: 1 right, 0 wrong, NaN where the prompt leaves it open.
    """
    return {
        name: np.array(
            [
                float(says[name] == value) if name in says else np.nan
                for says, value in zip(stated, values, strict=True)
            ]
        )
        for name, values in predicted.items()
    }


def accuracies(agreements: Mapping[str, np.ndarray]) -> dict[str, float | None]:
    """Share of right values for each attribute; None where no prompt states it."""
    return {
        name: float(np.nanmean(values)) if np.isfinite(values).any() else None
        for name, values in agreements.items()
    }


def all_right(agreements: Mapping[str, np.ndarray]) -> np.ndarray:
    """Whether every stated attribute is right.

    Args:
        agreements: attribute to float64 [n], as `agreement` gives it.

    Returns:
        float64 [n]: 1 all right, 0 not, NaN where the prompt states nothing.
    """
    table = np.stack(list(agreements.values()), axis=1)
    states_something = np.isfinite(table).any(axis=1)
    right = np.all(table != 0.0, axis=1)
    return np.where(states_something, right.astype(np.float64), np.nan)
