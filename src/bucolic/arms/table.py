"""What is compared: trainings, arms, and the questions that the differences between arms answer.

An arm is a training and what it is asked with. All arms share pictures, autoencoder, budgets, noise
and prompts; their decoder sees no embedding. So nothing differs but p(z|c) and its condition.
"""

from dataclasses import dataclass

IMAGE, RAW, SHIFT, RIDGE, MLP, FLOW = "image", "none", "shift", "ridge", "mlp", "flow"
FITTED = (SHIFT, RIDGE, MLP, FLOW)  # text priors that learn something of train


@dataclass(frozen=True)
class Training:
    """What p(z|c) is conditioned on while it is trained.

    Attributes:
        name: one letter.
        title: as people say it.
        text_share: share of rows conditioned on a caption, the others on the picture itself.
        centred: whether embeddings are taken less their modality's mean.
        noisy: whether pictures' embeddings get noise as large as what a prompt leaves open.
    """

    name: str
    title: str
    text_share: float
    centred: bool
    noisy: bool = False


@dataclass(frozen=True)
class Arm:
    """A training, and how prompts reach it.

    Attributes:
        training: its name.
        prompt: a rung of the ladder from texts to pictures, see models/text_priors.py; or "image",
            the test picture's own embedding in place of the prompt's.
        draws: embeddings that a rung draws, of which the one most like the prompt is taken.
    """

    training: str
    prompt: str
    draws: int = 0

    @property
    def name(self) -> str:
        """Short and unique."""
        return f"{self.training}-{self.prompt}"


@dataclass(frozen=True)
class Question:
    """A claim that one arm is better than another."""

    claim: str
    better: str
    worse: str


TRAININGS = {
    training.name: training
    for training in (
        Training("T", "captions", 1.0, centred=False),
        Training("I", "pictures", 0.0, centred=False),
        Training("N", "pictures, centred, with noise", 0.0, centred=True, noisy=True),
        Training("M", "half pictures, half mapped captions", 0.5, centred=True),
    )
}
PROMPTS = {
    RAW: "raw text",
    SHIFT: "text, means exchanged",
    RIDGE: "text through ridge",
    MLP: "text through an MLP",
    FLOW: "text through a flow, better of 2",
    IMAGE: "the test picture itself",
}
ARMS = (
    Arm("T", RAW),
    Arm("I", RAW),
    Arm("I", SHIFT),
    Arm("N", SHIFT),
    Arm("N", RIDGE),
    Arm("N", MLP),
    Arm("N", FLOW, draws=2),
    Arm("M", RIDGE),
    Arm("I", IMAGE),
    Arm("N", IMAGE),
)
QUESTIONS = (
    Question(
        "dl-fp: raw text into a model of pictures beats training on captions", "I-none", "T-none"
    ),
    Question("unCLIP: a prior from text to picture beats training on captions", "N-flow", "T-none"),
    Question("unCLIP: a prior beats raw text in the picture's place", "N-flow", "I-none"),
    Question("a linear prior beats training on captions", "N-ridge", "T-none"),
    Question("exchanging means beats raw text", "I-shift", "I-none"),
    Question("a linear prior beats exchanging means", "N-ridge", "N-shift"),
    Question("an MLP beats the linear prior", "N-mlp", "N-ridge"),
    Question("a flow beats the linear prior", "N-flow", "N-ridge"),
    Question("mapped captions in training, too, beat the linear prior alone", "M-ridge", "N-ridge"),
    Question("mapped captions in training, too, beat training on captions", "M-ridge", "T-none"),
)
