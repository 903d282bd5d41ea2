"""unCLIP's parts: variations, ways between pictures, text differences, and what CLIP says."""

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from bucolic.base.errors import ParamsError
from bucolic.cli import main
from bucolic.generate import Bucolic
from made_model import write_untrained


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose networks hold noise."""
    place = tmp_path_factory.mktemp("models") / "current"
    write_untrained(place)
    return place


@pytest.fixture(scope="module")
def artist(folder: Path) -> Bucolic:
    """It, behind the real meadow-clip."""
    return Bucolic.from_pretrained(folder, device="cpu")


@pytest.fixture(scope="module")
def pictures(artist: Bucolic) -> np.ndarray:
    """Three pictures of its own, uint8 [3, 3, 32, 32]."""
    return artist.generate(["a cow", "two white sheep", "a horse"])[:, 0]


def test_a_variation_depends_on_its_picture_place_and_seed_alone(
    artist: Bucolic, pictures: np.ndarray
):
    """More variations, or more pictures behind, change none; another seed or picture does."""
    few = artist.vary(pictures[0], n=2, seed=5)
    many = artist.vary(pictures, n=4, seed=5)

    assert many.shape == (3, 4, 3, 32, 32)
    assert np.array_equal(few[0], many[0, :2])
    assert len({picture.tobytes() for picture in many.reshape(12, -1)}) == 12
    assert not np.array_equal(few, artist.vary(pictures[0], n=2, seed=6))
    turned = artist.vary(pictures[::-1], n=1, seed=5)
    assert not np.array_equal(turned[0, 0], many[0, 0])


def test_variations_have_the_condition_of_the_picture(artist: Bucolic, pictures: np.ndarray):
    """They are what the networks draw for the picture's own embedding, as sampling was chosen."""
    vectors = artist.embed_images(pictures)

    one = artist.vary(pictures, n=1, seed=0)
    again = artist.vary([Image.fromarray(p.transpose(1, 2, 0)) for p in pictures], seed=0)

    assert vectors.shape == (3, artist.config["embed_dim"])
    assert np.array_equal(one, again)
    frozen = artist.config["sampling"]
    assert np.array_equal(one, artist.vary(pictures, guidance=frozen["guidance"]))
    assert not np.array_equal(one, artist.vary(pictures, guidance=1.0))


def test_on_the_way_from_one_picture_to_another_each_step_is_small(
    artist: Bucolic, pictures: np.ndarray
):
    """Neighbours differ less than the ends, and the way back shows the same pictures."""
    way = artist.interpolate(pictures[0], pictures[1], frames=9, seed=3).astype(int)

    back = artist.interpolate(pictures[1], pictures[0], frames=9, seed=3)
    steps = np.abs(np.diff(way, axis=0)).mean(axis=(1, 2, 3))
    assert way.shape == (9, 3, 32, 32)
    assert steps.max() < 0.5 * np.abs(way[-1] - way[0]).mean()
    assert np.abs(back[::-1] - way).max() <= 2
    assert np.array_equal(way[[0, -1]], artist.interpolate(*pictures[:2], frames=2, seed=3))


def test_without_any_amount_an_edit_gives_the_picture_back(artist: Bucolic, pictures: np.ndarray):
    """From the noise behind it, under its own condition: its reconstruction, to a level or two."""
    unchanged = artist.edit(pictures[0], "a brown cow", "a white sheep", amount=0, frames=1)

    rebuilt = artist.reconstruct(pictures[:1])
    assert np.abs(unchanged.astype(int) - rebuilt).max() <= 2


def test_an_edit_goes_further_with_its_amount(artist: Bucolic, pictures: np.ndarray):
    """Each picture on the way is further from the first; the last is that of its amount alone."""
    way = artist.edit(pictures[0], "a brown cow", "a white sheep", amount=0.6, frames=3)
    last = artist.edit(pictures[0], "a brown cow", "a white sheep", amount=0.6, frames=1)

    start = artist.reconstruct(pictures[:1]).astype(int)
    apart = np.abs(way - start).mean(axis=(1, 2, 3))
    assert (np.diff(apart) > 0).all()
    assert np.array_equal(way[-1:], last)


