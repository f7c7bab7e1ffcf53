"""What objectives on single texts have in common."""

from collections.abc import Sequence

from luthier.tokens.pack import Pack, packs
from luthier.tokens.render import Encoded
from luthier.train.objectives.objective import Totals


class Singles:
    """Texts to packs, and what to count of them; an objective on single texts adds its loss."""

    texts = 1

    def collate(
        self, rows: Sequence[Encoded], members: Sequence[int], capacity: int, *, padded: bool = False
    ) -> list[Pack]:
        """Return the examples of one optimizer step as packs of at most `capacity` tokens."""
        return packs(rows, members, capacity, padded=padded)

    def totals(self, packs: Sequence[Pack]) -> Totals:
        """Return the examples and learned tokens of a step."""
        return Totals(sum(pack.documents for pack in packs), sum(len(pack.targets) for pack in packs))
