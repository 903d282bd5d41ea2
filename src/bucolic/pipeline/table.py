"""The stages, each declared once.

From this table follow the verbs of the command line, the sections of params.yaml, the rows of the
report, what tracking does, and, held to it by a test, dvc.yaml and README's table. Nothing here
imports a stage: what a verb needs is loaded when it runs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bucolic.base.loading import loaded
from bucolic.base.places import dataset_root

if TYPE_CHECKING:
    from bucolic.base.report import Summary
    from bucolic.base.runtime import Runtime
    from bucolic.pipeline.params import Params

DATASET = "dataset.root"  # among ins: the data set's folder, as params.yaml names it
ANNOTATIONS = "data/annotations"
SELECTION = "data/selection.parquet"
ATTRIBUTION = "data/attribution"
IMAGES = "data/images"
EMBEDDINGS = "data/embeddings"
SHARDS = "data/shards"
MODEL = "models/current"
CURVES = "reports/curves"
SAMPLING = "reports/sampling.json"
VERDICTS = "reports/verdicts.parquet"
PICTURES = "reports/figures"
HEADLINE = "reports/metrics.json"

OF_DATASET = {"dataset": "bucolic.fetching.source:DatasetConfig"}
OF_FILTER = {"filter": "bucolic.stages.filter:FilterConfig"}
OF_SHARD = {"shard": "bucolic.stages.shard:ShardConfig"}
OF_CLIP = {"clip": "bucolic.seeing.clip.config:ClipConfig"}
OF_MODEL = {"model": "bucolic.models.config:ModelConfig"}


@dataclass(frozen=True)
class Declared:
    """A stage: `bucolic.stages.NAME` holds its function and the class of its own section.

    Attributes:
        name: of its module, of its verb, and in dvc.yaml.
        help: what it does, in one line.
        function: called with the ins and outs in their order, its own section as `config`, other
            sections by their names but the data set's, and a `runtime`; it returns a Summary.
        ins: what it reads.
        outs: what it writes.
        sections: of params.yaml, each with the place of its class.
        keys: of some sections, those alone that it depends on; they stand in params.yaml, since
            DVC knows no defaults.
        shown: outs beside these that are written from what the function returns.
        streams: whether its curves go to MLflow while it runs.
        reads_originals: whether it reads the files that data/images names.
        has_engine: whether an engine works on its items, see base/engine.py; twice the images take
            twice as long.
        on_device: whether it computes on the device.
        shareable_by: place of what says how many processes can share its work, called with the
            most there might be and the sections; none where only one can do it.
    """

    name: str
    help: str
    function: str
    ins: tuple[str, ...]
    outs: tuple[str, ...]
    sections: Mapping[str, str]
    keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    shown: tuple[str, ...] = ()
    streams: bool = False
    reads_originals: bool = False
    has_engine: bool = False
    on_device: bool = False
    shareable_by: str = ""

    @property
    def params(self) -> list[str]:
        """What it depends on in params.yaml, as dvc.yaml lists it."""
        names = list[str]()
        for section in self.sections:
            keys = self.keys.get(section)
            names += [f"{section}.{key}" for key in keys] if keys else [section]
        return names

    def run(
        self,
        params: "Params",
        runtime: "Runtime",
        root: Path,
        outs: tuple[str, ...] | None = None,
    ) -> "Summary":
        """Call the function in the project `root`, which is the working directory.

        Args:
            params: all of params.yaml.
            runtime: device and places.
            root: the project.
            outs: places in those of `self.outs`.
        """
        if self.reads_originals:
            loaded("bucolic.pipeline.lost_originals:get_again")(params, runtime, root)
        dataset = dataset_root(root, params.dataset.root)
        ins = [dataset if path == DATASET else Path(path) for path in self.ins]
        function = loaded(f"bucolic.stages.{self.name}:{self.function}")
        given = self._given(params)
        summary: Summary = function(*ins, *map(Path, outs or self.outs), **given, runtime=runtime)
        return summary

    def processes(self, params: "Params", limit: int) -> int:
        """How many processes, `limit` at most, can share its work."""
        if not self.shareable_by:
            return 1
        count: int = loaded(self.shareable_by)(limit, **self._given(params))
        return count

    def _given(self, params: "Params") -> dict[str, Any]:
        return {
            "config" if name == self.name else name: getattr(params, name)
            for name in self.sections
            if name not in OF_DATASET
        }


def _own(stage: str, config: str) -> dict[str, str]:
    return {stage: f"bucolic.stages.{stage}:{config}"}


STAGES = (
    Declared(
        name="annotations",
        help="Fetch the annotation files, verify and unpack them.",
        function="get_annotations",
        ins=(DATASET,),
        outs=(ANNOTATIONS,),
        sections={**OF_DATASET, **OF_FILTER},
        keys={"filter": ("categories",)},
    ),
    Declared(
        name="filter",
        help="Choose images by words in their captions, and split them.",
        function="select_images",
        ins=(ANNOTATIONS,),
        outs=(SELECTION, ATTRIBUTION),
        sections=OF_FILTER,
    ),
    Declared(
        name="images",
        help="Fetch the chosen images alone, check each one, keep originals and squares.",
        function="get_images",
        ins=(DATASET, SELECTION),
        outs=(IMAGES,),
        has_engine=True,
        sections={**_own("images", "ImagesConfig"), **OF_DATASET, **OF_SHARD},
    ),
    Declared(
        name="embed",
        help="Embed images and captions with CLIP, computing only what is new.",
        function="embed",
        ins=(SELECTION, IMAGES),
        outs=(EMBEDDINGS,),
        has_engine=True,
        on_device=True,
        reads_originals=True,
        sections={**OF_CLIP, **OF_SHARD},
        keys={"shard": ("crop",)},
    ),
    Declared(
        name="shard",
        help="Pack squares, captions and vectors as WebDataset, equal pictures in one split.",
        function="shard",
        ins=(SELECTION, IMAGES, EMBEDDINGS),
        outs=(SHARDS,),
        has_engine=True,
        reads_originals=True,
        sections=OF_SHARD,
    ),
    Declared(
        name="train",
        help="Train the model, phase by phase; go on when killed.",
        function="train",
        ins=(SHARDS, ANNOTATIONS),
        outs=(MODEL, CURVES, SAMPLING),
        sections={**OF_MODEL, **_own("train", "TrainConfig")},
        streams=True,
        on_device=True,
        shareable_by="bucolic.training.build:shareable_by",
    ),
    Declared(
        name="evaluate",
        help="Judge the model on held-out prompts, each figure between its bounds.",
        function="evaluate",
        ins=(MODEL, SHARDS, ANNOTATIONS),
        outs=(VERDICTS,),
        on_device=True,
        sections={**_own("evaluate", "EvaluateConfig"), **OF_CLIP},
        shown=(PICTURES, HEADLINE),
    ),
)
NAMES = tuple(stage.name for stage in STAGES)
LAST = STAGES[-1]


def named(name: str) -> Declared:
    """The stage of that name."""
    return next(stage for stage in STAGES if stage.name == name)
