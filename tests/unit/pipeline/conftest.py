"""Fixtures: a fresh toy project per test (see toy_project.py)."""

import shutil
import sys
from pathlib import Path

import pytest

from toy_project import DVC_YAML, IGNORED, PARAMS_YAML, STAGE_PY, call


@pytest.fixture(scope="session")
def toy_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy project as it is committed, nothing run yet."""
    root = tmp_path_factory.mktemp("toy") / "template"
    (root / "photos").mkdir(parents=True)
    (root / "photos" / "one.txt").write_text("a photograph that Git ignores\n")
    dvc_yaml = DVC_YAML.replace("python stage.py", f"{sys.executable} stage.py")
    (root / "dvc.yaml").write_text(dvc_yaml)
    (root / "params.yaml").write_text(PARAMS_YAML)
    (root / "stage.py").write_text(STAGE_PY)
    (root / ".gitignore").write_text(IGNORED)
    call(root, "git", "init", "-q", "-b", "main")
    call(root, "git", "config", "user.name", "toy")
    call(root, "git", "config", "user.email", "toy@localhost")
    call(root, "dvc", "init", "-q")
    (root / ".dvcignore").write_text(".work\norders\n")
    call(root, "git", "add", "-A")
    call(root, "git", "commit", "-q", "-m", "toy")
    return root


@pytest.fixture
def toy(toy_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh toy project, nothing run yet, and HOME in it."""
    root = tmp_path / "project"
    shutil.copytree(toy_template, root, symlinks=True)
    (root / "orders").mkdir()
    monkeypatch.setenv("TOY_ORDERS", str(root / "orders"))
    monkeypatch.delenv("BUCOLIC_HOME", raising=False)
    return root
