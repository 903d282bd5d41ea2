import json
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML
from scipy.stats import chi2_contingency

from bucolic.base.errors import DataError
from bucolic.data.captions import Licence
from bucolic.pipeline.params import Params, parse_params
from bucolic.planning.words import _likelihood_ratio, words, words_beside
from bucolic.presets import preset_text
from bucolic.stages.filter import choose

LICENCES = [
    {"id": 1, "name": "Attribution-NonCommercial License", "url": ""},
    {"id": 4, "name": "Attribution License", "url": ""},
]
HERDS = {  # of images: theirs and whether their licence is open
    1: ("A cow, in a herd. Herd!", 4),
    2: ("a COW's herd", 1),
    3: ("two cows and a herd", 1),
    4: ("herd of goats", 4),
    5: ("a herd of geese", 1),
    6: ("a car", 4),
    7: ("cars in a street", 1),
    8: ("a street", 4),
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project with annotations of eight images, three of which show cows."""
    folder = tmp_path / "data/annotations"
    folder.mkdir(parents=True)
    content = {
        "licenses": LICENCES,
        "images": [
            {"id": number, "file_name": f"{number}.jpg", "license": licence}
            for number, (_, licence) in HERDS.items()
        ],
        "annotations": [
            {"id": number, "image_id": number, "caption": text}
            for number, (text, _) in HERDS.items()
        ],
    }
    (folder / "captions_train2017.json").write_text(json.dumps(content))
    return tmp_path


@pytest.fixture
def params() -> Params:
    """Those of a preset, with the cows for a theme."""
    found = parse_params(dict(YAML(typ="safe").load(preset_text("tiny"))))
    return found.model_copy(
        update={"filter": found.filter.model_copy(update={"keywords": ("cow",)})}
    )


def test_words_that_stand_with_the_theme_come_with_what_they_would_add(root: Path, params: Params):
    """Counted in images, in any spelling; a theme's own word would add nothing."""
    found = words_beside(choose(root / "data/annotations", params.filter), params.filter, 10)
    assert "herd" == found[0].text
    assert (3, 5, 2, 0.5) == (
        found[0].in_theme,
        found[0].in_all,
        found[0].would_add,
        found[0].open_share,
    )
    texts = {word.text for word in found}
    assert {"cow", "cow's", "cows", "street", "goats"}.isdisjoint(texts)


@pytest.mark.parametrize(
    ("change", "of_theme", "would_add"),
    [
        ({}, 3, 2),
        ({"licences": (1,)}, 2, 1),
        ({"exclude": ("geese",)}, 3, 1),
        ({"min_captions": 1, "exclude": ("two",)}, 2, 2),
    ],
)
def test_a_word_would_add_what_the_theme_may_take_alone(
    root: Path, params: Params, change: dict[str, object], of_theme: int, would_add: int
):
    """No image that is excluded or not licensed; and no keyword is proposed once more."""
    config = params.filter.model_copy(update=change)
    theme = choose(root / "data/annotations", config)
    found = {word.text: word for word in words_beside(theme, config, 10)}
    assert (len(theme.rows), found["herd"].would_add) == (of_theme, would_add)
    assert {"cow", "cow's", "cows"}.isdisjoint(found)


def test_where_several_captions_must_hold_keywords_a_word_adds_where_enough_would(
    root: Path, params: Params
):
    """With those that hold one already; a caption counts once, whatever it holds."""
    path = root / "data/annotations/captions_train2017.json"
    content = json.loads(path.read_text())
    texts = [(1, "a cow"), (1, "a herd"), (2, "a herd, a herd"), (3, "cow in a herd"), (4, "herds")]
    texts += [
        (4, "a herd"),
        (4, "the herd"),
        (5, "cows"),
        (5, "a cow"),
        (5, "herd of cows"),
        (6, "a car"),
    ]
    content["annotations"] = [
        {"id": number, "image_id": image, "caption": text}
        for number, (image, text) in enumerate(texts)
    ]
    path.write_text(json.dumps(content))
    config = params.filter.model_copy(update={"min_captions": 2})
    theme = choose(root / "data/annotations", config)
    (herd,) = [word for word in words_beside(theme, config, 10) if word.text == "herd"]
    again = choose(
        root / "data/annotations", config.model_copy(update={"keywords": ("cow", "herd")})
    )
    assert (1, 2) == (len(theme.rows), herd.would_add)
    assert len(again.rows) - len(theme.rows) == herd.would_add


def test_words_are_ordered_by_the_g_test_of_their_counts():
    """SciPy's, of images with and without the word in the theme and elsewhere."""
    of_theme, of_all = np.array([3.0, 1, 40, 7, 2]), np.array([5.0, 3, 90, 7, 70])
    expected = [
        chi2_contingency(
            [[a, 50 - a], [b - a, 150 - (b - a)]], correction=False, lambda_="log-likelihood"
        ).statistic
        for a, b in zip(of_theme, of_all, strict=True)
    ]
    found = _likelihood_ratio(of_theme, of_all, 50, 200)
    assert 0 == found[4]  # it stands with the theme less often than elsewhere
    assert found[:4] == pytest.approx(expected[:4])


def test_the_table_says_how_large_the_theme_is(root: Path, params: Params):
    """One line a word below it."""
    lines = list(words(root, params, 1))
    assert "the theme has 3 of 8 images; words that mark it," == lines[0]
    assert ["herd", "3", "5", "2", "50%"] == lines[-1].split()


def test_before_the_annotations_are_there_their_stage_is_named(tmp_path: Path, params: Params):
    """Words are those of captions that were fetched."""
    with pytest.raises(DataError, match="run the annotations stage"):
        list(words(tmp_path, params, 1))


def test_a_theme_that_chooses_nothing_has_no_words_beside_it(root: Path, params: Params):
    """One line says so, and what to do."""
    asked = params.filter.model_copy(update={"keywords": ("zebra",)})
    with pytest.raises(DataError, match="zebra selects none of 8 images"):
        list(words(root, params.model_copy(update={"filter": asked}), 1))


@pytest.mark.parametrize(
    ("name", "is_open"),
    [
        ("Attribution License", True),
        ("Attribution-ShareAlike License", True),
        ("United States Government Work", True),
        ("Attribution-NonCommercial-ShareAlike License", False),
        ("Attribution-NoDerivs License", False),
        ("CC BY-NC-ND: Attribution, non commercial, no derivatives", False),
    ],
)
def test_what_a_licence_allows_is_read_from_its_name(name: str, is_open: bool):
    """The names are Creative Commons', however they are joined."""
    assert Licence(name, "").is_open is is_open
