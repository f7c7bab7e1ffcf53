"""Models that score a whole text: a linear layer, `score`, over the hidden state of its last token.

Such a model is what Transformers calls `…ForSequenceClassification`: a reward model has one score, a classifier one
for each class. Up to the head it is a causal model, and goes over packs and padded batches as one.

Shapes: D documents and S supervised positions of a pack, H hidden size, K scores.
"""
# ruff: noqa: N806 - names end in the letters of their shape

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from luthier.core.errors import ModelError
from luthier.core.files import write_json
from luthier.model.companions import json_object
from luthier.model.forward import Documents, Packed, plain, supervised_logits

NAME = "score"
"""The head's name in every causal architecture of Transformers, and in PEFT's files."""

SUFFIX = "ForSequenceClassification"
"""How Transformers names an architecture with such a head."""


@dataclass(frozen=True, slots=True)
class Head:
    """What stands on a model in place of its vocabulary."""

    classes: tuple[str, ...]
    """Names of the classes, in the order of their numbers; empty for the one score of a reward model."""
    pad: int
    """The token that fills rows up where others compute the model: no text may end in it."""
    seed: int
    """Of the weights of a new head."""

    @property
    def scores(self) -> int:
        """Return K."""
        return len(self.classes) or 1

    def accept(self, config: Any, place: str) -> None:
        """Refuse a model whose own head, by its config, gives other scores than these.

        Raises:
            ModelError: It does.
        """
        own = tuple(config.id2label[number] for number in sorted(config.id2label))
        if len(own) != self.scores or (self.classes and own != self.classes):
            wanted = f"the classes {_listed(self.classes)}" if self.classes else "one score"
            raise ModelError(
                f"this model has a head of its own, for {_listed(own)}, and {wanted} should be learned",
                hint="start from the model without a head, or from one with the same classes",
                place=place,
            )

    def put_into(self, config: Any) -> None:
        """Write the head into a model's config, as Transformers reads it."""
        if self.classes:
            config.id2label = dict(enumerate(self.classes))
            config.label2id = {name: number for number, name in enumerate(self.classes)}
        else:
            config.num_labels = 1
        config.get_text_config().pad_token_id = self.pad

    def draw(self, model: Any) -> None:
        """Give a model's head new weights, a function of the seed alone: normal, as wide as the architecture's own."""
        weight = getattr(model, NAME).weight
        deviation = getattr(model.config.get_text_config(), "initializer_range", 0.02)
        drawn = torch.normal(0.0, deviation, weight.shape, generator=torch.Generator().manual_seed(self.seed))
        with torch.no_grad():
            weight.copy_(drawn)


def kept(folder: Path) -> Head | None:
    """Return the head that a trained folder tells of in its config.json; None where it tells of none.

    Of an adapter the config stands beside it: PEFT's own doesn't name the classes.
    """
    about = json_object(folder / "config.json")
    if not str((about.get("architectures") or [""])[0]).endswith(SUFFIX):
        return None
    names = {int(number): str(name) for number, name in about["id2label"].items()}
    pad = about.get("text_config", about)["pad_token_id"]
    return Head(tuple(names[number] for number in sorted(names)) if len(names) > 1 else (), pad, seed=0)


def describe(model: Any, base: Path, folder: Path) -> None:
    """Write the config.json of a model with a head into a folder: the base's, with the head's keys."""
    config, about = plain(model).config, json_object(base / "config.json")
    about |= {
        "architectures": config.architectures,
        "id2label": {str(number): name for number, name in config.id2label.items()},
        "label2id": dict(config.label2id),
    }
    about.get("text_config", about)["pad_token_id"] = config.get_text_config().pad_token_id
    write_json(folder / "config.json", about)


def headed(model: Any) -> bool:
    """Return whether a model has a head that scores texts."""
    return str((plain(model).config.architectures or [""])[0]).endswith(SUFFIX)


def set_padding(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write the token that fills rows up into the tokenizer of a folder, so that others use the one of the config."""
    pad = plain(model).config.get_text_config().pad_token_id
    file = folder / "tokenizer_config.json"
    if pad != tokenizer.pad_token_id:
        write_json(file, {**json_object(file), "pad_token": tokenizer.convert_ids_to_tokens(pad)})


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names[:5]) + (" …" if len(names) > 5 else "")


def padding(tokenizer: Any, ends: Iterable[int]) -> int:
    """Return a token to fill rows with: the tokenizer's own, or else the first special token, that no text ends in.

    Transformers takes the last token that is not padding for the end of a text. Where a text ends in the padding
    token itself (it often is the stop token), it would read the score of another place.

    Args:
        tokenizer: The model's.
        ends: The last token of each text.
    """
    ending = set(ends)
    special = (tokenizer.pad_token_id, tokenizer.unk_token_id, tokenizer.bos_token_id, *tokenizer.all_special_ids)
    for token in (*special, *range(len(tokenizer))):
        if token is not None and token not in ending:
            return int(token)
    raise ModelError("every token ends a text, so none can fill rows up", hint="choose a template with a stop token")


class States:
    """A model read before its head: what it calls logits are the hidden states that the head sees, (S, H)."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def __call__(self, *, logits_to_keep: torch.Tensor | None = None, **inputs: Any) -> SimpleNamespace:
        """Return `logits`, shape (rows, positions, H): of all positions, or of those to keep."""
        inner = self.get_base_model()
        states: torch.Tensor = getattr(inner, inner.base_model_prefix)(**inputs).last_hidden_state
        return SimpleNamespace(logits=states if logits_to_keep is None else states[:, logits_to_keep])

    def get_base_model(self) -> Any:
        """Return the Transformers model."""
        return plain(self.model)

    def get_input_embeddings(self) -> Any:
        """Return the model's embeddings."""
        return self.get_base_model().get_input_embeddings()

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        """Yield the model's parameters."""
        yield from self.model.parameters()

    @property
    def dtype(self) -> torch.dtype:
        """Return the type of its weights."""
        dtype: torch.dtype = self.get_base_model().dtype
        return dtype


def scores(model: Any, pack: Packed) -> torch.Tensor:
    """Return the scores of each document, read at its last token: shape (D, K), float32.

    Args:
        model: A model of `luthier.model.load.load_scorer`, adapters on or off.
        pack: Its documents; those of a pair may share what they begin with.
    """
    last_D = pack.bounds[1 : pack.documents + 1].astype(np.int64) - 1
    at_ends = Documents(
        input_ids=pack.input_ids,
        position_ids=pack.position_ids,
        bounds=pack.bounds,
        shared=pack.shared,
        predict_at=last_D,
        targets=pack.input_ids[last_D],  # of no use to a head
        document=np.arange(pack.documents),
        documents=pack.documents,
        width=pack.width,
    )
    before_head: Any = States(model)
    states_DH = supervised_logits(before_head, at_ends)
    # In bfloat16 two scores of about 8 could not differ by less than 1/32.
    with torch.autocast(states_DH.device.type, enabled=False):
        found: torch.Tensor = getattr(plain(model), NAME)(states_DH.float())
    return found
