"""params.yaml: what is refused, and how it is told."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from ruamel.yaml import YAML

from bucolic import presets
from bucolic.base.errors import DataError, ParamsError
from bucolic.base.runtime import Runtime
from bucolic.cli import main
from bucolic.pipeline.params import load_params
from bucolic.pipeline.table import STAGES
from bucolic.pipeline.yaml_file import read_yaml
from bucolic.presets import preset_text
from bucolic.stages.annotations import get_annotations
from bucolic.stages.filter import FilterConfig
from bucolic.stages.images import ImagesConfig


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the meadow preset, a dvc.yaml and the drawn data set's source."""
    (tmp_path / "dvc.yaml").write_text("stages: {filter: {cmd: bucolic filter}}\n")
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
        ("\nmodel:", "\nmodel:\n  text_prior: linear", "model.text_prior: Input should be 'none'"),
        ("\nmodel:", "\nmodel:\n  text_prior: mlp\n  text_draws: 2", "mlp draws nothing"),
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
    change(project, "  model: meadow-clip", "  model: ViT-B-32\n  pretrained: openai")
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


@pytest.mark.parametrize(
    ("line", "advice"),
    [
        ("  crop: centre\n", 'shard.crop is missing, which DVC compares: add crop: "centre"'),
        ("  categories: []\n", "filter.categories is missing, which DVC compares: add categor"),
    ],
)
def test_a_key_that_a_stage_depends_on_by_itself_stands_in_the_file(
    project: Path, line: str, advice: str
):
    """DVC knows no defaults, and would say so only behind the run."""
    change(project, line, "")
    with pytest.raises(ParamsError, match=advice):
        load_params(project)


def test_a_crop_about_a_subject_needs_categories(project: Path):
    """Their boxes alone say where it is; the line names both ways out."""
    change(project, "crop: centre", "crop: subject")
    with pytest.raises(ParamsError, match=r"shard\.crop: subject needs filter\.categories"):
        load_params(project)
    change(project, "categories: []", "categories: [cow]")
    assert "subject" == load_params(project).shard.crop


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("[]", "filter.keywords: Input should be a list of 1 or more, not []"),
        ("[cow, 7]", "filter.keywords[1]: Input should be a valid string, not 7"),
        ('[cow, " "]', "filter.keywords[1]: String should have at least 1 character"),
        ("cow", 'filter.keywords: Input should be a list, not "cow"'),
        ("null", "filter.keywords: Input should be a list, not null"),
    ],
)
def test_keywords_must_be_a_list_of_words(project: Path, value: str, said: str):
    """An empty list, a number, a blank or a bare word is refused by name."""
    change(project, words_of(project), value)
    done = CliRunner().invoke(main, ["params", "check"])
    assert 2 == done.exit_code
    assert said in done.output


def test_yaml_is_read_as_dvc_reads_it(project: Path):
    """`no` is a word and 5e-4 a number, as in YAML 1.2."""
    change(project, words_of(project), "[no, cow]")
    chosen = load_params(project).train.autoencoder_lr
    change(project, f"autoencoder_lr: {chosen}", "autoencoder_lr: 5e-4")
    params = load_params(project)
    assert ("no", "cow") == params.filter.keywords
    assert 0.0005 == params.train.autoencoder_lr


def test_a_clip_of_drawings_is_refused_on_photographs(project: Path):
    """meadow-clip on a folder of one's own is refused, unless allow_mismatch says otherwise."""
    captions = project / "photos/annotations/captions_train2017.json"
    captions.parent.mkdir(parents=True)
    captions.touch()
    change(project, "datasets/meadow", "photos")
    done = CliRunner().invoke(main, ["params", "check"])
    assert 2 == done.exit_code
    assert "clip.allow_mismatch: true" in done.output
    change(project, "model: meadow-clip", "allow_mismatch: true\n  model: meadow-clip")
    assert 0 == CliRunner().invoke(main, ["params", "check"]).exit_code


