"""Getting originals again that are lost from the store, before a stage that reads them.

DVC keeps the index of the originals, and what is in the cache may be deleted at the cost of time.
"""

import logging
import tempfile
from pathlib import Path

from bucolic.base.errors import DataError
from bucolic.base.runtime import Runtime
from bucolic.data.images import iterate_index
from bucolic.data.original_store import OriginalStore
from bucolic.pipeline.params import Params
from bucolic.pipeline.table import IMAGES, named

logger = logging.getLogger(__name__)


def get_again(params: Params, runtime: Runtime, root: Path) -> None:
    """Run the images stage once more where files of its index are lost; its result stays.

    Raises:
        DataError: the data set has no longer the files that the index names.
        TransientError: they could not be fetched now.
    """
    store = OriginalStore(runtime.cache)
    lost = store.lost(iterate_index(Path(IMAGES)))
    if not lost:
        return
    logger.warning(
        "originals are lost from .cache, %d in all, first that of image %d: getting them again",
        len(lost),
        lost[0].image_id,
    )
    runtime.work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=runtime.work) as folder:
        named("images").run(params, runtime, root, outs=(f"{folder}/images",))
    if still := store.lost(iterate_index(Path(IMAGES))):
        raise DataError(
            f"{len(still)} originals are lost, first of image {still[0].image_id}, and the data "
            "set has others now: dvc repro --force images"
        )
