import pytest
import torch

from bucolic.training.draws import drawing_device, generator, rows_at


def test_each_pass_visits_every_row_once_in_an_order_of_its_own():
    """Two passes over 10 rows hold each row twice, shuffled differently."""
    first, second = rows_at(0, "prior", rows=10, start=0, count=20).split(10)

    assert first.sort().values.tolist() == second.sort().values.tolist() == list(range(10))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("count", [3, 7, 64])
def test_the_stream_does_not_depend_on_how_it_is_cut(count: int):
    """Batches of any size, larger than the split included, are cuts of the same stream."""
    whole = rows_at(0, "prior", rows=10, start=0, count=192)

    pieces = [
        rows_at(0, "prior", rows=10, start=start, count=count)
        for start in range(0, 192 - count + 1, count)
    ]

    assert torch.equal(whole[: len(pieces) * count], torch.cat(pieces))


def test_purposes_and_seeds_draw_apart():
    """Another seed or purpose draws other numbers; the same place draws the same ones."""
    places = [(0, "a", 1), (0, "a", 2), (0, "b", 1), (1, "a", 1)]

    draws = [torch.rand(4, generator=generator(*place)) for place in places]

    assert len({tuple(draw.tolist()) for draw in draws}) == 4
    assert torch.equal(draws[0], torch.rand(4, generator=generator(0, "a", 1)))


@pytest.mark.parametrize(
    ("device", "drawn_on"),
    [("cpu", "cpu"), ("mps", "cpu"), ("cuda", "cuda"), ("cuda:1", "cuda:1")],
)
def test_noise_is_drawn_where_it_is_used_on_cuda_alone(device: str, drawn_on: str):
    """A GPU draws its own, so that no step waits for the CPU's; all others use the CPU's."""
    assert drawing_device(device) == drawn_on
