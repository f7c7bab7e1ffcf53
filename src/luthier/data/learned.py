"""What the kept rows teach, counted: labels, and how often the same ending comes again."""

from collections import Counter
from hashlib import blake2b
from sys import intern

from luthier.core.example import Example
from luthier.data.keys import evened

GOOD, BAD = "good", "bad"

CANNED_ROWS = 8
"""Rows of a kind from which on its endings are looked at: a handful may well agree."""

FEW = 3
"""As many texts count as few."""


class Learned:
    """Counts over the kept rows; of the texts, a digest of each different ending."""

    def __init__(self) -> None:
        self.labels: Counter[str] = Counter()
        self.classes: list[str] = []
        """Class of each kept row, of texts with one."""
        self.against = 0
        """Preferences whose scores say the contrary."""
        self._endings: dict[str, Counter[bytes]] = {}

    def look(self, example: Example) -> None:
        """Take in a kept row."""
        if isinstance(example.label, bool):
            name = GOOD if example.label else BAD
            self.labels[name] += 1
            self._end(name, example.messages[-1].text)
        elif example.label is not None:
            self.labels[example.label] += 1
            self.classes.append(intern(example.label))  # few names, and many rows
        if example.rejected:
            self.against += example.margin is not None and example.margin < 0
            self._end("chosen", example.messages[-1].text)
            self._end("rejected", example.rejected[-1].text)

    def canned(self) -> dict[str, tuple[int, float]]:
        """Return each kind of ending of which few texts cover most rows: how many texts, and the share they cover."""
        found = {}
        for name, texts in self._endings.items():
            covered = 0
            for number, (_, count) in enumerate(texts.most_common(FEW), start=1):
                covered += count
                if texts.total() >= CANNED_ROWS and covered > texts.total() / 2:
                    found[name] = number, covered / texts.total()
                    break
        return found

    def _end(self, name: str, text: str) -> None:
        digest = blake2b(evened(text).encode("utf-8", "surrogatepass"), digest_size=8).digest()
        self._endings.setdefault(name, Counter())[digest] += 1
