"""Which weights a config means, and what is said of those that cannot be had."""

import errno
from pathlib import Path
from urllib.error import HTTPError, URLError

import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from bucolic.base.errors import BucolicError, ParamsError, TransientError
from bucolic.base.files import file_digest
from bucolic.seeing.clip.checkpoint import loading_error, weights_digest, weights_of
from bucolic.seeing.clip.config import ClipConfig
from bucolic.seeing.clip.shipped import MEADOW_CLIP

TAGGED = ClipConfig(model="ViT-B-32", pretrained="laion2b_s34b_b79k")


def test_meadow_clip_always_means_its_own_weights():
    """A tag left over from another model does not stand in the way of the shipped weights."""
    config = ClipConfig(model="meadow-clip", pretrained="laion2b_s34b_b79k")
    assert str(MEADOW_CLIP.weights) == weights_of(config)
    assert "some_tag" == weights_of(ClipConfig(model="ViT-B-32", pretrained="some_tag"))


@pytest.mark.parametrize("stated", [None, "0" * 64])
def test_a_weights_file_is_taken_only_with_its_digest(tmp_path: Path, stated: str | None):
    """Params name the content of a local file, so that other content runs the stages anew."""
    path = tmp_path / "weights.pt"
    path.write_bytes(b"weights")
    config = ClipConfig(model="ViT-B-32", pretrained=str(path), pretrained_sha256=stated)
    with pytest.raises(ParamsError, match=f"pretrained_sha256.*{file_digest(path)}"):
        weights_digest(config, None)
    right = config.model_copy(update={"pretrained_sha256": file_digest(path)})
    assert file_digest(path) == weights_digest(right, None)


def test_a_weights_file_is_found_from_any_folder_of_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A relative name means a file below the project's root, wherever a verb is called."""
    (tmp_path / "dvc.yaml").touch()
    (tmp_path / "weights.pt").touch()
    (tmp_path / "notes").mkdir()
    monkeypatch.chdir(tmp_path / "notes")
    config = ClipConfig(model="ViT-B-32", pretrained="weights.pt")
    assert str(tmp_path / "weights.pt") == weights_of(config)


@pytest.mark.parametrize(
    ("bottom", "kind"),
    [
        (ConnectionResetError("reset by peer"), TransientError),
        (URLError("name or service not known"), TransientError),
        (HTTPError("http://hub", 503, "slow down", None, None), TransientError),
        (HTTPError("http://hub", 429, "too many", None, None), TransientError),
        (HTTPError("http://hub", 408, "too slow", None, None), TransientError),
        (HTTPError("http://hub", 404, "not found", None, None), ParamsError),
        (HTTPError("http://hub", 401, "who are you", None, None), ParamsError),
        (LocalEntryNotFoundError("not on this disk"), TransientError),
        (OSError(errno.ENOSPC, "full"), TransientError),
        (ValueError("size mismatch"), ParamsError),
    ],
)
def test_a_hub_that_is_away_is_told_from_wrong_params(bottom: Exception, kind: type[BucolicError]):
    """An outage may pass and is worth another try, however deep open_clip has wrapped it."""
    error = RuntimeError("Failed to download weights")
    error.__context__ = bottom
    assert kind is type(loading_error(TAGGED, error))


def test_a_disk_that_is_full_while_weights_arrive_is_told_so():
    """It is not the hub that is away."""
    error = RuntimeError("Failed to download weights")
    error.__context__ = OSError(errno.ENOSPC, "full", "weights.part")
    assert "no space left at weights.part: free some" in str(loading_error(TAGGED, error))
