"""The registered model: versions by trainings, the champion's rule, loading through MLflow."""

import base64
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import pytest

from bucolic.tracking import registry
from bucolic.tracking.outbox import flush
from bucolic.tracking.registry import CHAMPION, REGISTERED

Weights = Callable[[int], str]
SHARDS = "c" * 32 + ".dir"
VAL_A, VAL_B = "a" * 64, "b" * 64


@pytest.fixture
def trained(home: Path, leave: Any, weights: Weights) -> Callable[..., None]:
    """Train (weights by seed, val's data and scores) and evaluate, and send both records."""

    def run(seed: int, val_data: str, judge: str = "meadow-clip", **scores: float | None) -> None:
        digest = weights(seed)
        leave(
            "train",
            record_id=f"train{seed}",
            outputs={"models/current": ""},
            params={"train": {"seed": seed}},
            figures={f"val_{name}": value for name, value in scores.items()},
            details={"val_digest": val_data, "val_prompts": 128, "val_judge": judge},
        )
        leave(
            "evaluate",
            record_id=f"evaluate{seed}{val_data}",
            started="2026-01-02T04:00:00+00:00",
            inputs={"models/current": digest, "data/shards": SHARDS},
            figures={"metrics": scores},
            details={"test_digest": "d" * 64},
        )
        assert flush(home).sent == 2

    return run


def champion(client: Any) -> Any:
    """The version that carries the alias."""
    return client.get_model_version_by_alias(REGISTERED, CHAMPION)


def test_each_training_makes_a_version_and_a_record_sent_again_none(
    client: Any, trained: Callable[..., None]
):
    """The first training's record is sent twice; each version says what it came from."""
    trained(1, VAL_A, attributes_all_right=0.5)
    trained(1, VAL_B, attributes_all_right=0.5)
    trained(2, VAL_A, attributes_all_right=0.5)
    versions = client.search_model_versions(f"name = '{REGISTERED}'")
    assert len(versions) == 2
    assert len({version.tags["weights_digest"] for version in versions}) == 2
    assert len({version.tags["params_digest"] for version in versions}) == 2
    assert {version.tags["keywords"] for version in versions} == {"cow, sheep, hill, farm"}


@pytest.fixture
def equal(home: Path, leave: Any, weights: Weights) -> str:
    """Train twice, in pipelines a and b, to the same bytes, and send it; returns their digest."""
    digest = weights(1)
    for pipeline in "ab":
        about = {"pipeline_id": pipeline, "git": {"commit": pipeline * 40, "dirty": False}}
        leave("train", record_id=f"train-{pipeline}", outputs={"models/current": ""}, **about)
        assert flush(home).sent == 1
    return digest


def test_trainings_that_end_in_equal_weights_have_a_version_each(client: Any, equal: str):
    """Each says its own record and commit, and belongs to its own run."""
    first, second = (client.get_model_version(REGISTERED, number) for number in "12")
    assert first.tags["weights_digest"] == second.tags["weights_digest"] == equal
    assert [first.tags["record_id"], second.tags["record_id"]] == ["train-a", "train-b"]
    assert [first.tags["commit"], second.tags["commit"]] == ["a" * 40, "b" * 40]
    assert first.run_id != second.run_id


@pytest.mark.parametrize(("pipeline", "number"), [("a", 1), ("b", 2), ("c", 2)])
def test_of_equal_weights_the_pipelines_own_version_is_judged(
    home: Path, client: Any, leave: Any, equal: str, pipeline: str, number: int
):
    """Evaluate reads bytes alone: they are its pipeline's, or else the newest that has them."""
    inputs = {"models/current": equal, "data/shards": SHARDS}
    figures = {"metrics": {"r_precision": 0.5}}
    leave("evaluate", inputs=inputs, figures=figures, pipeline_id=pipeline)
    assert flush(home).sent == 1
    assert champion(client).version == number


