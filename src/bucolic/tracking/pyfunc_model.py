"""The trained model as MLflow serves it: prompts in, PNG pictures out.

MLflow stores this file itself and runs it when it loads the model (models-from-code), so nothing is
pickled; the weights are safetensors in the artifact `model`.
"""

import base64
from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.protos import databricks_pb2
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from bucolic.base.errors import BucolicError

# An error's kind as MLflow's, which answers 400 and 503 over HTTP; other kinds are a 500.
CODES = {
    "params": databricks_pb2.INVALID_PARAMETER_VALUE,
    "transient": databricks_pb2.TEMPORARILY_UNAVAILABLE,
}


class PromptToPictures(PythonModel):
    """Draws `n` pictures for each row of a column `prompt`.

    The answer is a list of {"prompt": text, "pictures": [PNG file in base64, ...]}, one a row.
    Params: n, seed, guidance, steps, best_of; guidance and steps default to what was chosen on val.
    """

    def load_context(self, context: PythonModelContext) -> None:
        """Load the weights once."""
        from bucolic.generate import Bucolic  # noqa: PLC0415 - torch, when a model is loaded

        self.model = Bucolic.from_pretrained(context.artifacts["model"])

    def predict(
        self,
        context: PythonModelContext,  # noqa: ARG002 - MLflow's signature
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> list[dict[str, Any]]:
        """Draw the pictures.

        Raises:
            MlflowException: bucolic's own sentence on a request that cannot be answered.
        """
        # MLflow turns the null of {"inputs": [null]} into this text.
        prompts: list[Any] = [None if p == "None" else p for p in model_input["prompt"]]
        chosen = {name: value for name, value in (params or {}).items() if value is not None}
        try:
            drawn = self.model.generate(prompts, **chosen)
        except BucolicError as error:
            code = CODES.get(error.kind, databricks_pb2.INTERNAL_ERROR)
            raise MlflowException(str(error), code) from None
        asked = {"seed": 0, "best_of": 1} | {k: v for k, v in chosen.items() if k != "n"}
        return [
            {"prompt": prompt, "pictures": [self._png(each, prompt, asked) for each in pictures]}
            for prompt, pictures in zip(prompts, drawn, strict=True)
        ]

    def _png(self, picture: np.ndarray, prompt: str, asked: dict[str, Any]) -> str:
        """A uint8 [3, s, s] RGB array as a PNG file in base64 that says where it comes from."""
        from bucolic.showing.pictures import origin_of, png_of  # noqa: PLC0415 - once drawn

        return base64.b64encode(
            png_of(picture, prompt, origin_of(asked, self.model.digests))
        ).decode()


set_model(PromptToPictures())
