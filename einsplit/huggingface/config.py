"""config.json -> Config: what a file says of a model, read as data and checked before anything is made of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from einsplit.errors import EinsplitError, type_text

FILE = "config.json"
MAX_FILE_BYTES = 4 * 2**20
MAX_DEPTH = 20  # of objects and arrays inside one another
# The largest whole number that says a size: the longest contexts have 10,485,760 positions.
MAX_SIZE = 2**26
# The largest numbers of what is made one by one, by a word in the key: the deepest models have a few hundred layers.
MAX_LAYERS = 2000
_COUNTED = {
    **dict.fromkeys(("layer", "layers", "blocks", "depth", "depths", "stages"), MAX_LAYERS),
    "labels": 10**6,
}
# Keys whose numbers are no sizes: frequencies of rotary embeddings, and labels' names by number.
_NO_SIZES = ("theta", "base", "id2label", "label2id")
_DTYPES = ("dtype", "torch_dtype")

# What a config may say, and is not done: here with the words for it.
_IGNORED = {
    "auto_map": "the model's own code is not run, but that of the installed transformers",
    "trust_remote_code": "no code from elsewhere is run",
    "quantization_config": "the model is planned with weights of one dtype",
}
# What chooses between implementations of one model, names places on a disk or in a network, or is told by --dtype.
_DROPPED = (
    "_attn_implementation",
    "_attn_implementation_internal",
    "_commit_hash",
    "_experts_implementation",
    "_experts_implementation_internal",
    "_name_or_path",
    "attn_implementation",
    "experts_implementation",
    "name_or_path",
    *_DTYPES,
)


class ConfigError(EinsplitError, ValueError):
    """A config.json that does not say what model to plan, or a use of it that the model does not have."""


@dataclass(frozen=True, slots=True)
class Config:
    """What a config file says."""

    path: str
    model_type: str
    architectures: tuple[str, ...]  # names of classes, the first of which the weights belong to
    dtype: str | None  # of the weights
    fields: dict[str, object]  # all else, for the class of its model_type
    ignored: tuple[str, ...] = ()  # what is left out, a line each
    has_own_code: bool = False


def read_config(path: str) -> Config:
    """The config in a JSON file, or in the config.json of a folder. Raises ConfigError, with the place in the file."""
    file = Path(path)
    try:
        if file.is_dir():
            file = file / FILE
        with open(file, "rb") as opened:
            data = opened.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        advice = f"Give a model's {FILE}, or the folder that it is in; nothing is downloaded."
        raise ConfigError(f"there is no file {str(file)!r}", advice) from None
    except (OSError, ValueError) as error:  # ValueError: a name with a null character
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{file} cannot be read: {reason}") from error
    if len(data) > MAX_FILE_BYTES:
        raise ConfigError(f"{file} is too large: a config has at most {MAX_FILE_BYTES:,} bytes")
    return decode_config(data, str(file))


def decode_config(data: bytes, place: str) -> Config:
    """A Config from JSON bytes. Raises ConfigError."""
    try:
        found = json.loads(data, object_pairs_hook=_once)
    except ConfigError as error:
        raise ConfigError(f"{place}: {error.mistake}", *error.remarks) from None
    except RecursionError:
        raise ConfigError(f"{place}: objects inside one another, more than {MAX_DEPTH} deep") from None
    except ValueError as error:  # not UTF-8, not JSON, a number of thousands of digits
        raise ConfigError(f"{place} is not JSON: {error}", f"Give the {FILE} of a model.") from None
    if not isinstance(found, dict):
        raise ConfigError(f"{place} holds {_json_text(found)}, not an object", f"Give the {FILE} of a model.")
    mistake = next(_faults(found, "$", 0), None)
    if mistake is not None:
        raise ConfigError(f"{place}: {mistake}")
    model_type = found.get("model_type")
    if not isinstance(model_type, str) or not model_type:
        said = "no model_type" if model_type is None else f"{_json_text(model_type)} for a model_type"
        raise ConfigError(f"{place} has {said}", 'It names the kind of model, as in "model_type": "llama".')
    architectures = found.get("architectures") or []
    if not isinstance(architectures, list) or not all(isinstance(name, str) for name in architectures):
        raise ConfigError(f"{place}: architectures is {_json_text(architectures)}, not an array of names")
    dtype = next((found[key] for key in _DTYPES if found.get(key) is not None), None)
    return Config(
        path=place,
        model_type=model_type,
        architectures=tuple(architectures),
        dtype=dtype.removeprefix("torch.") if isinstance(dtype, str) else None,
        fields={key: _kept(value) for key, value in found.items() if _is_kept(key)},
        ignored=tuple(f"{key} is ignored: {why}" for key, why in _IGNORED.items() if found.get(key)),
        has_own_code=bool(found.get("auto_map")),
    )


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object of JSON. Raises ConfigError where a key stands twice: readers differ in which one they take."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ConfigError(f"the key {twice!r} stands twice in one object", "Leave one of them.")
    return found


def _is_kept(key: str) -> bool:
    return key not in _IGNORED and key not in _DROPPED and key not in ("model_type", "architectures")


def _kept(value: object) -> object:
    """A field without what is ignored, in the configs of a model's parts too; those keep their model_type."""
    if isinstance(value, dict):
        return {key: _kept(part) for key, part in value.items() if key == "model_type" or _is_kept(key)}
    return [_kept(part) for part in value] if isinstance(value, list) else value


def _faults(value: object, place: str, depth: int, is_size: bool = True) -> Iterator[str]:
    """What no model has: sizes that would fill any memory, layers that would take hours to make."""
    if depth > MAX_DEPTH:
        yield f"objects inside one another, more than {MAX_DEPTH} deep"
    elif isinstance(value, (dict, list)):
        parts = value.items() if isinstance(value, dict) else enumerate(value)
        for key, part in parts:
            sized = is_size and not any(word in str(key).lower() for word in _NO_SIZES)
            inside = f"{place}.{key}" if isinstance(value, dict) else f"{place}[{key}]"
            yield from _faults(part, inside, depth + 1, sized)
    elif isinstance(value, int) and not isinstance(value, bool) and is_size:
        words = place.lower().rpartition(".")[2].partition("[")[0].split("_")
        most = min((_COUNTED[word] for word in words if word in _COUNTED), default=MAX_SIZE)
        if abs(value) > most:
            yield f"{place} is {_number_text(value)}, and at most {most:,} is planned"


def _number_text(value: int) -> str:
    return f"{value:,}" if abs(value) < 10**18 else f"a number of {len(str(abs(value)))} digits"


def _json_text(value: object) -> str:
    return json.dumps(value)[:60] if not isinstance(value, (dict, list)) else type_text(value)
