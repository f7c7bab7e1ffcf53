"""One forward pass over a pack: the logits of the positions that are learned, and of no other.

A model whose attention isolates documents computes a pack as it is. Any other gets its documents side by side, each
padded on the right. Callers know packs only.

Shapes: D documents and T tokens of a pack, S supervised positions, V vocabulary, W width of a padded batch.
"""
# ruff: noqa: N803, N806 - names end in the letters of their shape

import inspect
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

if TYPE_CHECKING:
    from luthier.model.kernels.memory import Memory


class Packed(Protocol):
    """What a forward pass needs of a pack; `luthier.tokens.pack.Pack` says what each array holds."""

    @property
    def input_ids(self) -> NDArray[np.int64]:
        """Shape (T,)."""

    @property
    def position_ids(self) -> NDArray[np.int64]:
        """Shape (T,)."""

    @property
    def bounds(self) -> NDArray[np.int32]:
        """Shape (D + 1,), one more when there is filler."""

    @property
    def shared(self) -> NDArray[np.int32]:
        """Shape (D,)."""

    @property
    def predict_at(self) -> NDArray[np.int64]:
        """Shape (S,)."""

    @property
    def targets(self) -> NDArray[np.int64]:
        """Shape (S,)."""

    @property
    def document(self) -> NDArray[np.int64]:
        """Shape (S,)."""

    @property
    def documents(self) -> int:
        """D: what follows is filler."""

    @property
    def width(self) -> int:
        """W, at least the tokens of the longest document."""


class Batching(NamedTuple):
    """How the rows of a model go through it together."""

    way: Literal["packed", "padded"]
    """`packed`: one after another without padding. `padded`: side by side, those of like lengths together."""
    reason: str
    """What was measured, or why the model can't be packed."""
    turn: int | None = None
    """Documents of more tokens than this get other rotary angles, so they share no pass with shorter ones."""


@dataclass(frozen=True, slots=True)
class Documents:
    """A pack by its parts alone; `Packed` says what each is."""

    input_ids: NDArray[np.int64]
    position_ids: NDArray[np.int64]
    bounds: NDArray[np.int32]
    shared: NDArray[np.int32]
    predict_at: NDArray[np.int64]
    targets: NDArray[np.int64]
    document: NDArray[np.int64]
    documents: int
    width: int


def plain(model: Any) -> Any:
    """Return the Transformers model within a PEFT model, or the model itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def set_batching(model: Any, batching: Batching) -> None:
    """Write down how a model's rows are batched, once it has been probed."""
    plain(model).luthier_batching = batching


def batching(model: Any) -> Batching:
    """Return how a model's rows are batched; `luthier.model.load.load_model` found out."""
    found = getattr(plain(model), "luthier_batching", None)
    assert isinstance(found, Batching), "nobody probed this model: documents might see each other"
    return found


def precise(model: torch.nn.Module, precision: str) -> AbstractContextManager[object]:
    """Return the context in which a model computes: large products in `bf16` or `fp16`, by autocast, or as stored."""
    types = {"bf16": torch.bfloat16, "fp16": torch.float16}
    if precision in types:
        return torch.autocast(next(model.parameters()).device.type, dtype=types[precision])
    return nullcontext()


def supervised_logits(model: torch.nn.Module, pack: Packed) -> torch.Tensor:
    """Return the logits that predict the learned tokens: shape (S, V), in the dtype the model computes in."""
    way, _, turn = batching(model)
    logits = packed_logits if way == "packed" else padded_logits
    long_D = lengths(pack) > (np.inf if turn is None else turn)
    if long_D.all() or not long_D.any():
        return logits(model, pack)
    # Transformers chooses the angles of a whole pass by its longest document: a long one would change its neighbours.
    pack = unshared(pack)
    parts = [logits(model, _part(pack, chosen_D)) for chosen_D in (~long_D, long_D)]
    order_S = np.argsort(np.argsort(long_D[pack.document], kind="stable"))
    return torch.cat(parts)[torch.from_numpy(order_S).to(parts[0].device)]


def lengths(pack: Packed) -> NDArray[np.int64]:
    """Return the tokens of each document with what it shares, without filler: shape (D,)."""
    return np.diff(pack.bounds[: pack.documents + 1]).astype(np.int64) + pack.shared


def places(bounds: NDArray[Any], shared: NDArray[Any]) -> Iterator[NDArray[np.int64]]:
    """Yield where in a pack the tokens of each document stand: what it shares, where the one before has them."""
    found = np.zeros(0, dtype=np.int64)
    for start, end, common in zip(bounds[:-1], bounds[1:], shared, strict=True):
        found = np.concatenate([found[:common], np.arange(start, end)])
        yield found


