"""What every technique returns: the model in training, and how to keep what it learns."""

from collections.abc import Callable
from dataclasses import dataclass
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
