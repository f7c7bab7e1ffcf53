"""Everything the checks look at."""

from collections.abc import Mapping
from dataclasses import dataclass

from luthier.data.account import Account
from luthier.data.convert import Seen
from luthier.data.diversity import Diversity
from luthier.data.kept import Kept
from luthier.data.learned import Learned
from luthier.data.lengths import Lengths
from luthier.data.traits import Spotted
from luthier.recipe.methods import Rows
from luthier.recipe.schema import Train


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was found in all rows."""

    rows: Rows
    """What the objective learns from."""
    train: Train
    """How it will learn: which rows are too long depends on it."""
    seen: Seen
    account: Account
    encodings: Mapping[str, str]
    """Of each file."""
    kept: Kept
    lengths: Lengths
    learned: Learned
    spotted: Spotted
    looked: Diversity
    splits: Mapping[str, int]
    """How many rows each has."""
    size: int
    """Bytes of the rows to train on."""
