"""The models that are compared, how each reads, and opening them one after the other."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from luthier.core.endpoint import Endpoint
from luthier.core.errors import ModelError
from luthier.core.key import Key
from luthier.core.progress import Progress
from luthier.evaluate.gguf import GgufFile
from luthier.evaluate.reading import Reading
from luthier.evaluate.remote import Remote
from luthier.evaluate.subject import Loaded, Setting, Subject
from luthier.model.adapters import lora
from luthier.model.llamacpp import known_tokens
from luthier.model.load import load_model, load_tokenizer, stop_ids, stored_as
from luthier.model.new_tokens import ids_of
from luthier.model.quantised import Quantised

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Local:
    """A model on this machine: a folder with a whole model, or with an adapter and the base it goes on."""

    told: str
    """As the user named it."""
    path: Path
    base: Path | None = None
    """Of an adapter, the folder of its base."""

    @staticmethod
    def of(told: str, path: Path, base: Path) -> "Local":
        """Return what lies in a folder.

        Raises:
            ModelError: Neither an adapter nor a model.
        """
        if (path / "adapter_config.json").is_file():
            return Local(told, path, base)
        if (path / "config.json").is_file():
            return Local(told, path)
        raise ModelError(
            "this folder holds neither an adapter nor a model",
            hint="name the folder that training wrote: it holds adapter_config.json or config.json",
            place=str(path),
        )

    @property
    def home(self) -> Path:
        """Return the folder its tokenizer and template are in."""
        # Not `tokenizer.json`: older models have vocab.json and merges.txt instead, and the template that was trained
        # with stands in the tuned folder all the same.
        own = self.base is None or (self.path / "tokenizer_config.json").is_file()
        return self.path if own or self.base is None else self.base

    @property
    def stops(self) -> set[int]:
        """Return the ids that end its answers, by its own files and its base's."""
        return {*stop_ids(self.path), *(stop_ids(self.base) if self.base else ())}


@dataclass(frozen=True, slots=True)
class Served:
    """A model behind an OpenAI-compatible endpoint."""

    told: str
    url: str
    model: str
    """Its name on the server."""
    key: Key | None = None


@dataclass(frozen=True, slots=True)
class Gguf:
    """A GGUF file on this machine."""

    told: str
    path: Path


Candidate = Local | Served | Gguf


def names(count: int) -> list[str]:
    """Return what so many models are called in reports: `base`, `tuned`, `tuned_2` and so on."""
    return ["base", "tuned", *(f"tuned_{number}" for number in range(2, count))][:count]


def readings(candidates: Sequence[Candidate]) -> list[Reading | None]:
    """Return how each model reads: all with the tokens of the first tuned one as that does, any other as itself.

    A model without files reads nowhere here: None.
    """
    local = [one for one in [*candidates[1:], candidates[0]] if isinstance(one, Local)]
    if not local:
        return [None] * len(candidates)
    first = Reading(local[0].home)
    found: list[Reading | None] = []
    for one in candidates:
        if isinstance(one, Gguf):
            found.append(first if first.has(dict(enumerate(known_tokens(one.path)))) else None)
            continue
        if not isinstance(one, Local):
            found.append(None)
            continue
        read = first if first.fits(one.home, one.base or one.path) else Reading(one.home)
        read.stops |= one.stops
        found.append(read)
    return found


def each(
    candidates: Sequence[Candidate],
    reads: Sequence[Reading | None],
    setting: Setting,
    progress: Progress,
    measure: Callable[[Subject], Found],
) -> list[Found]:
    """Return what is measured of each model. The weights of two are never in memory together.

    An adapter goes on the base that is open, where it is the one it needs: so base and adapter share their weights.
    """
    found: list[Found] = []
    needs = [_need(one, read) for one, read in zip(candidates, reads, strict=True)]
    # The base of an adapter is measured in as many bits as it had in training.
    needs[0] = next((need for need in needs[1:] if need and needs[0] and need.path == needs[0].path), needs[0])
    bare: tuple[Need, Any] | None = None
    for name, one, read, need in zip(names(len(candidates)), candidates, reads, needs, strict=True):
        if isinstance(one, Served):
            with Endpoint(one.url, key=one.key) as endpoint:
                found.append(measure(Remote(name, endpoint, one.model, setting, progress)))
            continue
        if isinstance(one, Gguf):
            bare, vocabulary = None, len(known_tokens(one.path))
            found.append(measure(GgufFile(name, one.path, read, vocabulary, setting, progress)))
            continue
        assert read is not None
        assert need is not None
        if bare is None or bare[0] != need:
            bare = None  # before the next is loaded
            bare = need, need.load(setting)
        if one.base is not None:
            # Not switched off and on: its biases would stay. So the base was measured before, and can't be after it.
            model, bare = with_adapter(bare[1], one.path), None
            found.append(measure(Loaded(name, model, read, setting, progress)))
            del model
        else:
            found.append(measure(Loaded(name, bare[1], read, setting, progress)))
    return found


@dataclass(frozen=True, slots=True)
class Need:
    """Weights to be loaded."""

    path: Path
    quantised: Quantised | None
    new_ids: tuple[int, ...]
    """Tokens to have rows for besides."""

    def load(self, setting: Setting) -> Any:
        """Return the model."""
        dtype = stored_as(setting.precision)
        return load_model(self.path, dtype=dtype, quantised=self.quantised, new_ids=self.new_ids)


def _need(one: Candidate, read: Reading | None) -> Need | None:
    if not isinstance(one, Local) or read is None:
        return None
    new_ids = ids_of(one.path) or ids_of(read.home)
    if one.base is None:
        return Need(one.path, None, () if _knows(one.path, new_ids) else new_ids)
    return Need(one.base, Quantised.of(one.path), new_ids)


def _knows(path: Path, new_ids: Sequence[int]) -> bool:
    """Return whether a whole model has rows for tokens that training added: those it learned must stay as they are."""
    if not new_ids or not (path / "tokenizer_config.json").is_file():
        return not new_ids
    return {*new_ids} <= {*load_tokenizer(path).get_vocab().values()}


def with_adapter(base: Any, folder: Path) -> Any:
    """Return the base with the adapter on it; one that fits in part is as wrong as one that doesn't."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="Found missing adapter keys")
            return lora.load(base, folder)
    except (OSError, ValueError, KeyError, RuntimeError, UserWarning) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(
            f"the adapter can't be put on this base ({reason})",
            hint="name the base it was trained on, and check that adapter_model.safetensors is whole",
            place=str(folder),
        ) from error
