"""How many rows the networks see at once."""

import pytest
import torch
from torch import Tensor

from bucolic.models import model
from toy_kind import ToyConfig, ToyModel


@pytest.mark.parametrize("rows", [16, 5])
def test_networks_see_as_many_rows_at_once_as_suit_their_device(
    monkeypatch: pytest.MonkeyPatch, rows: int
):
    """Every batch has that many, the last one padded; what comes out has the rows that went in."""
    if rows != model.FEW_ROWS:
        monkeypatch.setattr(model, "ROWS_PER_BATCH", {"cpu": rows})
    seen = []

    def double(batch: Tensor) -> Tensor:
        seen.append(len(batch))
        return 2 * batch

    toy = ToyModel(ToyConfig(), size_px=4, embed_dim=3)
    inputs = torch.arange(20.0)[:, None]
    found = toy.in_batches(double, inputs)
    assert torch.equal(found, 2 * inputs)
    assert seen == [rows] * -(-20 // rows)
