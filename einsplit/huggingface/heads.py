"""What a model ends in, and so what its loss reads: one row for each kind of head.

A row names a mapping of `transformers` from classes of configs to classes of models. Of the models that a model_type
has, the one that `architectures` names is taken, or else the first in the order of the rows: BERT fills in words
before it continues them, and Whisper writes down what it hears.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from einsplit.errors import did_you_mean
from einsplit.huggingface.config import Config, ConfigError
from einsplit.huggingface.inputs import Make, classes, ids, spans

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel


@dataclass(frozen=True, slots=True)
class Head:
    """One kind of model."""

    auto: str  # the class that makes models of this kind, an attribute of `transformers` as is the mapping
    mapping: str
    labels: Make | None = None  # what a loss reads besides; None where there is none
    same: bool = False  # the ids are the labels, too: each is to be found from those before it

    @property
    def has_loss(self) -> bool:
        return self.labels is not None or self.same


HEADS = (
    Head("AutoModelForSeq2SeqLM", "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING", ids("labels")),
    Head("AutoModelForSpeechSeq2Seq", "MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING", ids("labels")),
    Head("AutoModelForMaskedLM", "MODEL_FOR_MASKED_LM_MAPPING", ids("labels")),
    Head("AutoModelForCausalLM", "MODEL_FOR_CAUSAL_LM_MAPPING", same=True),
    Head("AutoModelForImageClassification", "MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING", classes),
    Head("AutoModelForSequenceClassification", "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING", classes),
    Head("AutoModelForTokenClassification", "MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING", ids("labels")),
    Head("AutoModelForQuestionAnswering", "MODEL_FOR_QUESTION_ANSWERING_MAPPING", spans),
    Head("AutoModel", "MODEL_MAPPING"),
)

Found = tuple[Head, type["PreTrainedModel"]]


def head_of(config: Config, made: PreTrainedConfig) -> Found:
    """The head, and the class of the model. Raises ConfigError for a model that no row has, with those that one has."""
    found = list(_heads(type(made)))
    known = {kind.__name__: (head, kind) for head, kind in reversed(found)}
    if config.architectures and config.architectures[0] in known:
        return known[config.architectures[0]]
    names = sorted(known)
    if config.architectures:
        name = config.architectures[0]
        near = did_you_mean(name, names) or (f"Planned of {config.model_type}: {' '.join(names)}." if names else "")
        raise ConfigError(f"{config.path}: no model {name!r} of {config.model_type} is planned from its config", near)
    if not found:
        raise ConfigError(f"{config.path}: no model of {config.model_type} is planned from its config")
    return found[0]


def _heads(kind: type[PreTrainedConfig]) -> Iterator[Found]:
    import transformers

    for head in HEADS:
        mapping = getattr(transformers, head.mapping)
        if kind in mapping:
            models = mapping[kind]
            for model in models if isinstance(models, (list, tuple)) else (models,):
                yield head, model