@pytest.mark.parametrize(
    ("there", "said"),
    [
        ([], "annotations is missing"),
        (["annotations/instances_train2017.json"], "no captions_train2017.json"),
        (["annotations/captions_val2017.json"], "val2017 is the test split"),
        (["annotations/captions_train2017.json/a"], "captions_train2017.json is no file"),
        (
            ["annotations/captions_train2017.json", "annotations/instances_train2017.json/a"],
            "instances_train2017.json is no file",
        ),
        (["annotations/captions_train2017.json", "train2017 -> .."], "train2017 is a link out of"),
        (["source.json"], "source.json is not valid JSON"),
    ],
)
def test_a_data_set_that_the_first_stage_would_refuse_is_refused(
    project: Path, there: list[str], said: str
):
    """The check says what `annotations` says, without reading a record."""
    (project / "photos").mkdir()
    for entry in there:
        name, _, target = entry.partition(" -> ")
        path = project / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if target:
            path.symlink_to(target)
        else:
            path.touch()
    change(project, "datasets/meadow", "photos")
    change(project, "model: meadow-clip", "allow_mismatch: true\n  model: meadow-clip")
    done = CliRunner().invoke(main, ["params", "check"])
    assert done.exit_code == 3
    assert said in done.output
    runtime = Runtime(work=project / "work", cache=project / "cache")
    theme = FilterConfig(keywords=("thing",))
    with pytest.raises(DataError) as caught:
        get_annotations(project / "photos", project / "out", filter=theme, runtime=runtime)
    assert done.output == f"bucolic: {caught.value}\n"


@pytest.mark.parametrize(
    ("clip", "said"),
    [
        ("ViT-B-33", "clip.model: ViT-B-33 is none of open_clip's: ViT-B-32"),
        ("meadowclip", "clip.model: meadowclip is none of open_clip's: meadow-clip?"),
        ("ViT-B-32", "clip.pretrained: ViT-B-32 needs a tag or a file of its weights"),
        ("ViT-B/32\n  pretrained: openai", None),
        ("hf-hub:timm/some-clip", None),
    ],
)
def test_a_clip_that_open_clip_cannot_load_is_refused_before_anything_is_fetched(
    project: Path, clip: str, said: str | None
):
    """By its name, and by the weights it needs; which tags a hub has is not known here."""
    text = preset_text("meadow").replace("model: meadow-clip", f"model: {clip}")
    code, output = check(project, text.encode())
    assert code == (2 if said else 0)
    assert (said or "is valid") in output


@pytest.mark.parametrize(
    ("judge", "said"),
    [
        ("{model: ViT-B-33}", "evaluate.judge.model: ViT-B-33 is none of open_clip's"),
        ("{model: ViT-B-32}", "evaluate.judge.pretrained: ViT-B-32 needs a tag"),
        ("{model: ViT-B-32, pretrained: openai}", None),
        ("{modle: ViT-B-32}", "evaluate.judge.modle"),
    ],
)
def test_a_judge_is_checked_like_the_clip(project: Path, judge: str, said: str | None):
    """Its name and its weights, before hours are spent on what it would judge."""
    text = preset_text("meadow").replace("  prompts: 500", f"  prompts: 500\n  judge: {judge}")
    code, output = check(project, text.encode())
    assert code == (2 if said else 0), output
    assert (said or "is valid") in output


def test_a_section_that_a_preset_does_not_name_is_all_defaults(monkeypatch: pytest.MonkeyPatch):
    """A stage that is declared anew has its section in every preset; DVC asks for it by name."""
    added = replace(STAGES[-1], name="palette", sections={"palette": "palette:PaletteConfig"})
    monkeypatch.setattr(presets, "STAGES", (*STAGES, added))
    for name in ("meadow", "tiny", "folder", "coco2017"):
        content = YAML(typ="safe").load(preset_text(name))
        assert {} == content["palette"]
        assert content["filter"]["keywords"]


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


def check(project: Path, content: bytes) -> tuple[int, str]:
    """Exit code and output of `bucolic params check` on a params.yaml of these bytes."""
    (project / "params.yaml").write_bytes(content)
    done = CliRunner().invoke(main, ["params", "check"])
    assert 1 == len(done.output.strip().splitlines()), done.output
    return done.exit_code, done.output


