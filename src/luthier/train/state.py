"""What a training carries from step to step besides weights and the optimizer's state. Saved with every checkpoint."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from luthier.recipe.schema import Train
from luthier.train.scale import NONE, Scale
from luthier.train.work import HeldOut

SLOWER = 0.3
"""What the learning rate is multiplied by when training goes back."""


@dataclass(frozen=True, slots=True)
class State:
    """Where a training stands: small, plain, and a function of what happened so far."""

    step: int = 0
    """Optimizer steps done."""
    best_step: int | None = None
    """After which step the held-out loss was lowest; None before it was measured."""
    best_loss: float | None = None
    """That loss."""
    waited: int = 0
    """Measurements since the held-out loss last fell by more than `min_delta`."""
    stopped: bool = False
    """Whether early stopping ended the training at this step."""
    scale: Scale = NONE
    """Of the next step's loss, in fp16."""
    skipped: int = 0
    """Steps in a row, up to this one, whose loss or gradient was not a number; weights stayed as they were."""
    rollbacks: int = 0
    """How often training went back to a checkpoint because of them."""
    rate: float = 1.0
    """Factor on the learning rate since then."""
    pack_tokens: int | None = None
    """Tokens of a forward pass since memory ran out; None: as planned."""

    def as_dict(self) -> dict[str, Any]:
        """Return the state as JSON can hold it."""
        return asdict(self)

    @staticmethod
    def from_dict(values: dict[str, Any]) -> "State":
        """Return the state that `as_dict` wrote."""
        return State(**{**values, "scale": Scale(*values["scale"])})

    def stepped(self, *, finite: bool) -> "State":
        """Return the state after a step."""
        return replace(self, step=self.step + 1, skipped=0 if finite else self.skipped + 1)

    def slower(self) -> "State":
        """Return the state in which training goes on from here after steps that were not numbers."""
        return replace(self, skipped=0, rollbacks=self.rollbacks + 1, rate=self.rate * SLOWER)

    def measured(self, held_out: HeldOut, options: Train) -> "State":
        """Return the state after the held-out rows were measured: is this the best, is it time to stop?"""
        stopping = options.early_stopping
        lowest = float("inf") if self.best_loss is None else self.best_loss
        better = held_out.loss < lowest - (stopping.min_delta if stopping else 0.0)
        waited = 0 if better else self.waited + 1
        after = replace(self, waited=waited, stopped=stopping is not None and waited >= stopping.patience)
        if held_out.loss < lowest:
            after = replace(after, best_step=self.step, best_loss=held_out.loss)
        return after
