"""The models that are compared, and opening them one after the other."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from luthier.core.errors import ModelError
from luthier.core.progress import Progress
from luthier.evaluate.subject import Loaded, Setting, Subject
from luthier.model.adapters import lora
from luthier.model.load import load_model, load_tokenizer, stop_ids, stored_as
from luthier.model.new_tokens import ids_of
from luthier.model.quantised import Quantised
from luthier.recipe.methods import Rows
from luthier.tokens.render import Renderer

RENAMED = 0.01
"""Share of the tokens that may have other names in another model: reserved ones often get some."""

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model to be measured: a folder with a whole model, or with an adapter and the base it goes on."""

    told: str
    """As the user named it."""
    path: Path
    base: Path | None = None
    """Of an adapter, the folder of its base."""

    @staticmethod
    def of(told: str, path: Path, base: Path) -> "Candidate":
        """Return what lies in a folder.

        Raises:
            ModelError: Neither an adapter nor a model.
        """
        if (path / "adapter_config.json").is_file():
            return Candidate(told, path, base)
        if (path / "config.json").is_file():
            return Candidate(told, path)
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


class Reading:
    """A tokenizer with its chat template: how rows become tokens.

    Args:
        home: The folder they are in.
        stops: Ids that end an answer, beside the tokenizer's own.
    """

    def __init__(self, home: Path, stops: Sequence[int]) -> None:
        self.home = home
        self.stops = sorted({*stops})
        self.tokenizer = load_tokenizer(home)

    def renderer(self, rows: Rows, learn: str = "assistant") -> Renderer:
        """Return what makes tokens of some kind of rows."""
        return Renderer(self.tokenizer, self.stops, learn=learn, rows=rows, place=str(self.home))

    def accept(self, other: Path) -> None:
        """Refuse a model to whom the same number is another token: it would read nonsense.

        Raises:
            ModelError: More than `RENAMED` of the tokens are others.
        """
        if other == self.home or not (other / "tokenizer_config.json").is_file():
            return
        known = {number: token for token, number in load_tokenizer(other).get_vocab().items()}
        tokens = self.tokenizer.get_vocab()
        others = sum(known.get(number, token) != token for token, number in tokens.items())
        if others > RENAMED * len(tokens):
            raise ModelError(
                f"{others:,} of {len(tokens):,} tokens are others to the base: perplexity per token can't be compared "
                "over different vocabularies",
                hint="compare models that share one tokenizer",
                place=str(other),
            )


def reading(base: Candidate, tuned: Candidate) -> Reading:
    """Return how both models read: as the tuned one does."""
    found = Reading(tuned.home, [*stop_ids(base.path), *stop_ids(tuned.path)])
    found.accept(base.path)
    return found


def each(
    base: Candidate,
    tuned: Candidate,
    renderer: Renderer,
    setting: Setting,
    progress: Progress,
    measure: Callable[[Subject], Found],
) -> list[Found]:
    """Return what is measured of each model, the base first. The weights of two are never in memory together."""
    dtype, new_ids = stored_as(setting.precision), ids_of(tuned.path)

    def measured(name: str, model: Any) -> Found:
        return measure(Loaded(name, model, renderer, setting, progress))

    if tuned.base is None:
        return [
            measured("base", load_model(base.path, dtype=dtype, new_ids=new_ids)),
            measured("tuned", load_model(tuned.path, dtype=dtype)),
        ]
    model = load_model(base.path, dtype=dtype, quantised=Quantised.of(tuned.path), new_ids=new_ids)
    first = measured("base", model)  # before the adapter is on it: switched off, its biases would stay
    return [first, measured("tuned", with_adapter(model, tuned.path))]


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