@pytest.mark.parametrize(
    ("encoding", "said"),
    [
        ("utf-16", "is UTF-16 and DVC reads UTF-8 alone: save it as UTF-8"),
        ("utf-16-le", "is UTF-16 and"),
        ("utf-16-be", "is UTF-16 and"),
        ("utf-32", "is UTF-32 and"),
        ("latin-1", "is not UTF-8 at line 7 (byte 0xe9): save it as UTF-8"),
    ],
)
def test_an_encoding_that_dvc_refuses_is_named(project: Path, encoding: str, said: str):
    """With what to do about it."""
    text = preset_text("meadow").replace("[cow,", "[cow, \u00e9t\u00e9,")
    code, output = check(project, text.encode(encoding))
    assert 2 == code
    assert said in output


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_a_mark_and_any_line_ends_are_fine(project: Path, mark: bytes, ending: str):
    """As DVC takes them."""
    content = mark + preset_text("meadow").replace("\n", ending).encode()
    assert 0 == check(project, content)[0]


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("2017-01-01", "filter.keywords[1] (line 7) is a date, 2017-01-01: put it in quotes"),
        ("2017-13-45", "filter.keywords[1] (line 7) is a date, 2017-13-45"),
        ("2017-01-01 10:00:00", "filter.keywords[1] (line 7) is a date"),
        ("!!binary aGk=", "filter.keywords[1] (line 7) is of type binary"),
        ("!!set {a}", "filter.keywords[1] (line 7) is of type set"),
        ("!word a", "filter.keywords[1] (line 7) is of type !word"),
        ("!!python/name:os.system a", "filter.keywords[1] (line 7) is of type python/name:os"),
        ("!!int abc", "filter.keywords[1] (line 7) is 'abc', which is no int: put it in"),
        ("!!int ''", "filter.keywords[1] (line 7) is '', which is no int: put it in quotes"),
        ("-_", "filter.keywords[1] (line 7) is '-_', which is no int: put it in quotes"),
        ("!!str [x]", "filter.keywords[1] (line 7) is of type str: write text, a number"),
        (".nan", "filter.keywords[1]: Input should be a valid string, not NaN"),
        ("1e999", "filter.keywords[1]: Input should be a valid string, not Infinity"),
        ("9" * 5000, "filter.keywords[1] (line 7) is a number of 5000 digits"),
        ('"a\\0b"', "filter.keywords[1] (line 7) holds U+0000"),
        ('"\\ud800"', "filter.keywords[1] (line 7) holds U+D800"),
        ("a\x07b", "is U+0007, which no YAML file may hold: remove it"),
        ("a\0b", "is U+0000, which no YAML file may hold: remove it"),
        ("{1: a}", "filter.keywords[1] (line 7) has a key that is no text, 1: put it in quotes"),
        ("&a [*a]", "(line 7) is nested more than 20 deep"),
        ("[" * 30 + "]" * 30, "(line 7) is nested more than 20 deep"),
        ("[" * 3000 + "]" * 3000, "is nested too deeply"),
        ("*cow", "is not valid YAML at line 7: found undefined alias 'cow'"),
    ],
)
def test_what_yaml_can_say_and_params_cannot_names_its_key(project: Path, word: str, said: str):
    """One line with key and line, whatever it is that stands among the keywords."""
    text = preset_text("meadow").replace("[cow, sheep", f"[cow, {word}, sheep")
    code, output = check(project, text.encode())
    assert 2 == code
    assert said in output


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "holds no keys: write one with bucolic preset meadow"),
        ("# nothing\n", "holds no keys"),
        ("- a\n", "holds no keys"),
        ("a: 1\n---\nb: 2\n", "is not valid YAML at line 2: but found another document"),
        ("a: 1\na: 2\n", 'is not valid YAML at line 2: found duplicate key "a"'),
        ("a: 1\nb: 2\n3: c\n", "(line 3) has a key that is no text, 3"),
        ("2017-01-01: 1\n", "(line 1) has a key that is no text, 2017-01-01"),
    ],
)
def test_a_file_of_another_shape_is_one_line(project: Path, content: str, said: str):
    """Empty, a list, several documents, a key twice."""
    code, output = check(project, content.encode())
    assert 2 == code
    assert said in output


def test_aliases_of_aliases_do_not_fill_the_memory(project: Path):
    """Nine lines that stand for a thousand million values are refused at once."""
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    for name, before in zip("bcdefghi", "abcdefgh", strict=True):
        lines.append(f"{name}: &{name} [{', '.join(['*' + before] * 10)}]")
    code, output = check(project, "\n".join(lines).encode())
    assert 2 == code
    assert "holds more than 100000 values: shorten it" in output


def test_anchors_and_merges_are_read_as_dvc_reads_them(project: Path):
    """An alias stands for its value, and `<<` takes in a section's keys."""
    text = preset_text("meadow").replace("  seed: 0\n  batch", "  <<: &t {seed: 5}\n  batch", 1)
    text = text.replace("  prompts: 500\n  seed: 0", "  prompts: 500\n  <<: *t")
    assert 0 == check(project, text.encode())[0]
    assert (5, 5) == (load_params(project).train.seed, load_params(project).evaluate.seed)


