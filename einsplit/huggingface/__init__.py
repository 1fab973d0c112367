"""Models of Hugging Face's `transformers` from their config.json alone: no weights, no network, nobody's code.

A config is data: JSON within limits, whose `model_type` is looked up in the registry of the installed `transformers`.
The model is made on torch's meta device, where a parameter has a shape and no memory.
"""

from einsplit.huggingface.config import Config, ConfigError, read_config
from einsplit.huggingface.workload import DTYPES, OPTIMIZERS, Workload

__all__ = ["DTYPES", "OPTIMIZERS", "Config", "ConfigError", "Workload", "read_config"]
