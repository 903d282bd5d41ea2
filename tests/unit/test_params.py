"""params.yaml: what is refused, and how it is told."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from bucolic.cli import main
from bucolic.params import load_params
from bucolic.presets import preset_text
from bucolic.stages.images import ImagesConfig


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the meadow preset, a dvc.yaml and the drawn data set's source."""
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    (tmp_path / "params.yaml").write_text(preset_text("meadow"))
    source = tmp_path / "datasets/meadow/source.json"
    source.parent.mkdir(parents=True)
    source.write_text('{"kind": "meadow", "seed": 0, "train": 9, "val": 9, "heldout": 9}')
    monkeypatch.chdir(tmp_path)
    return tmp_path


def change(project: Path, old: str, new: str) -> None:
    """Replace a piece of params.yaml."""
    path = project / "params.yaml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))


def words_of(project: Path) -> str:
    """The keyword list as it is written."""
    line = next(x for x in (project / "params.yaml").read_text().splitlines() if "keywords:" in x)
    return line.split("keywords: ")[1]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("keywords", "keywrods", "filter.keywrods is no known key"),
        ("match: word", "match: words", "filter.match: Input should be 'word' or 'substring'"),
        ("size_px: 64", "size_px: 60", "shard.size_px: Input should be a multiple of 16, not 60"),
        (
            "size_px: 64",
            "size_px: '64'",
            'shard.size_px: Input should be a valid integer, not "64"',
        ),
        ("\n  seed: 0", "\n  seed: abc", "train.seed: Input should be a valid"),
        ("root: datasets/meadow", "{}", "dataset.root: Field required"),
        ("shard:", "shard: [", "is not valid YAML at line"),
        ("clip:", "surprise: 1\nclip:", "surprise is no known key"),
    ],
)
def test_a_wrong_param_is_one_clear_line(project: Path, old: str, new: str, said: str):
    """Exit code 2 and one line that names the key and the problem."""
    change(project, old, new)
    done = CliRunner().invoke(main, ["params", "check"])
    assert (2, 1) == (done.exit_code, len(done.output.strip().splitlines()))
    assert said in done.output


@pytest.mark.parametrize(
    ("section", "added"),
    [
        ("dataset", "dataset: {root: ...}"),
        ("filter", "filter: {keywords: ...}"),
        *((name, f"{name}: {{}}") for name in ("images", "clip", "shard", "model", "train")),
        ("evaluate", "evaluate: {}"),
    ],
)
def test_each_section_must_be_there(project: Path, section: str, added: str):
    """DVC refuses params.yaml without a section that a stage names; the line says what to add."""
    path = project / "params.yaml"
    shorter = re.sub(rf"^{section}:\n(?:  .*\n)+", "", path.read_text(), flags=re.MULTILINE)
    assert shorter != path.read_text()
    path.write_text(shorter)
    done = CliRunner().invoke(main, ["params", "check"])
    assert 2 == done.exit_code
    said = f"bucolic: params.yaml: the section {section} is missing: add {added}"
    assert [said] == done.output.strip().splitlines()


def test_an_empty_section_has_its_defaults(project: Path):
    """`images: {}` is enough where every key has a default."""
    path = project / "params.yaml"
    text = re.sub(r"^images:\n(?:  .*\n)+", "images: {}\n", path.read_text(), flags=re.MULTILINE)
    path.write_text(text)
    assert ImagesConfig() == load_params(project).images


def test_a_data_set_that_is_not_there_is_told(project: Path):
    """A mistyped folder is one line that names the key, exit code 3."""
    change(project, "root: datasets/meadow", "root: my-coco")
    change(project, "  model: meadow-clip", "  model: ViT-B-32")
    done = CliRunner().invoke(main, ["params", "check"])
    assert (3, 1) == (done.exit_code, len(done.output.splitlines()))
    assert "dataset.root: no folder" in done.output