@pytest.mark.parametrize(
    "content",
    [
        b"a: [x, 2017-01-01]",
        b"a: !!set {x}",
        b"a: !x y",
        b"a: =",
        b"a: !!pairs [x: 1]",
        b"a: !!int abc",
        b"a: {<<: 3}",
        b"a: \xe9",
        b"a: \xed\xa0\x80",
        b"\xff\xfea\0:\0 \0",
        b"- a",
        b"a: 1\n---\n",
        b"a: {b: 1, b: 2}",
        b"a:\n\tb: 1",
    ],
)
def test_what_dvc_refuses_is_refused(project: Path, content: bytes):
    """By DVC's own reader and its context of templates."""
    from dvc.parsing.context import Context
    from dvc.utils.serialize import load_yaml

    path = project / "params.yaml"
    path.write_bytes(content)
    with pytest.raises(Exception) as refused:  # noqa: PT011 - DVC raises of several kinds
        Context(load_yaml(str(path)))
    assert refused.type is not AssertionError
    with pytest.raises(ParamsError) as raised:
        read_yaml(path)
    assert 1 == len(str(raised.value).splitlines())


@pytest.mark.parametrize(
    ("root", "said"),
    [
        (".", "dataset.root: . holds the project itself"),
        ("..", "dataset.root: .. holds the project itself"),
        ("s3://bucket/photos", "dataset.root: DVC takes s3://bucket/photos for an address"),
        ("data", "dataset.root: data would hold or be in data/selection.parquet"),
        ("data/images/x", "would hold or be in data/images, a stage's output"),
    ],
)
def test_a_root_that_dvc_would_refuse_is_refused(project: Path, root: str, said: str):
    """As a dependency of dvc.yaml it would be an address, hold the project, or close a circle."""
    outs = "[data/selection.parquet, data/images]"
    (project / "dvc.yaml").write_text(f"stages:\n  images: {{cmd: x, outs: {outs}}}\n")
    if ":" not in root:
        (project / root).mkdir(parents=True, exist_ok=True)
    text = preset_text("meadow").replace("root: datasets/meadow", f"root: {root}")
    text = text.replace("  model: meadow-clip", "  allow_mismatch: true\n  model: meadow-clip")
    code, output = check(project, text.encode())
    assert 2 == code
    assert said in output


@pytest.mark.parametrize("behind", ["link", "alias/data/images"])
def test_a_root_that_leads_to_an_output_by_a_link_is_refused(project: Path, behind: str):
    """The images stage would replace the user's own data set, whatever path leads there."""
    (project / "dvc.yaml").write_text("stages:\n  images: {cmd: x, outs: [data/images]}\n")
    (project / "data/images").mkdir(parents=True)
    outside = project.with_name(f"{project.name}-elsewhere")
    outside.mkdir()
    (outside / "link").symlink_to(project / "data/images")
    (outside / "alias").symlink_to(project)
    text = preset_text("meadow").replace("root: datasets/meadow", f"root: {outside / behind}")
    text = text.replace("  model: meadow-clip", "  allow_mismatch: true\n  model: meadow-clip")
    code, output = check(project, text.encode())
    assert 2 == code
    assert "would hold or be in data/images, a stage's output" in output


def test_a_root_that_holds_home_is_refused(project: Path, monkeypatch: pytest.MonkeyPatch):
    """Stores in it would change the data set whenever a stage runs."""
    monkeypatch.setenv("BUCOLIC_HOME", str(project / "datasets/meadow"))
    code, output = check(project, preset_text("meadow").encode())
    assert 2 == code
    assert "dataset.root: datasets/meadow holds BUCOLIC_HOME" in output


def test_a_theme_keeps_mark_line_ends_and_long_lines(project: Path):
    """All that the user's editor wrote stays, but for the words."""
    path = project / "params.yaml"
    text = preset_text("meadow") + "# " + "a long remark " * 20 + "\n"
    path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    before = path.read_bytes()
    CliRunner().invoke(main, ["theme", "bucolic"])
    words = words_of_text(text).encode()
    assert before.replace(words, b"[cow, sheep]") == path.read_bytes()
    path.write_bytes(b"filter: 3\n")
    done = CliRunner().invoke(main, ["theme", "bucolic"])
    assert "has no filter section: add filter: {keywords: []}" in done.output
    assert b"filter: 3\n" == path.read_bytes()
