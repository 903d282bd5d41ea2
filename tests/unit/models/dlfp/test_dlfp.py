"""The original study's model, as its code states it."""

import math
from typing import Any

import pytest
import torch
from torch.nn import functional

from bucolic.base.errors import ParamsError
from bucolic.models.conditioning import Pairs
from bucolic.models.dlfp.config import DlfpTrainConfig
from bucolic.models.dlfp.model import Dlfp
from bucolic.models.dlfp.networks import Down, Up
from bucolic.models.dlfp.objective import StudyObjective, ssim
from bucolic.models.phases import END, Batch, TrainingData
from bucolic.training.build import recipe_of

E = 512


def convolutions(*shapes: tuple[int, int, int]) -> int:
    """Weights, biases, and scale and shift of BatchNorm behind each (into, out, kernel)."""
    return sum(into * out * kernel**2 + 3 * out for into, out, kernel in shapes)


def dense(into: int, out: int) -> int:
    """Weights and biases."""
    return (into + 1) * out


@pytest.mark.parametrize(("size_px", "parameters"), [(64, 19_882_979), (128, 32_465_891)])
def test_the_number_of_parameters_is_the_studys(size_px: int, parameters: int):
    """Layer by layer from its write-up, for CLIP's 512 values."""
    flat = 128 * (size_px // 16) ** 2
    encoder = (
        convolutions((3, 256, 3), (256, 256, 5), (256, 128, 3), (128, 128, 3))
        + dense(flat + E, 2048)
        + dense(2048, 2048)
        + dense(2048, 1024) + 2 * 1024
        + 2 * dense(1024, 128)
    )  # fmt: skip
    decoder = (
        dense(E, 32)
        + dense(128 + 32, 16384) + 2 * 16384
        + convolutions((256, 256, 3), (256, 256, 5), (256, 128, 5), (128, 128, 3), (128, 32, 5))
        + 32 * 3 * 25 + 3
    )  # fmt: skip
    model = Dlfp(0.0, size_px=size_px, embed_dim=E)
    assert encoder + decoder == parameters
    assert sum(p.numel() for p in model.autoencoder.parameters()) == parameters


def test_strides_pad_and_cut_as_keras_does():
    """A same convolution of stride 2 puts the odd row behind, a transposed one cuts it there."""
    for kernel in (3, 5):
        down = Down(1, 1, kernel)
        torch.nn.init.zeros_(down.convolution.weight)
        down.convolution.weight.data[0, 0, 0, 0] = 1.0  # reads the corner that padding reaches
        torch.nn.init.zeros_(down.convolution.bias)
        down.eval()
        picture = torch.arange(1.0, 65).view(1, 1, 8, 8)
        before = (kernel - 2) // 2
        expected = functional.pad(picture, (before, 0, before, 0))[:, :, ::2, ::2][:, :, :4, :4]
        torch.testing.assert_close(down(picture), expected / math.sqrt(1 + 1e-3))
    for kernel, stride in ((3, 2), (5, 2), (3, 1), (5, 1)):
        up = Up(1, 1, kernel, stride)
        torch.nn.init.ones_(up.convolution.weight)
        torch.nn.init.zeros_(up.convolution.bias)
        up.eval()
        shown = up(torch.ones(1, 1, 4, 4))[0, 0] * math.sqrt(1 + 1e-3)
        line = torch.zeros(4 * stride + kernel - stride)
        for at in range(4):
            line[at * stride : at * stride + kernel] += 1
        before = (kernel - stride) // 2
        kept = line[before : before + 4 * stride]
        torch.testing.assert_close(shown, torch.outer(kept, kept))


def test_weights_are_drawn_as_keras_draws_them():
    """He-normal by the inputs, cut at two standard deviations; Glorot-uniform for the dense-32."""
    torch.manual_seed(0)
    network = Dlfp(0.0, size_px=64, embed_dim=E).autoencoder
    weight = network.encoder.dense[2].weight
    std = math.sqrt(2 / 2048)
    assert weight.std().item() == pytest.approx(std, rel=0.01)
    assert weight.abs().max().item() <= 2 * std / 0.8796 + 1e-6
    bound = math.sqrt(6 / (E + 32))
    assert network.decoder.condition.weight.abs().max().item() == pytest.approx(bound, rel=0.01)
    assert all(not p.any() for name, p in network.named_parameters() if "convolution.bias" in name)


def batch(rows: int, embed_dim: int) -> Batch:
    """A batch of the first rows, each conditioned on noise."""
    draw = torch.Generator().manual_seed(0)
    no = torch.zeros(rows, dtype=torch.bool)
    conditions = torch.randn(rows, embed_dim, generator=draw)
    noise = torch.randn(rows, 256, generator=draw)
    return Batch(torch.arange(rows), no, conditions, no, noise, torch.rand(rows, generator=draw))


def of_noise(rows: int) -> TrainingData:
    """Pictures of noise."""
    draw = torch.Generator().manual_seed(1)
    pictures = torch.randint(0, 256, (rows, 3, 64, 64), dtype=torch.uint8, generator=draw)
    return TrainingData(pictures, torch.zeros(rows, 2), torch.zeros(0, 2), torch.zeros(rows + 1))


def test_the_loss_is_keras_cross_entropy_with_half_the_kl_and_a_tenth_of_dissimilarity():
    """Written out pixel by pixel: entropy averaged over channels and summed, all over the rows."""
    torch.manual_seed(0)
    network = Dlfp(0.0, size_px=64, embed_dim=12).autoencoder.eval()
    data, chosen = of_noise(3), batch(3, 12)
    with torch.no_grad():
        loss, values = StudyObjective(network, data)(chosen, END)
        pictures = data.pictures / 255
        logits, mean, log_variance = network(pictures, chosen.conditions, chosen.noise)
    shown = logits.sigmoid().double().clamp(1e-12, 1 - 1e-12)
    entropy = -(pictures * shown.log() + (1 - pictures) * (1 - shown).log()).mean(1).sum()
    kl = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum()
    expected = (entropy + 0.5 * kl + 0.1 * (1 - ssim(shown.float(), pictures).mean())) / 3
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)
    assert float(values["kl_nats"]) == pytest.approx(float(kl) / 3, rel=1e-5)