def test_shares_that_leave_no_image_to_train_are_refused(project: Path):
    """Val and test shares of one half each would empty train: both keys are named, in one line."""
    change(project, "  match: word", "  val_share: 0.5\n  test_share: 0.5\n  match: word")
    done = CliRunner().invoke(main, ["params", "check"])
    assert 2 == done.exit_code
    assert done.output.strip().endswith(
        "params.yaml: filter: val_share 0.5 and test_share 0.5 leave no image to train: "
        "choose shares whose sum is below 1"
    )
    change(project, "test_share: 0.5", "test_share: 0.49")
    assert 0 == CliRunner().invoke(main, ["params", "check"]).exit_code


@pytest.mark.parametrize("value", ["[]", "[cow, 7]", '[cow, " "]', "cow"])
def test_keywords_must_be_a_list_of_words(project: Path, value: str):
    """An empty list, a number, a blank or a bare word is refused by name."""
    change(project, words_of(project), value)
    done = CliRunner().invoke(main, ["params", "check"])
    assert 2 == done.exit_code
    assert "filter.keywords" in done.output


def test_yaml_is_read_as_dvc_reads_it(project: Path):
    """`no` is a word and 5e-4 a number, as in YAML 1.2."""
    change(project, words_of(project), "[no, cow]")
    change(project, "autoencoder_lr: 0.003", "autoencoder_lr: 5e-4")
    params = load_params(project)
    assert ("no", "cow") == params.filter.keywords
    assert 0.0005 == params.train.autoencoder_lr


def test_a_clip_of_drawings_is_refused_on_photographs(project: Path):
    """meadow-clip on a folder of one's own is refused, unless allow_mismatch says otherwise."""
    (project / "photos").mkdir()
    change(project, "datasets/meadow", "photos")
    done = CliRunner().invoke(main, ["params", "check"])
    assert 2 == done.exit_code
    assert "clip.allow_mismatch: true" in done.output
    change(project, "model: meadow-clip", "allow_mismatch: true\n  model: meadow-clip")
    assert 0 == CliRunner().invoke(main, ["params", "check"]).exit_code


def test_a_preset_keeps_the_former_params(project: Path):
    """`bucolic preset` writes the preset and says where the former file is."""
    change(project, "size_px: 64", "size_px: 128")
    former = (project / "params.yaml").read_text()
    done = CliRunner().invoke(main, ["preset", "tiny"])
    assert "params.yaml.old" in done.output
    assert former == (project / "params.yaml.old").read_text()
    assert preset_text("tiny") == (project / "params.yaml").read_text()
    assert 2 == CliRunner().invoke(main, ["preset", "nothing"]).exit_code


def test_no_kept_params_are_ever_lost(project: Path):
    """Each former file keeps its own name, numbered, and one that is already kept is not again."""
    former = []
    for size_px, kept in ((128, "params.yaml.old"), (32, "params.yaml.old.1"), (16, ".old.2")):
        change(project, "size_px: ", f"size_px: {size_px} # was ")
        former.append((project / "params.yaml").read_text())
        assert kept in CliRunner().invoke(main, ["preset", "meadow"]).output
    names = ["params.yaml.old", "params.yaml.old.1", "params.yaml.old.2"]
    assert former == [(project / name).read_text() for name in names]
    (project / "params.yaml").write_text(former[1])
    assert CliRunner().invoke(main, ["preset", "tiny"]).output.endswith("is params.yaml.old.1\n")
    assert names == sorted(path.name for path in project.glob("params.yaml.old*"))


def test_a_theme_is_copied_literally(project: Path):
    """`bucolic theme` puts the words into filter.keywords and leaves the rest of the file alone."""
    before = (project / "params.yaml").read_text()
    done = CliRunner().invoke(main, ["theme", "bucolic"])
    assert "filter.keywords: cow, sheep\n" == done.output
    assert (
        before.replace(words_of_text(before), "[cow, sheep]")
        == (project / "params.yaml").read_text()
    )


def words_of_text(text: str) -> str:
    """The keyword list of a file's text as it is written."""
    return next(x for x in text.splitlines() if "keywords:" in x).split("keywords: ")[1]
