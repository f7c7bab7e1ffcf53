"""What every technique returns: the model in training, and how to keep what it learns."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch


@dataclass(frozen=True, slots=True)
class Adapted:
    """A model ready to train."""

    model: Any
    """What the forward pass calls."""
    trainable: dict[str, torch.nn.Parameter]
    """Learning parameters under the names they have in the weight file."""
    weight_file: str
    """Name of the file a checkpoint keeps them in, such as `adapter_model.safetensors`."""
    describe: Callable[[Path], None]
    """Writes what a reader of the weight file needs beside it (an adapter's config) into a folder."""
    stored_dtype: torch.dtype
    """Type the finished weights are rounded to, once."""
    frozen: dict[str, torch.nn.Parameter] = field(default_factory=dict)
    """Weights that don't learn and yet belong into the finished file."""
    finish: Callable[[Mapping[str, torch.Tensor]], dict[str, torch.Tensor]] | None = None
    """What the finished file holds, from what was learned; None where that is the same."""
    ratios: dict[str, float] = field(default_factory=dict)
    """Factors on the learning rate, by the names of `trainable`; 1 where there is none."""
    vectors: frozenset[str] = frozenset()
    """Names of two-dimensional parameters that are vectors by their meaning, so weight decay spares them."""

    @property
    def saved(self) -> dict[str, torch.nn.Parameter]:
        """Return what a checkpoint holds: what learns, and what the finished file is made of beside it.

        Frozen weights that go into that file as they are come from the base again. A start that was computed (PiSSA)
        would come out another on another machine.
        """
        return {**self.trainable, **(self.frozen if self.finish else {})}
