"""Who is on the jury: the CLIP that models are conditioned on, a probe, and a judge of its own."""

from bucolic.base.errors import ParamsError
from bucolic.data.attributes import Attributes
from bucolic.seeing.clip.config import ClipConfig
from bucolic.seeing.clip.shipped import MEADOW_CLIP, MEADOW_JUDGE
from bucolic.seeing.clip.towers import Towers, load_towers
from bucolic.seeing.jury import Jury
from bucolic.seeing.probe import load_probe


def summoned(
    clip: ClipConfig, judge: ClipConfig | None, attributes: Attributes | None, device: str
) -> Jury:
    """The jury of a data set.

    Args:
        clip: of the models.
        judge: another one; None: for drawn scenes the one that ships in the package, and for
            photographs none.
        attributes: what the scenes truly show, where the data set says so; the probe then looks.
        device: where they compute.

    Raises:
        ParamsError: the judge is the CLIP that models are conditioned on.
    """
    towers = load_towers(clip, device)
    drawn = attributes is not None
    other = MEADOW_CLIP if clip.model == MEADOW_JUDGE.name else MEADOW_JUDGE
    chosen = judge or (ClipConfig(model=other.name) if drawn else None)
    judging = None if chosen is None else load_towers(chosen, device)
    _require_another(judging, towers)
    return Jury(towers, load_probe() if drawn else None, judging)


def _require_another(judge: Towers | None, towers: Towers) -> None:
    digest = "weights_sha256"
    if judge is not None and judge.provenance[digest] == towers.provenance[digest]:
        raise ParamsError("evaluate.judge is the CLIP of the section clip: name another, or none")
