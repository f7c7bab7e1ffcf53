"""What a plan rests on besides the recipe. Plain records; other stages fill them."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """The shape of a model, from its config and the headers of its weight files."""

    name: str
    """As the user wrote it."""
    path: str
    architecture: str
    parameters: int
    weight_bytes: int
    dtype: str
    """Of most weights, in safetensors' words: `BF16`, `F16`, `F32`."""
    hidden_size: int
    layers: int
    intermediate_size: int
    vocabulary: int
    context: int
    """Longest sequence the model was made for, in tokens; 0 where there is no end."""
    fingerprint: str
    """Hash over names and sizes of its files and the bytes of the small ones."""

    def as_dict(self) -> dict[str, Any]:
        """Return the facts as JSON, without the path, which differs between machines."""
        return {key: value for key, value in asdict(self).items() if key != "path"}


@dataclass(frozen=True, slots=True)
class RowFacts:
    """What is known of the prepared data."""

    train: int
    """Rows to learn from."""
    valid: int
    """Rows held back."""
    mean_tokens: float
    """Tokens of a row on average, all turns together; counted or estimated."""
    longest_tokens: int
    fingerprint: str
    """Hash of the prepared files."""

    def as_dict(self) -> dict[str, Any]:
        """Return the facts as JSON."""
        return asdict(self)
