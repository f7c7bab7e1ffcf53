"""Log-probabilities of the model before training: computed once, kept in the run, in shards that a kill can't tear.

They are taken before a technique is attached, so they are those of the base whatever learns, and training needs no
second model. A shard is one safetensors file whose metadata name what it rests on and the hash of its numbers.

Shapes: R rows.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from luthier.core.errors import Failed
from luthier.core.files import digest, write_bytes
from luthier.core.progress import Progress
from luthier.model.forward import batching, precise
from luthier.model.generate import without_dropout
from luthier.recipe.plan import Plan
from luthier.tokens.render import Encoded
from luthier.train.objectives.likelihood import log_p
from luthier.train.objectives.objective import Objective, Refers
from luthier.train.parallel import World

SHARD = 1024
"""Examples of a shard: what a kill may cost."""


@dataclass(frozen=True, slots=True)
class Before:
    """The model before training, and where its log-probabilities are kept."""

    model: Any
    folder: Path
    key: str
    """Hash of all that the numbers depend on; a shard with another is computed again, as a damaged one is."""
    plan: Plan
    world: World
    progress: Progress

    def bound(self, objective: Objective, rows: Sequence[Encoded], split: str) -> Objective:
        """Return the objective with what it compares with on these rows; itself where it compares with nothing."""
        if not isinstance(objective, Refers):
            return objective
        logp = {
            kind: self.log_p(objective, texts, Path(split) / kind) for kind, texts in objective.referred(rows).items()
        }
        return objective.bind(rows, logp)

    def log_p(self, objective: Objective, rows: Sequence[Encoded], place: Path) -> NDArray[np.float32]:
        """Return log p(learned tokens) of each row, in nats: shape (R,); computed as far as it isn't kept yet.

        The objective's own way to packs is used, so that a pair's prompt is computed once here too.

        Raises:
            Failed: The first of several processes keeps its files where this one doesn't see them.
        """
        key = digest([self.key, str(place)])
        examples = len(rows) // objective.texts
        parts = {
            self.folder / place / f"{start // SHARD:05d}.safetensors": range(start, min(start + SHARD, examples))
            for start in range(0, examples, SHARD)
        }
        self.world.from_first(lambda: self._complete(objective, rows, parts, key))
        found = [_stored(shard, key) for shard in parts]
        if any(part is None for part in found):
            raise Failed(
                "log-probabilities that another process wrote can't be read", hint="all must see the same files"
            )
        return np.concatenate([np.zeros(0, np.float32), *(part for part in found if part is not None)])

    def _complete(self, objective: Objective, rows: Sequence[Encoded], parts: dict[Path, range], key: str) -> None:
        self.progress.start("reference", len(rows) // objective.texts, "example")
        for shard, members in parts.items():
            for left in shard.parent.glob(f".{shard.name}.*.tmp"):  # by a process that was killed while it wrote
                left.unlink()
            if _stored(shard, key) is None:
                part = self._compute(objective, rows, members)
                write_bytes(shard, save({"logp": part}, {"key": key, "sha256": _hash(part)}))
            self.progress.update(members.stop)
        self.progress.end()

    def _compute(self, objective: Objective, rows: Sequence[Encoded], members: range) -> NDArray[np.float32]:
        first, texts = members.start * objective.texts, objective.texts
        logp = np.zeros(len(members) * texts, dtype=np.float32)
        padded = batching(self.model).way == "padded"
        with torch.no_grad(), without_dropout(self.model), precise(self.model, self.plan.precision):
            for pack in objective.collate(rows, members, self.plan.pack_tokens, padded=padded):
                logp[pack.members - first] = log_p(self.model, pack).cpu().numpy()
        return logp


def _stored(shard: Path, key: str) -> NDArray[np.float32] | None:
    """Return what a shard holds, or None where it isn't there, rests on something else, or is damaged."""
    try:
        with safe_open(shard, framework="numpy") as file:
            about, part = file.metadata() or {}, file.get_tensor("logp")
    except (OSError, SafetensorError):
        return None
    return part if (about.get("key"), about.get("sha256")) == (key, _hash(part)) else None


def _hash(part: NDArray[np.float32]) -> str:
    return hashlib.sha256(part.tobytes()).hexdigest()