def test_the_same_text_twice_is_no_edit(artist: Bucolic, pictures: np.ndarray):
    """There is no direction to go."""
    with pytest.raises(ParamsError, match="both texts say the same"):
        artist.edit(pictures[0], "a cow", "a cow")


def test_scores_are_cosines_of_embeddings(artist: Bucolic, pictures: np.ndarray):
    """One row a picture, one column a text."""
    texts = ["a cow", "a white sheep"]
    seen, said = artist.embed_images(pictures), artist.embed_texts(texts)

    scores = artist.score(pictures, texts)

    assert scores.shape == (3, 2)
    expected = seen[2] @ said[1] / np.linalg.norm(seen[2]) / np.linalg.norm(said[1])
    assert scores[2, 1] == pytest.approx(expected, abs=1e-5)


def test_a_reconstruction_embeds_what_comes_without_vectors(artist: Bucolic, pictures: np.ndarray):
    """As if the caller had asked the same CLIP."""
    vectors = artist.embed_images(pictures)
    assert np.array_equal(artist.reconstruct(pictures), artist.reconstruct(pictures, vectors))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"amount": 1.5}, "amount must be a number from 0 to 1, not 1.5"),
        ({"amount": float("nan")}, "amount must be a number from 0 to 1, not nan"),
        ({"frames": 0}, "frames must be a whole number from 1 to 1000, not 0"),
        ({"guidance": -1.0}, "guidance must be a finite number of at least 0"),
        ({"before": " "}, "prompt number 1 is empty"),
    ],
)
def test_an_edit_that_makes_no_sense_is_refused(
    artist: Bucolic, pictures: np.ndarray, asked: dict[str, object], said: str
):
    """Before anything is drawn, in one line."""
    texts = {"before": "a cow", "after": "a sheep"}
    with pytest.raises(ParamsError, match=said):
        artist.edit(pictures[0], **(texts | asked))  # type: ignore[arg-type] # on purpose


def test_the_digest_is_that_of_the_file(artist: Bucolic, folder: Path):
    """What a picture names as its model, sha256sum finds again."""
    content = (folder / "model.safetensors").read_bytes()
    assert artist.digests == {"model_sha256": hashlib.sha256(content).hexdigest()}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], {"seed": "0", "best_of": "1"}),
        (
            ["--best-of", "2", "--guidance", "1.5", "--steps", "2", "--seed", "7"],
            {"seed": "7", "best_of": "2", "guidance": "1.5", "steps": "2"},
        ),
    ],
)
def test_a_png_says_all_that_was_asked(
    folder: Path, tmp_path: Path, arguments: list[str], said: dict[str, str]
):
    """So that it can be drawn again; of what was not asked the model's own choice holds."""
    out = tmp_path / "cow.png"

    done = CliRunner().invoke(
        main,
        ["generate", "a cow", "-n", "1", *arguments, "--model", str(folder), "--out", str(out)],
    )

    assert done.exit_code == 0, done.output
    text = Image.open(out).info
    names = ("seed", "best_of", "guidance", "steps")
    assert {name: text[name] for name in names if name in text} == said


