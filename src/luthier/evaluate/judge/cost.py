"""What judging costs: estimated before, held below a budget while it goes on, told after."""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from luthier.core.endpoint import Reply
from luthier.core.text import plural
from luthier.recipe.judge import Judge, Price

AROUND = 8
"""Tokens a chat template may put around a question."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What asking will cost, as far as one can know before."""

    judge: str
    calls: int
    kept: int
    """Questions that were answered before, and cost nothing."""
    prompt_tokens: int
    """By the tokenizer at hand, which is not the judge's."""
    answer_tokens: int
    usd: float | None
    """None where no prices were given."""
    most_usd: float | None
    """If every reply is as long as it may be."""

    def as_dict(self) -> dict[str, Any]:
        """Return the numbers for the report."""
        names = ("calls", "kept", "prompt_tokens", "answer_tokens", "usd", "most_usd")
        return {name: getattr(self, name) for name in names}

    @property
    def brief(self) -> str:
        """Return it in few words."""
        price = "" if self.usd is None else f"about ${dollars(self.usd)}, "
        tokens = f"about {self.prompt_tokens:,} tokens in, {self.answer_tokens:,} out"
        return f"{price}{plural(self.calls, 'question')}, {tokens}"

    def __str__(self) -> str:
        kept = f" ({plural(self.kept, 'more question')} answered before)" if self.kept else ""
        text = (
            f"the judge {self.judge} is asked {plural(self.calls, 'question')}{kept}: about {self.prompt_tokens:,} "
            f"tokens in and {self.answer_tokens:,} out, an estimate"
        )
        if self.usd is None:
            return f"{text}; what that costs depends on its prices (`evaluate.judge.price`)"
        most = f"${dollars(self.most_usd or 0)} if every reply is as long as it may be and can be read at once"
        return f"{text}; about ${dollars(self.usd)}, and {most}"


def dollars(usd: float) -> str:
    """Return an amount with as many digits as it needs: 12.40, 0.0031."""
    return f"{usd:,.2f}" if usd >= 0.1 or not usd else f"{usd:.2g}" if usd >= 1e-4 else "0.0001"


def estimated(texts: Iterable[str], kept: int, reply: str, count: Callable[[str], int], options: Judge) -> Estimate:
    """Return what asking will cost.

    Args:
        texts: The questions.
        kept: How many more were answered before.
        reply: What a usual reply looks like.
        count: Counts tokens.
        options: The judge and its prices.
    """
    sizes = [count(text) + AROUND for text in texts]
    calls, read, written = len(sizes), sum(sizes), count(reply) * len(sizes)
    price, most = options.price, options.max_tokens * len(sizes)
    usd, most_usd = (None, None) if price is None else (price.of(read, written), price.of(read, max(written, most)))
    return Estimate(f"{options.model} at {options.url}", calls, kept, read, written, usd, most_usd)


class Purse:
    """What was spent, and whether there is enough left for one more question.

    A question is paid for beforehand with the most it can cost: a token is at least a byte of text, and a reply no
    longer than allowed. When the reply is there the server's own count takes its place.

    Args:
        price: Of tokens; None when unknown.
        budget: Dollars that may be spent; None without end.
        longest: Tokens of the longest reply.
    """

    def __init__(self, price: Price | None, budget: float | None, longest: int) -> None:
        self.calls = self.prompt_tokens = self.answer_tokens = 0
        self.counted = True
        """Whether the server counted all tokens; else they are the most there can have been."""
        self._price, self._budget, self._longest = price, budget, longest
        self._reserved = 0.0
        self._lock = threading.Lock()

    @property
    def usd(self) -> float | None:
        """Return what was spent, None without prices."""
        return None if self._price is None else self._price.of(self.prompt_tokens, self.answer_tokens)

    def _most(self, text: str) -> tuple[int, int]:
        return len(text.encode("utf-8", "surrogatepass")) + AROUND, self._longest

    def take(self, text: str) -> bool:
        """Reserve what a question can cost at most; False where that could exceed the budget."""
        if self._price is None or self._budget is None:
            return True
        with self._lock:
            most = self._price.of(*self._most(text))
            if (self.usd or 0.0) + self._reserved + most > self._budget:
                return False
            self._reserved += most
            return True

    def paid(self, text: str, reply: Reply | None, *, before: bool = False) -> None:
        """Put what a question did cost in the place of what was reserved for it.

        Args:
            text: The question.
            reply: What came; None where nothing did.
            before: Whether it was paid for in an earlier run, without being reserved in this.
        """
        most = self._most(text)
        with self._lock:
            if self._price is not None and self._budget is not None and not before:
                self._reserved -= self._price.of(*most)
            if reply is None:
                return
            read, written = reply.prompt_tokens, reply.answer_tokens
            self.counted &= read is not None and written is not None
            self.calls += 1
            self.prompt_tokens += most[0] if read is None else read
            self.answer_tokens += most[1] if written is None else written
