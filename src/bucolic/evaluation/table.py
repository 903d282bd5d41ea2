"""The metrics, and the arms whose pictures are measured, each declared once.

From this table follow the figures of evaluate.json, DVC's headline, rows and columns of the report,
the grid of bounds, and, held to it by a test, README's list. It imports
no metric: whoever shows figures needs no numpy.
"""

from dataclasses import dataclass
from typing import Literal

Better = Literal["higher is better", "lower is better", "nearer to 1 is better"]
Of = Literal["prompts", "reconstructions", "pictures"]


@dataclass(frozen=True)
class Metric:
    """One figure.

    Attributes:
        name: its key in evaluate.json.
        label: what people call it.
        better: its direction.
        meaning: one sentence.
        of: where it applies: to pictures beside their prompts; to those that stand for a test image
            pixel by pixel; or to pictures whatever was asked for.
        function: `module:name`; takes a `scores.Sitting` and returns figures, this one and parts of
            it under dotted names.
        decimals: shown.
        is_headline: whether DVC compares runs by it.
        parts: the dotted name under which it returns parts, which the report shows below it; ""
            for none.
    """

    name: str
    label: str
    better: Better
    meaning: str
    of: Of
    function: str
    decimals: int = 3
    is_headline: bool = False
    parts: str = ""


@dataclass(frozen=True)
class Arm:
    """A set of pictures that is judged: the model's, or a bound of what can be reached.

    Attributes:
        name: its key below `bounds` in evaluate.json; the model's stand under `metrics`, those of
            the best of its draws under `best_of`.
        label: of its column in the report.
        caption: of its row in the grid of bounds; "" where it is not shown there.
        rebuilt: the arm whose pictures stand for the test image pixel by pixel; "" for none.
        of_held_out: whether it is also judged on the combinations that training never showed.
    """

    name: str
    label: str
    caption: str = ""
    rebuilt: str = ""
    of_held_out: bool = False

    @property
    def place(self) -> str:
        """Where its figures stand in evaluate.json."""
        places = {MODEL: "metrics", BEST_OF: BEST_OF}
        return places.get(self.name, f"bounds.{self.name}")

    @property
    def held_out_place(self) -> str:
        """Where those on held-out combinations do."""
        return HELD_OUT if self.name == MODEL else f"{HELD_OUT}.{self.place}"


MODEL = "model"
BEST_OF = "best_of"
HELD_OUT = "heldout_combinations"
RECONSTRUCTION = "decode_from_posterior"
ARMS = (
    Arm("real", "Test image", "test image", of_held_out=True),
    Arm(RECONSTRUCTION, "Its reconstruction", "its reconstruction", rebuilt=RECONSTRUCTION),
    # The model is credited with the reconstructions of its own networks.
    Arm(MODEL, "Model", "drawn from the prompt", rebuilt=RECONSTRUCTION, of_held_out=True),
    # Of a prompt's draws the one that the conditioning CLIP finds nearest, as unCLIP keeps one.
    Arm(BEST_OF, "Best of its draws", of_held_out=True),
    Arm("retrieval", "Nearest training image", "nearest training image", of_held_out=True),
    Arm("shuffled_prompts", "Shuffled prompts"),
    Arm("mean_image", "Mean image", "mean training image", rebuilt="mean_image"),
)

SCORES = "bucolic.evaluation.scores"
METRICS = (
    Metric(
        name="attributes_all_right",
        label="All attributes right",
        better="higher is better",
        meaning="Share of prompts with every stated attribute seen in the picture.",
        of="prompts",
        function=f"{SCORES}:attributes_all_right",
        is_headline=True,
    ),
    Metric(
        name="attribute_accuracy",
        label="Attribute accuracy",
        better="higher is better",
        meaning="Mean of the accuracies of species, count and colour, where a prompt states them.",
        of="prompts",
        function=f"{SCORES}:attribute_accuracy",
        is_headline=True,
        parts="attributes",
    ),
    Metric(
        name="r_precision",
        label="R-precision",
        better="higher is better",
        meaning=(
            "Share of pictures nearer to their own prompt than to 99 that contradict it, up to 10 "
            "of them in one fact; by a CLIP of its own where there is one."
        ),
        of="prompts",
        function=f"{SCORES}:r_precision",
        is_headline=True,
    ),
    Metric(
        name="r_precision_own_clip",
        label="R-precision by its own CLIP",
        better="higher is better",
        meaning="The same by the CLIP that the model is conditioned on, which flatters it.",
        of="prompts",
        function=f"{SCORES}:r_precision_own_clip",
    ),
    Metric(
        name="clip_similarity",
        label="CLIP similarity",
        better="higher is better",
        meaning="Mean cosine of a picture's embedding with its prompt's.",
        of="prompts",
        function=f"{SCORES}:similarity",
        is_headline=True,
    ),
    Metric(
        name="psnr_db",
        label="Reconstruction PSNR, dB",
        better="higher is better",
        meaning="Test images through the autoencoder and back.",
        of="reconstructions",
        function=f"{SCORES}:psnr",
        decimals=2,
    ),
    Metric(
        name="ssim",
        label="Reconstruction SSIM",
        better="higher is better",
        meaning="The same, by local structure; 1 is equal.",
        of="reconstructions",
        function=f"{SCORES}:likeness",
    ),
    Metric(
        name="sharpness_ratio",
        label="Sharpness ratio",
        better="nearer to 1 is better",
        meaning="Energy of fine detail, generated over real.",
        of="pictures",
        function=f"{SCORES}:sharpness",
        is_headline=True,
    ),
    Metric(
        name="kid",
        label="KID",
        better="lower is better",
        meaning="Distance of generated from other real pictures; 0 is expected of real ones.",
        of="pictures",
        function=f"{SCORES}:distance",
        decimals=4,
        is_headline=True,
    ),
    Metric(
        name="fid",
        label="FID",
        better="lower is better",
        meaning="Fréchet distance by the judge; compare it with the test images' own at this n.",
        of="pictures",
        function=f"{SCORES}:frechet",
        decimals=4,
    ),
    Metric(
        name="cmmd",
        label="CMMD",
        better="lower is better",
        meaning="Distance of means, nearly, by the judge; unbiased. It does not see repetition.",
        of="pictures",
        function=f"{SCORES}:cmmd_distance",
    ),
    Metric(
        name="density",
        label="Density",
        better="higher is better",
        meaning="How far generated pictures lie among real ones; 1 is expected of real ones.",
        of="pictures",
        function=f"{SCORES}:density",
    ),
    Metric(
        name="coverage",
        label="Coverage",
        better="higher is better",
        meaning="Share of real pictures with a generated one among their neighbours.",
        of="pictures",
        function=f"{SCORES}:coverage",
    ),
)


def names(*of: Of) -> tuple[str, ...]:
    """Names of the metrics that apply to what is asked for, or of all."""
    return tuple(metric.name for metric in METRICS if not of or metric.of in of)