def test_likeness_is_the_mean_over_windows_that_fit():
    """Equal pictures have 1; others what a loop over windows of 11 px finds, weight by weight."""
    draw = torch.Generator().manual_seed(0)
    picture = torch.rand(1, 1, 14, 14, generator=draw)
    other = (picture + 0.2 * torch.randn(1, 1, 14, 14, generator=draw)).clamp(0, 1)
    line = torch.exp(-((torch.arange(11.0) - 5) ** 2) / (2 * 1.5**2))
    weights = torch.outer(line, line) / line.sum() ** 2
    found = []
    for top in range(4):
        for left in range(4):
            x, y = (p[0, 0, top : top + 11, left : left + 11] for p in (picture, other))
            mx, my = (weights * x).sum(), (weights * y).sum()
            vx, vy = (weights * (x - mx) ** 2).sum(), (weights * (y - my) ** 2).sum()
            cov = (weights * (x - mx) * (y - my)).sum()
            luminance = (2 * mx * my + 0.01**2) / (mx**2 + my**2 + 0.01**2)
            found.append(luminance * (2 * cov + 0.03**2) / (vx + vy + 0.03**2))
    assert float(ssim(picture, picture)) == pytest.approx(1.0, abs=1e-6)
    assert float(ssim(picture, other)) == pytest.approx(float(torch.stack(found).mean()), abs=1e-5)


