"""Where a data set comes from: a folder in COCO layout, COCO's servers, or the drawn Meadow.

`dataset.root` names a folder. With a source.json in it, the files are fetched:

- kind "coco": addresses, sizes and sha256 of the annotation archive, and for each source split the
  address of a single image (with a {file_name} field) and the archive of all of them. A single
  image has no digest, so what was promised over https is not taken over http, unless the split
  says `"allow_http": true`;
- kind "meadow": the seed and the counts the package draws its scenes from.

Without one, the folder itself holds annotations/, train2017/ and perhaps val2017/.
"""

import json
from itertools import product
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from bucolic.base.errors import DataError
from bucolic.base.section import Section
from bucolic.data.coco import (
    KINDS,
    SOURCE_SPLITS,
    SourceSplit,
    annotation_file,
    present_splits,
    require_train,
)
from bucolic.data.json_file import read_json
from bucolic.data.names import ImageAddress
from bucolic.fetching.fetch import RemoteFile
from bucolic.fetching.http import is_downgrade

SOURCE_FILE = "source.json"


class DatasetConfig(Section):
    """Where the data set is.

    Attributes:
        root: folder of the data set, absolute or relative to the project.
    """

    root: str = Field(min_length=1)


class ImageSource(Section):
    """Where the images of one source split are: one by one, all in one archive, or both.

    Attributes:
        urls: addresses of a single image, tried in order; {file_name} stands for its quoted name.
        archive: all images of the split.
        allow_http: whether an http address may stand in for an https one, or be led to by it.
    """

    urls: tuple[ImageAddress, ...] = ()
    archive: RemoteFile | None = None
    allow_http: bool = False

    @property
    def trusted_urls(self) -> tuple[str, ...]:
        """The addresses that are used: none over http after one over https."""
        return tuple(
            url
            for place, url in enumerate(self.urls)
            if self.allow_http or not any(is_downgrade(b, url) for b in self.urls[:place])
        )


class Estimate(Section):
    """How much a theme will choose, as far as one can say before the annotations are there.

    Attributes:
        images: that it chooses.
        captions: theirs.
        captions_read: of all images, which filter searches.
        theme: which theme that is.
    """

    images: int = Field(ge=1)
    captions: int = Field(ge=1)
    captions_read: int = Field(ge=1)
    theme: str


class CocoSource(Section):
    """A data set on a server, in COCO's official layout."""

    kind: Literal["coco"]
    annotations: RemoteFile
    images: dict[SourceSplit, ImageSource]
    estimate: Estimate | None = None


class MeadowSource(Section):
    """Scenes drawn by the package: the seed, and how many of each kind.

    Attributes:
        seed: seed of every random choice.
        train: scenes of train2017.
        val: scenes of val2017 with the training distribution.
        heldout: scenes of val2017 with the combinations that train2017 never shows.
    """

    kind: Literal["meadow"]
    seed: int = Field(ge=0)
    train: int = Field(ge=1)
    val: int = Field(ge=1)
    heldout: int = Field(ge=0)


class FolderSource(Section):
    """A local folder in COCO layout."""

    kind: Literal["folder"]
    folder: str


Source = CocoSource | MeadowSource | FolderSource
_FETCHED: TypeAdapter[CocoSource | MeadowSource] = TypeAdapter(
    Annotated[CocoSource | MeadowSource, Field(discriminator="kind")]
)


def require_digested(root: Path, folder: Path) -> None:
    """Refuse a folder of the data set that is a link out of it, or lies behind one.

    DVC follows links to files, and `root` itself may be one, but into a linked folder it does not
    look: a change there would go unseen.

    Raises:
        DataError: with what to put in the link's place.
    """
    if folder.resolve().is_relative_to(root.resolve()):
        return
    link = next(place for place in (folder, *folder.parents) if place.is_symlink())
    raise DataError(
        f"{link} is a link out of the data set, and DVC sees no change behind it: "
        f"put links to the files in its place: rm {link} && cp -rs {link.resolve()} {link}"
    )


def check_source(root: Path) -> None:
    """Refuse at once what the stages would refuse in a data set before they read its records.

    Raises:
        DataError: see `read_source` and `annotations_folder`; or captions of train2017 are missing,
            an annotation file is none, or the folder of a split's images is a link out of it.
    """
    if not isinstance(read_source(root), FolderSource):
        return
    folder = annotations_folder(root)
    paths = {split: annotation_file(folder, "captions", split) for split in present_splits(folder)}
    require_train({split: str(path) for split, path in paths.items()})
    for kind, split in product(KINDS, SOURCE_SPLITS):
        path = annotation_file(folder, kind, split)
        if path.exists() and not path.is_file():
            raise DataError(f"{path} is no file: mend it, or dataset.root in params.yaml")
    for split in paths:
        require_digested(root, root / split)


def annotations_folder(root: Path) -> Path:
    """ROOT/annotations of a data set in COCO layout.

    Raises:
        DataError: it is missing, or a link out of the data set.
    """
    folder = root / "annotations"
    if not folder.is_dir():
        raise DataError(f"{folder} is missing: a data set in COCO layout holds annotations/")
    require_digested(root, folder)
    return folder


def read_source(root: Path) -> Source:
    """Read what `dataset.root` points at.

    Raises:
        DataError: the folder is missing, or its source.json cannot be used.
    """
    if not root.is_dir():
        raise DataError(f"dataset.root: {root} is not a folder: mend the path in params.yaml")
    path = root / SOURCE_FILE
    if not path.exists():
        return FolderSource(kind="folder", folder=str(root))
    content = read_json(path)
    try:
        return _FETCHED.validate_json(json.dumps(content))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part != "[key]") or "kind"
        raise DataError(f"{path}: {where}: {first['msg']}") from None
