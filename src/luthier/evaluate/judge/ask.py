"""Asking the judge: what was answered before is not asked again, what can't be read is asked once more."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from luthier.core.asked import together
from luthier.core.endpoint import Endpoint, EndpointError, Reply
from luthier.core.progress import Progress
from luthier.evaluate.judge.cache import Cache, key_of
from luthier.evaluate.judge.cost import Estimate, Purse, estimated
from luthier.evaluate.judge.questions import AGAIN, Question, form
from luthier.evaluate.judge.replies import Judgement, read
from luthier.recipe.judge import Judge

REFUSALS = 3
"""So many questions refused, and none answered: it is not the questions."""

UNREADABLE, CUT, REFUSED, NOT_ASKED = "not of the form", "cut at `max_tokens`", "refused by the endpoint", "not asked"
"""Why a question has no judgement."""

USUAL = "The first answer names the part and the price, the second only apologises and asks to call again another day."
"""A reason as judges write it, to estimate the length of a reply."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What the judge said to each question."""

    judgements: Sequence[Judgement | None]
    """In the order of the questions."""
    missing: Mapping[int, str]
    """Questions without a judgement, and why."""
    asked_again: int
    """Replies that could not be read at first."""
    purse: Purse
    left_out: tuple[str, ...]
    """Settings the server doesn't take."""


class Asking:
    """Questions to a judge, and where its replies are kept.

    Args:
        questions: What to ask.
        options: The judge.
        cache: What it said before.
    """

    def __init__(self, questions: Sequence[Question], options: Judge, cache: Cache) -> None:
        self.questions, self.options, self.cache = questions, options, cache
        self.settings: dict[str, Any] = {"temperature": 0, "max_tokens": options.max_tokens}
        self._purse = Purse(options.price, options.budget, options.max_tokens)
        self._refused: dict[str, EndpointError] = {}

    def _key(self, text: str) -> str:
        return key_of(self.options.url, self.options.model, text, self.settings)

    def estimate(self, count: Callable[[str], int]) -> Estimate:
        """Return what the questions that are open will cost.

        Args:
            count: Counts the tokens of a text.
        """
        texts = {question.text: question for question in self.questions}
        missing = [text for question in texts.values() if (text := self._open(question)) is not None]
        shown = max((len(question.shown) for question in self.questions), default=1)
        usual = form(self.options.criteria, shown) + USUAL
        return estimated(missing, len(texts) - len(missing), usual, count, self.options)

    def _open(self, question: Question) -> str | None:
        """Return what is still to be asked of a question, None where that is nothing."""
        for text in (question.text, question.text + AGAIN):
            reply = self.cache.get(self._key(text))
            if reply is None:
                return text
            if reply.finish == "length" or self._read(question, reply) is not None:
                return None
        return None

    def ask(self, endpoint: Endpoint, progress: Progress) -> Judged:
        """Return what the judge says to every question.

        Raises:
            EndpointError: It can't be asked. What it said so far is kept.
        """
        first = self._replies(endpoint, [question.text for question in self.questions], "ask the judge", progress)
        found = [self._read(question, first.get(question.text)) for question in self.questions]
        again = [place for place, one in enumerate(found) if one is None and self._may_ask_again(first, place)]
        texts = {place: self.questions[place].text + AGAIN for place in again}
        second = self._replies(endpoint, [*texts.values()], "ask again", progress) if texts else {}
        for place, text in texts.items():
            found[place] = self._read(self.questions[place], second.get(text))
        missing = {
            place: self._why(first.get(question.text), question.text)
            for place, (question, one) in enumerate(zip(self.questions, found, strict=True))
            if one is None
        }
        return Judged(found, missing, len(again), self._purse, endpoint.left_out)

    def _may_ask_again(self, replies: Mapping[str, Reply], place: int) -> bool:
        reply = replies.get(self.questions[place].text)
        return reply is not None and reply.finish != "length"

    def _read(self, question: Question, reply: Reply | None) -> Judgement | None:
        return None if reply is None else read(reply.text, question.shown, self.options.criteria)

    def _why(self, reply: Reply | None, text: str) -> str:
        if reply is None:
            return REFUSED if text in self._refused else NOT_ASKED
        return CUT if reply.finish == "length" else UNREADABLE

    def _replies(self, endpoint: Endpoint, texts: Sequence[str], stage: str, progress: Progress) -> dict[str, Reply]:
        """Return the replies there are to some texts: kept ones, and new ones as long as they can be paid."""
        replies, left = {}, []
        for text in dict.fromkeys(texts):
            kept = self.cache.get(self._key(text))
            if kept is None:
                left.append(text)
            else:
                self._purse.paid(text, kept, before=True)
                replies[text] = kept
        progress.start(stage, len(left), "question")
        done = 0
        while left:
            asked: list[str] = []
            for place, reply in together(
                lambda text: self._one(endpoint, text), self._affordable(left, asked), at_once=self.options.at_once
            ):
                text = asked[place]
                if reply is not None:
                    self.cache.keep(self._key(text), reply)
                    replies[text] = reply
                self._purse.paid(text, reply)
                done += 1
                progress.update(done)
            if not asked:
                break
            # What was reserved for the longest replies is free again: it may do for some more.
            left = left[len(asked) :]
        progress.end()
        return replies

    def _affordable(self, texts: Sequence[str], asked: list[str]) -> Iterator[str]:
        """Yield texts while they can be paid, and note them in `asked`."""
        for text in texts:
            if not self._purse.take(text):
                return
            asked.append(text)
            yield text

    def _one(self, endpoint: Endpoint, text: str) -> Reply | None:
        """Return the reply to one text, None where the endpoint refuses this one."""
        try:
            return endpoint.chat(self.options.model, [{"role": "user", "content": text}], self.settings)
        except EndpointError as error:
            if not error.one_request:
                raise
            self._refused[text] = error
            if len(self._refused) >= REFUSALS and self.cache.empty:
                raise
            return None
