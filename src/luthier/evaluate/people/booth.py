"""What a person is shown, and how their words are taken: the same for the page and the terminal."""

import re
from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any

from luthier.core.errors import DataError
from luthier.core.files import digest
from luthier.evaluate.pairs import Pair
from luthier.evaluate.people.book import Ballot, Book, Model, Winner

NAME = re.compile(r"[\w][\w .@+-]{0,39}")
"""What a person may be called."""

CHOICES = ("left", "right", "tie", "skip")
LOWEST, HIGHEST = 1, 5


class Booth:
    """Pairs of answers, shown one after the other to each person, left and right by chance.

    Which answer stands left hangs on the seed, the person and the pair, so that a restart changes nothing; the order of
    pairs is the same for all, so that those who stop early have looked at the same ones.

    Args:
        pairs: What both models answered, in the order it is shown; pairs of equal answers are not shown.
        rubric: Criteria that each answer is rated by, with what they mean; empty for a choice only.
        book: Where ballots are kept.
        reference: Whether the expected answer is shown.
        seed: Of the sides.
    """

    def __init__(
        self, pairs: Sequence[Pair], rubric: Mapping[str, str], book: Book, *, reference: bool, seed: int
    ) -> None:
        self.pairs = {pair.key: pair for pair in pairs if not pair.alike}
        self.rubric = dict(rubric)
        self.book = book
        self.reference = reference
        self.seed = seed
        self._lock = Lock()

    def sheet(self, rater: str) -> dict[str, Any]:
        """Return what a person is shown next: nothing that tells whose answer is which.

        Keys: `done` and `of` (pairs), and where any is left `key`, `prompt`, `left`, `right`, `expected` or None.

        Raises:
            DataError: That is no name.
        """
        if not NAME.fullmatch(rater):
            raise DataError(
                "a name has up to 40 letters, digits, spaces and `._@+-`, and begins with a letter or a digit",
                hint="choose another",
            )
        said = {one.key for one in self.book.ballots() if one.rater == rater}
        left = [key for key in self.pairs if key not in said]
        told: dict[str, Any] = {"done": len(self.pairs) - len(left), "of": len(self.pairs), "rubric": self.rubric}
        if not left:
            return told
        pair = self.pairs[left[0]]
        texts = {"base": pair.base, "tuned": pair.tuned}
        first, second = (texts[name] for name in self.sides(rater, pair.key))
        expected = pair.expected if self.reference else None
        return {**told, "key": pair.key, "prompt": pair.prompt, "left": first, "right": second, "expected": expected}

    def sides(self, rater: str, key: str) -> tuple[Model, Model]:
        """Return whose answers stand left and right."""
        return ("base", "tuned") if int(digest([self.seed, rater, key]), 16) % 2 else ("tuned", "base")

    def say(self, rater: str, key: str, choice: str, ratings: Mapping[str, Mapping[str, int]]) -> None:
        """Keep what a person said of a pair.

        Args:
            rater: Who.
            key: Of the pair.
            choice: One of `CHOICES`.
            ratings: For `left` and `right` a number from 1 to 5 for every criterion; empty where none are asked, and of
                a pair that is passed over.

        Raises:
            DataError: That can't be said of this pair.
        """
        if key not in self.pairs or choice not in CHOICES or not NAME.fullmatch(rater):
            raise DataError("this pair is not asked, or this answer is none", hint="load the page again")
        wanted = {} if choice == "skip" or not self.rubric else {side: self.rubric.keys() for side in ("left", "right")}
        if ratings.keys() != wanted.keys() or any(
            ratings[side].keys() != names
            or not all(type(rating) is int and LOWEST <= rating <= HIGHEST for rating in ratings[side].values())
            for side, names in wanted.items()
        ):
            raise DataError(
                f"every criterion wants a number from {LOWEST} to {HIGHEST} for both answers", hint="rate them, or skip"
            )
        shown = self.sides(rater, key)
        winners: dict[str, Winner | None] = {"left": shown[0], "right": shown[1], "tie": "tie", "skip": None}
        scores = {name: dict(ratings[side]) for name, side in zip(shown, ("left", "right"), strict=True) if ratings}
        with self._lock:
            self.book.add(Ballot(rater, key, winners[choice], shown, scores))

    def take_back(self, rater: str) -> None:
        """Forget a person's last answer: its pair is shown again."""
        with self._lock:
            self.book.take_back(rater)
