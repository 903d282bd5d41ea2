"""What is compared: trainings, arms, and the claims that the differences between arms answer.

An arm is a training and what it is asked with. All arms share pictures, autoencoder, budgets, noise
and prompts; their decoder sees no embedding. So nothing differs but p(z|c) and its condition. A
claim sets two arms apart in one thing, or says in what.
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
        captions: the rung that captions come through; of RAW nothing is centred, pictures neither.
        noisy: whether pictures' embeddings get noise, up to as much as a prompt leaves open.
    """

    name: str
    title: str
    text_share: float
    captions: str
    noisy: bool = False

    @property
    def centred(self) -> bool:
        """Whether embeddings are taken less their modality's mean."""
        return self.captions != RAW


@dataclass(frozen=True)
class Arm:
    """A training, and how prompts reach it.

    Attributes:
        training: its name.
        prompt: a rung of the ladder from texts to pictures, see models/text_priors.py; or "image",
            the test picture's own embedding in place of the prompt's.
        draws: embeddings that a rung draws, of which the one most like the prompt is taken; 0 takes
            the expected one. Of centred trainings alone.
    """

    training: str
    prompt: str
    draws: int = 0

    @property
    def name(self) -> str:
        """Short and unique."""
        drawn = f"-{self.draws}" if self.draws else ""
        return f"{self.training}-{self.prompt}{drawn}"

    @property
    def title(self) -> str:
        """What it is asked with, as people say it."""
        return PROMPTS[self.prompt] + (f", better of {self.draws}" if self.draws else "")


@dataclass(frozen=True)
class Question:
    """A claim that one arm is better than another."""

    claim: str
    better: str
    worse: str


TRAININGS = {
    training.name: training
    for training in (
        Training("T", "captions, raw", 1.0, RAW),
        Training("C", "captions, centred", 1.0, SHIFT),
        Training("I", "pictures, raw", 0.0, RAW),
        Training("N", "pictures, centred, with noise", 0.0, RIDGE, noisy=True),
        Training("M", "half of those, half captions through ridge", 0.5, RIDGE, noisy=True),
    )
}
PROMPTS = {
    RAW: "text, raw",
    SHIFT: "text, means exchanged",
    RIDGE: "text through ridge",
    MLP: "text through an MLP",
    FLOW: "text through a flow",
    IMAGE: "the test picture itself",
}
ARMS = (
    Arm("T", RAW),
    Arm("C", SHIFT),
    Arm("I", RAW),
    Arm("I", SHIFT),
    Arm("I", RIDGE),
    Arm("N", SHIFT),
    Arm("N", RIDGE),
    Arm("N", MLP),
    Arm("N", FLOW),
    Arm("N", FLOW, draws=2),
    Arm("M", RIDGE),
    Arm("I", IMAGE),
    Arm("N", IMAGE),
)
QUESTIONS = (
    Question("dl-fp: raw text into a model of pictures beats one of captions", "I-none", "T-none"),
    Question("unCLIP: a prior beats raw text into a model of pictures", "I-ridge", "I-none"),
    Question("unCLIP: pictures and a prior beat captions, both raw", "I-ridge", "T-none"),
    Question("the same, both centred, pictures with noise", "N-ridge", "C-shift"),
    Question("exchanging means beats raw text", "I-shift", "I-none"),
    Question("ridge beats exchanging means", "I-ridge", "I-shift"),
    Question("the same, of the model trained with noise", "N-ridge", "N-shift"),
    Question("centring and noise in training help text through ridge", "N-ridge", "I-ridge"),
    Question("an MLP beats ridge", "N-mlp", "N-ridge"),
    Question("a flow's expected embedding beats ridge's", "N-flow", "N-ridge"),
    Question("the better of two draws beats the expected embedding", "N-flow-2", "N-flow"),
    Question("captions through ridge in training, too, help", "M-ridge", "N-ridge"),
    Question("and beat captions alone", "M-ridge", "C-shift"),
)
OF_ORIGINAL = Question(
    "of dl-fp's own model, one seed: trained on pictures beats on captions",
    "dlfp-image",
    "dlfp-text",
)