def test_a_model_sent_with_another_commit_s_code_says_so(
    home: Path,
    client: Any,
    leave: Any,
    weights: Weights,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    """The version carries both commits, and one line warns of it; equal ones are no matter."""
    monkeypatch.setattr(registry, "known_commit", lambda _: "c" * 40)
    for name in "cd":
        weights(ord(name))
        about = {"record_id": name, "git": {"commit": name * 40, "dirty": False}}
        leave("train", outputs={"models/current": ""}, **about)
        assert flush(home).sent == 1
    tags = [client.get_model_version(REGISTERED, number).tags for number in "12"]
    assert [(one["commit"][0], one["code_commit"][0]) for one in tags] == [("c", "c"), ("d", "c")]
    said = f"the model trained at commit {'d' * 40} is sent with the code of {'c' * 40}"
    assert [line for line in caplog.messages if "is sent with" in line] == [f"MLflow: {said}"]


def test_the_better_of_two_on_the_same_val_is_champion(client: Any, trained: Callable[..., None]):
    """On the same val data the higher score wins, a lower one does not, nor does a tie."""
    trained(1, VAL_A, attributes_all_right=0.5)
    trained(2, VAL_A, attributes_all_right=0.6)
    best = champion(client)
    assert best.tags["champion_because"] == "val_attributes_all_right 0.6000 against 0.5000"
    trained(3, VAL_A, attributes_all_right=0.55)
    trained(4, VAL_A, attributes_all_right=0.6)
    assert champion(client).version == best.version


def test_figures_on_test_choose_nothing(
    home: Path, client: Any, leave: Any, weights: Weights, trained: Callable[..., None]
):
    """Better on test and worse on val is no champion, and the version still shows both."""
    trained(1, VAL_A, attributes_all_right=0.6)
    trained(2, VAL_A, attributes_all_right=0.5)
    judged(leave, home, weights(2), 1, attributes_all_right=0.99)
    assert 1 == int(champion(client).version)
    tags = client.get_model_version(REGISTERED, "2").tags
    shown = ("attributes_all_right", "val_attributes_all_right", "test_digest")
    assert ["0.99", "0.5", "None"] == [tags[name] for name in shown]


def test_an_older_training_that_is_judged_again_takes_nothing(
    home: Path, client: Any, leave: Any, weights: Weights, trained: Callable[..., None]
):
    """Its val data are others, so nothing compares: the newer training keeps the alias."""
    trained(1, VAL_A, attributes_all_right=0.9)
    trained(2, VAL_B, attributes_all_right=0.1)
    judged(leave, home, weights(1), 1, attributes_all_right=0.95)
    assert 2 == int(champion(client).version)


def test_scores_of_another_judge_do_not_compare(client: Any, trained: Callable[..., None]):
    """CLIPs give different marks: the newest takes the alias."""
    trained(1, VAL_A, "meadow-clip (0123)", match=-1.0)
    trained(2, VAL_A, "meadow-clip (4567)", match=-2.0)
    assert champion(client).tags["val_match"] == "-2.0"


def test_other_val_data_makes_the_newest_champion(client: Any, trained: Callable[..., None]):
    """Scores on different val data do not compare: the newest takes the alias and says so."""
    trained(1, VAL_A, attributes_all_right=0.9)
    trained(2, VAL_B, attributes_all_right=0.1)
    assert champion(client).tags["attributes_all_right"] == "0.1"
    assert "other val data" in champion(client).tags["champion_because"]


def files_of(home: Path, number: int) -> Path:
    """The folder that a version is served from."""
    (marked,) = (
        path
        for path in (home / "mlartifacts/models").glob("*/artifacts/artifacts/model/config.json")
        if json.loads(path.read_text())["seed"] == number
    )
    return marked.parents[2]


@pytest.mark.parametrize("lost", ["", "code"])
def test_a_champion_that_cannot_be_served_gives_way_to_any_other(
    home: Path, client: Any, trained: Callable[..., None], lost: str
):
    """Its files were removed by hand, or it was sent without its code: a lower score takes over."""
    trained(1, VAL_A, attributes_all_right=0.9)
    shutil.rmtree(files_of(home, 1) / lost)
    trained(2, VAL_A, attributes_all_right=0.1)
    assert champion(client).tags["attributes_all_right"] == "0.1"
    assert "can be served" in champion(client).tags["champion_because"]


def test_of_the_others_the_best_takes_the_place_of_a_lost_champion(
    home: Path, client: Any, trained: Callable[..., None]
):
    """On the champion's val data, and served; what is judged next must be better than that one."""
    trained(1, VAL_A, attributes_all_right=0.4)
    trained(2, VAL_A, attributes_all_right=0.6)
    trained(3, VAL_A, attributes_all_right=0.7)
    trained(4, VAL_A, attributes_all_right=0.65)
    for lost in (3, 4):
        shutil.rmtree(files_of(home, lost))
    trained(5, VAL_A, attributes_all_right=0.1)
    assert champion(client).tags["attributes_all_right"] == "0.6"
    assert (
        champion(client).tags["champion_because"] == "version 3, which was better, lost its files"
    )


def test_while_mlflow_does_not_say_who_is_champion_the_record_waits(
    home: Path,
    client: Any,
    leave: Any,
    weights: Weights,
    trained: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
):
    """A server that fails in between hands the alias to nobody."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    trained(1, VAL_A, attributes_all_right=0.9)
    digest = weights(2)
    leave("train", record_id="train2", outputs={"models/current": ""})
    inputs = {"models/current": digest, "data/shards": SHARDS}
    judged = {"inputs": inputs, "figures": {"metrics": {"attributes_all_right": 0.1}}}
    leave("evaluate", started="2026-01-03T04:00:00+00:00", **judged)

    def fail(*_: Any) -> None:
        raise MlflowException("503")

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "get_model_version_by_alias", fail)
        assert (1, 1) == (flush(home).sent, flush(home).waiting)
    assert champion(client).tags["attributes_all_right"] == "0.9"
    assert 1 == flush(home).sent


def test_another_stage_that_reads_the_model_judges_nothing(
    home: Path, client: Any, leave: Any, weights: Weights, trained: Callable[..., None]
):
    """Such as one that exports it: scores and alias stay."""
    trained(1, VAL_A, attributes_all_right=0.9)
    before = client.get_model_version(REGISTERED, "1").tags
    leave("export", inputs={"models/current": weights(1)}, figures={"files": 3})
    assert flush(home).sent == 1
    assert before == client.get_model_version(REGISTERED, "1").tags


def test_a_version_that_cannot_be_served_is_never_champion(
    home: Path, client: Any, leave: Any, weights: Weights, trained: Callable[..., None]
):
    """The only version loses its files: judged again, it loses the alias."""
    trained(1, VAL_A, attributes_all_right=0.9)
    shutil.rmtree(files_of(home, 1))
    judged(leave, home, weights(1), 2, attributes_all_right=0.95)
    assert CHAMPION not in client.get_registered_model(REGISTERED).aliases


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"size_px": "large"}, "size_px: Input should be a valid integer"),
        ({"autoencoder": {"width": 48, "levels": 3}}, "describes no model that this package knows"),
        ({"kind": ["cvae"]}, "describes no model that this package knows"),
        ({"version": 0}, "has version 0, this package reads 4"),
        ({"kind": "gan"}, "'gan' is none of"),
    ],
)
def test_weights_that_this_code_cannot_read_make_no_version(
    home: Path,
    client: Any,
    leave: Any,
    weights: Weights,
    caplog: pytest.LogCaptureFixture,
    changed: dict[str, Any],
    said: str,
):
    """A record that waited while the code changed arrives, and one line says to train again."""
    weights(1)
    config = home / "models/current/config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), **changed}))
    leave("train", outputs={"models/current": ""})
    assert flush(home).sent == 1
    assert [] == list(client.search_model_versions(f"name = '{REGISTERED}'"))
    (line,) = (line for line in caplog.messages if "no version is made" in line)
    assert said in line
    assert line.endswith("train again")


def test_a_null_score_gives_way_to_the_next(client: Any, trained: Callable[..., None]):
    """Without attributes (photographs) the match by CLIP decides."""
    trained(1, VAL_A, attributes_all_right=None, match=-0.7)
    trained(2, VAL_A, attributes_all_right=None, match=-0.9)
    assert champion(client).tags["val_match"] == "-0.7"


def judged(leave: Any, home: Path, digest: str, minute: int, **metrics: float | None) -> None:
    """Evaluate the version of these weights, and send the record."""
    inputs = {"models/current": digest, "data/shards": SHARDS}
    times = {"started": f"2026-01-03T04:{minute:02}:00+00:00", "record_id": f"again{minute}"}
    leave("evaluate", inputs=inputs, figures={"metrics": metrics}, **times)
    assert flush(home).sent == 1


def test_scores_of_an_earlier_judgement_go(
    home: Path, client: Any, leave: Any, weights: Weights, trained: Callable[..., None]
):
    """A version shows what its latest judgement measured, and the user's own tags."""
    trained(1, VAL_A, attributes_all_right=0.5, r_precision=0.7, psnr_db=20.0)
    client.set_model_version_tag(REGISTERED, "1", "my_note", "0.5")
    judged(leave, home, weights(1), 2, attributes_all_right=None, r_precision=0.6)
    tags = client.get_model_version(REGISTERED, "1").tags
    assert tags["r_precision"] == "0.6"
    assert not {"attributes_all_right", "psnr_db"} & tags.keys()
    assert tags["my_note"] == "0.5"
    assert tags["champion_because"] == "it was before it was judged again"
    judged(leave, home, weights(1), 1, r_precision=0.1)  # waited, and arrives after the later one
    assert client.get_model_version(REGISTERED, "1").tags["r_precision"] == "0.6"


ALONE = """
import importlib.util, sys
from pathlib import Path
sys.path = [p for p in sys.path if not (Path(p) / "bucolic").exists()]
sys.meta_path = [f for f in sys.meta_path if "editable" not in f"{f!r}{type(f).__module__}"]
assert importlib.util.find_spec("bucolic") is None
import mlflow
import pandas
model = mlflow.pyfunc.load_model(sys.argv[1])
answer = model.predict(pandas.DataFrame({"prompt": ["two cows"]}), params={"n": 2, "seed": 1})
import bucolic.generate
print(bucolic.generate.__file__)
print([picture[:8] for picture in answer[0]["pictures"]])
"""


def test_a_version_needs_no_package_of_our_name(home: Path, client: Any, leave: Any):
    """It brings its code and its CLIP: a process that cannot import ours draws with it."""
    from bucolic.models.cvae.config import AutoencoderConfig, PriorConfig
    from bucolic.models.cvae.model import Cvae
    from bucolic.models.store import write_model
    from bucolic.seeing.clip.config import ClipConfig
    from bucolic.seeing.clip.towers import load_towers

    clip = ClipConfig(model="meadow-clip")
    towers = load_towers(clip, "cpu")
    dim = towers.embed_texts(["a cow"]).shape[1]
    shapes = AutoencoderConfig(4, 16, 1, 1, 16), PriorConfig(32, 2, 16)
    about = {"clip": towers.provenance, "clip_config": clip.model_dump()}
    about["sampling"] = {"guidance": 2.0, "steps": 2}
    model = Cvae(*shapes, size_px=32, embed_dim=dim)
    write_model(home / "models/current", model, about, [])
    leave("train", outputs={"models/current": ""})
    assert flush(home).sent == 1
    (version,) = client.search_model_versions(f"name = '{REGISTERED}'")
    needed = mlflow_requirements(f"models:/{REGISTERED}/{version.version}")
    assert not [line for line in needed if line.startswith("bucolic") or "+" in line]
    done = subprocess.run(
        [sys.executable, "-c", ALONE, f"models:/{REGISTERED}/{version.version}"],
        cwd="/",
        env={**without_ours(), "MLFLOW_TRACKING_URI": f"sqlite:///{home}/mlflow.db"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    place, pictures = done.stdout.splitlines()[-2:]
    assert Path(place).is_relative_to(home / "mlartifacts")
    assert pictures == "['iVBORw0K', 'iVBORw0K']"  # how a PNG file begins in base64


def mlflow_requirements(uri: str) -> list[str]:
    """Packages that MLflow would install to serve a model."""
    import mlflow

    listed = mlflow.pyfunc.get_model_dependencies(uri)
    return Path(listed).read_text().splitlines()


def without_ours() -> dict[str, str]:
    """The environment without what makes this checkout importable."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def test_the_version_loads_and_draws(
    client: Any, trained: Callable[..., None], monkeypatch: pytest.MonkeyPatch
):
    """models:/bucolic-cvae@champion loads without pickle; n, seed and guidance reach the model."""
    import mlflow
    import pandas as pd
    from PIL import Image

    trained(1, VAL_A, attributes_all_right=0.5)
    fake = ModuleType("bucolic.generate")
    fake.Bucolic = FakeBucolic  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "bucolic.generate", fake)
    model = mlflow.pyfunc.load_model(f"models:/{REGISTERED}@{CHAMPION}")
    asked = pd.DataFrame({"prompt": ["a cow", "two sheep"]})
    answer = model.predict(asked, params={"n": 3, "seed": 7, "guidance": 1.5, "best_of": 4})
    assert [row["prompt"] for row in answer] == ["a cow", "two sheep"]
    assert [len(row["pictures"]) for row in answer] == [3, 3]
    picture = Image.open(io.BytesIO(base64.b64decode(answer[1]["pictures"][2])))
    assert np.asarray(picture)[0, 0].tolist() == [7, 15, 4]
    said = ("prompt", "seed", "guidance", "best_of")
    assert [picture.info[name] for name in said] == ["two sheep", "7", "1.5", "4"]
    assert picture.info["model_sha256"] == FakeBucolic.digests["model_sha256"]
    assert "AI-generated" in picture.info["Software"]
    files = list(Path(client._tracking_client.tracking_uri[10:]).parent.rglob("*"))
    assert not [path for path in files if path.suffix in {".pkl", ".pickle", ".pt"}]


def test_a_wrong_column_is_refused(client: Any, trained: Callable[..., None]):
    """The signature names the column `prompt`."""
    import mlflow
    import pandas as pd
    from mlflow.exceptions import MlflowException

    trained(1, VAL_A, attributes_all_right=0.5)
    fake = ModuleType("bucolic.generate")
    fake.Bucolic = FakeBucolic  # type: ignore[attr-defined]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "bucolic.generate", fake)
        model = mlflow.pyfunc.load_model(f"models:/{REGISTERED}@{CHAMPION}")
    with pytest.raises(MlflowException, match="prompt"):
        model.predict(pd.DataFrame({"text": ["a cow"]}))


class FakeBucolic:
    """Stands in for the trained model: its pictures tell the params it was given."""

    digests: ClassVar[dict[str, str]] = {"model_sha256": "5ee" * 20 + "dead"}

    @classmethod
    def from_pretrained(cls, folder: str) -> "FakeBucolic":
        """Check that the folder holds what a model folder holds, and nothing else."""
        assert sorted(p.name for p in Path(folder).iterdir()) == [
            "config.json",
            "model.safetensors",
        ]
        return cls()

    def generate(
        self, prompts: list[str], *, n: int, seed: int, guidance: float, best_of: int
    ) -> np.ndarray:
        """Pictures of one colour: seed, ten times guidance, best_of."""
        colour = np.array([seed, 10 * guidance, best_of], np.uint8)
        return np.broadcast_to(colour[None, None, :, None, None], (len(prompts), n, 3, 8, 8))
