"""The `tracking` section of params.yaml, which no stage reads: what it says reruns nothing."""

from bucolic.config import Section


class TrackingConfig(Section):
    """What MLflow is shown.

    Attributes:
        photographs: show pictures of the data set while training, beside what the model makes of
            them. Those of drawn data sets are always shown, and what is drawn from a prompt alone.
    """

    photographs: bool = False