def unshared(pack: Packed) -> Packed:
    """Return the pack with every document whole and without filler, the same supervised positions in the same order."""
    if not pack.shared.any():
        return pack
    bounds = np.concatenate([[0], np.cumsum(lengths(pack))])
    place_T = np.concatenate([*places(pack.bounds[: pack.documents + 1], pack.shared)])
    return Documents(
        input_ids=pack.input_ids[place_T],
        position_ids=pack.position_ids[place_T],
        bounds=bounds.astype(np.int32),
        shared=np.zeros_like(pack.shared),
        predict_at=bounds[pack.document] + pack.position_ids[pack.predict_at],
        targets=pack.targets,
        document=pack.document,
        documents=pack.documents,
        width=pack.width,
    )


def _part(pack: Packed, chosen_D: NDArray[np.bool_]) -> Documents:
    """Return some documents of a pack in which none shares anything, without filler."""
    whole_D = lengths(pack)
    chosen_T = np.repeat(chosen_D, whole_D)
    kept = whole_D[chosen_D]
    chosen_S = chosen_D[pack.document]
    return Documents(
        input_ids=pack.input_ids[: len(chosen_T)][chosen_T],
        position_ids=pack.position_ids[: len(chosen_T)][chosen_T],
        bounds=np.concatenate([[0], np.cumsum(kept)]).astype(np.int32),
        shared=np.zeros(len(kept), dtype=np.int32),
        predict_at=(np.cumsum(chosen_T) - 1)[pack.predict_at[chosen_S]],
        targets=pack.targets[chosen_S],
        document=(np.cumsum(chosen_D) - 1)[pack.document[chosen_S]],
        documents=len(kept),
        width=int(kept.max()),
    )


def packed_logits(model: torch.nn.Module, pack: Packed, memory: "Memory | None" = None) -> torch.Tensor:
    """Return the supervised logits of a model with packed attention: the head runs on the S positions alone.

    With a memory, the first document may share what an earlier pass kept in it.
    """
    device = next(model.parameters()).device
    keep_S = torch.from_numpy(pack.predict_at).to(device)
    remembered = {} if memory is None else {"memory": memory}
    logits: torch.Tensor = model(**packed_inputs(pack, device), logits_to_keep=keep_S, **remembered).logits
    return logits[0]


def packed_inputs(pack: Packed, device: torch.device) -> dict[str, Any]:
    """Return what a model with packed attention is called with: all documents in one row.

    `use_cache=False` is not a saving but a condition: with a cache, Transformers 5 takes the documents for one
    and they see each other.
    """
    filler = len(pack.bounds) - 1 - pack.documents
    return {
        "input_ids": torch.from_numpy(pack.input_ids)[None].to(device),
        "position_ids": torch.from_numpy(pack.position_ids)[None].to(device),
        "bounds": pack.bounds.tolist(),
        "shared": [*pack.shared.tolist(), *[0] * filler],
        "use_cache": False,
    }


def padded_logits(model: torch.nn.Module, pack: Packed) -> torch.Tensor:
    """Return the supervised logits of a model with its own attention or recurrence, a row for each document.

    Padding stands on the right: in a causal model nothing before it sees it. The head runs on the columns in which
    any document learns.
    """
    pack = unshared(pack)
    device = next(model.parameters()).device
    starts_D, ends_D = pack.bounds[: pack.documents].astype(np.int64), pack.bounds[1 : pack.documents + 1]
    lengths_D = ends_D - starts_D
    real_DW = np.arange(pack.width) < lengths_D[:, None]
    ids_DW = np.zeros(real_DW.shape, dtype=np.int64)
    ids_DW[real_DW] = pack.input_ids[: ends_D[-1]]
    row_S = pack.document
    column_S = pack.predict_at - starts_D[row_S]
    inputs: dict[str, Any] = {
        "attention_mask": torch.from_numpy(real_DW.astype(np.int64)).to(device),
        "position_ids": torch.arange(pack.width, device=device).expand(len(lengths_D), -1),
        "use_cache": False,
    }
    known = takes(model)
    if "logits_to_keep" in known:
        columns, column_S = np.unique(column_S, return_inverse=True)
        inputs["logits_to_keep"] = torch.from_numpy(columns).to(device)
    inputs = {name: value for name, value in inputs.items() if name in known}
    logits: torch.Tensor = model(input_ids=torch.from_numpy(ids_DW).to(device), **inputs).logits
    return logits[torch.from_numpy(row_S).to(device), torch.from_numpy(column_S).to(device)]


def takes(model: Any) -> frozenset[str]:
    """Return what an architecture's forward pass takes by name: recurrent ones take no positions."""
    return _parameters(type(plain(model)).forward)


@cache
def _parameters(forward: Callable[..., Any]) -> frozenset[str]:
    return frozenset(inspect.signature(forward).parameters)


def supervised_nll(model: torch.nn.Module, pack: Packed, *, smoothing: float = 0.0) -> torch.Tensor:
    """Return the negative log-likelihood of each learned token, in nats: shape (S,), float32.

    With `smoothing`, this share of the target's probability is spread evenly over the vocabulary.
    """
    logits = supervised_logits(model, pack)
    targets = torch.from_numpy(pack.targets).to(logits.device)
    return functional.cross_entropy(logits.float(), targets, reduction="none", label_smoothing=smoothing)
