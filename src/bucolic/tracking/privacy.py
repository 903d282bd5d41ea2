"""Whether pictures of the data set may appear in MLflow."""

from pathlib import Path

from bucolic.base.errors import BucolicError
from bucolic.base.places import dataset_root
from bucolic.fetching.source import MeadowSource, read_source
from bucolic.pipeline.params import load_params


def may_show_pictures(root: Path) -> bool:
    """Whether the data set of the workspace `root` is drawn, or its params allow photographs."""
    try:
        params = load_params(root)
        if params.tracking.photographs:
            return True
        source = read_source(dataset_root(root, params.dataset.root))
    except BucolicError:
        return False
    return isinstance(source, MeadowSource)