@pytest.mark.parametrize(
    ("verb", "expected", "asked_with"),
    [
        (["vary", "A", "-n", "3", "--seed", "2"], ["a variation of a.png"] * 3, ("seed", "2")),
        (["interpolate", "A", "B", "--steps", "4"], ["from a.png to b.png"] * 4, ("seed", "0")),
        (
            ["edit", "A", "--from", "a cow", "--to", "a white sheep", "--steps", "2"],
            ["a.png, a cow to a white sheep"] * 2,
            ("amount", "0.5"),
        ),
        (["generate", "two cows", "-n", "2"], ["two cows"] * 2, ("seed", "0")),
    ],
)
def test_pictures_say_where_they_come_from(
    folder: Path,
    pictures: np.ndarray,
    tmp_path: Path,
    verb: list[str],
    expected: list[str],
    asked_with: tuple[str, str],
):
    """Each verb writes PNGs that hold what was asked, the model's digest, and who drew them."""
    for name, picture in zip("ab", pictures, strict=False):
        Image.fromarray(picture.transpose(1, 2, 0)).save(tmp_path / f"{name}.png")
    places = {"A": str(tmp_path / "a.png"), "B": str(tmp_path / "b.png")}
    arguments = [places.get(word, word) for word in verb]
    out = tmp_path / "out"

    done = CliRunner().invoke(main, [*arguments, "--model", str(folder), "--out", str(out)])

    assert done.exit_code == 0, done.output
    written = sorted(out.glob("*.png"))
    assert done.output.split() == [str(path) for path in written]
    texts = [Image.open(path).info for path in written]
    assert [text["prompt"] for text in texts] == expected
    for text in texts:
        assert text[asked_with[0]] == asked_with[1]
        assert len(text["model_sha256"]) == 64
        assert "AI-generated" in text["Software"]


def test_the_picture_one_begins_with_is_kept(
    folder: Path, pictures: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Where --out, given or not, is that very file, one line says so and nothing is written."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(pictures[0].transpose(1, 2, 0)).save("generated.png")
    before = Path("generated.png").read_bytes()

    for more in ([], ["--out", str(tmp_path / "generated.png")]):
        done = CliRunner().invoke(main, ["vary", "generated.png", "--model", str(folder), *more])
        assert done.exit_code == 2
        assert "generated.png is the picture to begin with" in done.stderr
    assert Path("generated.png").read_bytes() == before


def test_a_name_of_any_bytes_is_told(folder: Path, pictures: np.ndarray, tmp_path: Path):
    """A file name that is not UTF-8 is no reason to lose what was drawn."""
    source = tmp_path / os.fsdecode(b"caf\xe9.png")
    Image.fromarray(pictures[0].transpose(1, 2, 0)).save(source)

    done = CliRunner().invoke(
        main, ["vary", str(source), "--model", str(folder), "--out", str(tmp_path / "out.png")]
    )

    assert done.exit_code == 0, done.output
    assert Image.open(tmp_path / "out.png").info["prompt"] == "a variation of caf\ufffd.png"


def test_the_callers_default_type_decides_nothing(artist: Bucolic, pictures: np.ndarray):
    """Under another default of floats the ways between pictures are the same."""
    expected = artist.interpolate(*pictures[:2], frames=4)
    turned = artist.edit(pictures[0], "a cow", "a white sheep", amount=0.1, frames=1)
    torch.set_default_dtype(torch.bfloat16)
    try:
        assert np.array_equal(artist.interpolate(*pictures[:2], frames=4), expected)
        again = artist.edit(pictures[0], "a cow", "a white sheep", amount=0.1, frames=1)
        assert np.array_equal(again, turned)
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(
    ("verb", "code", "said"),
    [
        (["vary", "notes.md"], 3, "notes.md: "),
        (["vary", "nowhere.png"], 3, "nowhere.png: No such file"),
        (["vary", "a.png", "-n", "0"], 2, "n must be a whole number"),
        (["vary", "a.png", "--guidance", "inf"], 2, "guidance must be a finite number"),
        (["interpolate", "a.png", "a.png", "--steps", "1"], 2, "steps must be a whole number"),
        (["interpolate", "a.png", "notes.md"], 3, "notes.md: "),
        (["edit", "a.png", "--from", "", "--to", "a cow"], 2, "prompt number 1 is empty"),
        (["edit", "a.png", "--from", "x", "--to", "y", "--amount", "2"], 2, "amount must be"),
    ],
)
def test_verbs_refuse_in_one_line_before_the_model_is_loaded(
    pictures: np.ndarray,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    verb: list[str],
    code: int,
    said: str,
):
    """No model is here, and nobody hears of it."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(pictures[0].transpose(1, 2, 0)).save("a.png")
    Path("notes.md").write_text("# mine")

    done = CliRunner().invoke(main, [*verb, "--model", "nowhere", "--out", "out.png"])

    assert done.exit_code == code
    assert done.stderr.startswith("bucolic: ")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not Path("out.png").exists()