def test_embeddings_enter_raw():
    """Neither scaled nor centred, whatever the train split's mean."""
    model = Dlfp(0.0, size_px=64, embed_dim=4)
    pairs = Pairs(5 + torch.rand(3, 4), torch.rand(6, 4), torch.arange(6) // 2)
    cosine = model.conditioning.fit(pairs, pairs)
    expected = functional.cosine_similarity(pairs.texts, pairs.images[pairs.rows]).mean()
    assert cosine == pytest.approx(float(expected))
    vectors = torch.rand(2, 4)
    assert torch.equal(model.conditioning.of_images(vectors), vectors)
    assert torch.equal(model.conditioning.of_texts(vectors), vectors)


def test_pictures_come_from_the_prompt_and_standard_normal_noise():
    """A seed and a condition give the same picture; guidance and steps change nothing."""
    torch.manual_seed(0)
    model = Dlfp(0.3, size_px=64, embed_dim=12).eval()
    torch.nn.init.normal_(model.autoencoder.decoder.layers[-1].weight, std=0.5)
    conditions = torch.randn(3, 12)
    first = model.draw(conditions, [1, 2, 3], guidance=1.0, steps=1)
    assert (first.shape, first.dtype) == ((3, 3, 64, 64), torch.uint8)
    assert torch.equal(first, model.draw(conditions, [1, 2, 3], guidance=5.0, steps=9))
    assert not torch.equal(first, model.draw(conditions, [1, 2, 4], guidance=1.0, steps=1))
    assert not torch.equal(first[0], model.draw(conditions[1:2], [1], guidance=1.0, steps=1)[0])


def test_dropout_is_on_the_latent_in_training_alone_and_follows_from_the_batch():
    """Of many values 0.3 are zeroed and the others scaled up, the same ones for the same noise."""
    network = Dlfp(0.3, size_px=64, embed_dim=12).autoencoder
    latent, noise = torch.ones(1000, 128), torch.randn(1000, 128)
    passed = network.train().dropped(latent, noise)
    assert (passed == 0).float().mean().item() == pytest.approx(0.3, abs=0.01)
    assert passed.max().item() == pytest.approx(1 / 0.7)
    torch.manual_seed(1)
    assert torch.equal(passed, network.dropped(latent, noise))
    assert torch.equal(network.eval().dropped(latent, noise), latent)
    assert torch.equal(
        Dlfp(0.0, size_px=64, embed_dim=12).autoencoder.dropped(latent, noise), latent
    )


def test_likeness_is_computed_in_full_precision_under_autocast():
    """In bf16 the differences of squares would be noise."""
    draw = torch.Generator().manual_seed(0)
    first, second = torch.rand(2, 2, 3, 24, 24, generator=draw)
    exact = ssim(first, second)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(exact, ssim(first, second))


def test_its_recipe_is_the_studys():
    """Adam at 5e-4 throughout, batches of 16, no decay, no scaling of gradients, no average."""
    recipe = recipe_of(DlfpTrainConfig(), "autoencoder")
    assert (recipe.batch_size, recipe.lr, recipe.beta2) == (16, 5e-4, 0.999)
    assert {5e-4} == {recipe.lr_at(step) for step in (0, recipe.steps // 2, recipe.steps - 1)}
    assert (recipe.weight_decay, recipe.averaged, recipe.precision) == (0.0, False, "fp32")
    assert recipe.gradient_norm >= 1e9


@pytest.mark.parametrize("size_px", [32, 96, 256])
def test_other_sizes_are_refused(size_px: int):
    """The study has 64 and 128 px alone."""
    with pytest.raises(ParamsError, match=f"dlfp draws 64 or 128 px, not {size_px}"):
        Dlfp(0.0, size_px=size_px, embed_dim=12)


def rows_chosen(config: dict[str, Any]) -> set[int]:
    """Which of a picture's three captions are ever given to it."""
    from bucolic.training.build import chance_of
    from bucolic.training.data import draw_batch

    data = TrainingData(
        torch.zeros(1, 3, 64, 64, dtype=torch.uint8),
        torch.full((1, 1), -1.0),
        torch.arange(3.0)[:, None],
        torch.tensor([0, 3]),
    )
    chance = chance_of(DlfpTrainConfig(**config), (1,))
    return set(draw_batch(data, chance, "any", start=0, count=64).conditions.int()[:, 0].tolist())


@pytest.mark.parametrize(
    ("config", "chosen"),
    [
        ({}, {-1}),
        ({"text_share": 1.0, "captions": 1}, {0}),
        ({"text_share": 1.0, "captions": 5}, {0, 1, 2}),
        ({"text_share": 1.0, "captions": 2}, {0, 1}),
    ],
)
def test_the_condition_is_the_picture_one_text_or_five(config: dict[str, Any], chosen: set[int]):
    """As the study varied it; -1 marks the picture's own embedding."""
    assert rows_chosen(config) == chosen


def test_a_picture_is_drawn_again_under_another_condition():
    """Under its own it is its reconstruction; another one changes it, from the same latents."""
    torch.manual_seed(0)
    model = Dlfp(0.0, size_px=64, embed_dim=8).eval()
    pictures = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    own, other = torch.randn(2, 8), torch.randn(2, 8)

    def again(targets: torch.Tensor) -> torch.Tensor:
        return model.redraw(pictures, own, targets, guidance=1.0, steps=1)

    assert torch.equal(again(own), model.reconstruct(pictures, own))
    assert not torch.equal(again(other), again(own))
