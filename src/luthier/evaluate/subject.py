"""What is compared, once it is open: how likely it finds texts, and what it answers.

A part of an evaluation measures each subject while it is open, one after the other, and compares what it kept.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from luthier.core.errors import ModelError
from luthier.core.progress import Progress
from luthier.core.report import Finding, Number, Section
from luthier.evaluate.held_out import Exam, Question
from luthier.evaluate.likelihood import Likelihood, likelihood, row_nll
from luthier.evaluate.reading import Reading
from luthier.model.forward import precise
from luthier.model.generate import generate, room
from luthier.model.sampling import Sampling, StopStrings
from luthier.tokens.render import Encoded, Renderer
from luthier.tokens.store import Stored

if TYPE_CHECKING:
    from luthier.evaluate.regression import Kept


class Absent(NamedTuple):
    """Why there is no number."""

    reason: str


@dataclass(frozen=True, slots=True)
class Answers:
    """What was answered to some questions."""

    texts: tuple[str, ...]
    ended: tuple[bool, ...]
    """Whether each ended by itself, before the limit."""
    clipped: int = 0
    """Prompts that did not fit the context."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """How all subjects compute and answer."""

    capacity: int
    """Tokens of a forward pass, at least those of the longest text."""
    precision: str
    """`bf16`, `fp16` or `fp32`."""
    max_new_tokens: int
    stop: tuple[str, ...] = ()
    """Texts at which an answer ends."""
    sampling: Sampling | None = None
    """How answers are drawn; None for the most likely ones."""


class Subject(Protocol):
    """A model that answers, wherever it runs."""

    @property
    def name(self) -> str:
        """Return `base`, `tuned`, `tuned_2` and so on."""

    @property
    def reading(self) -> Reading | None:
        """Return how it reads, where its files say so."""

    def likelihood(self, exam: Exam, *, every: bool = False, of: str = "") -> Likelihood | Absent:
        """Return how likely it finds held-out texts as it reads them.

        Args:
            exam: The texts.
            every: Whether to measure all their tokens beside what is learned.
            of: What rows these are, for those who watch.
        """

    def answers(self, questions: Sequence[Question], *, of: str = "") -> Answers:
        """Return what it answers."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model in memory."""

    name: str
    model: Any
    reading: Reading
    """Its tokenizer and the chat template it is asked in."""
    setting: Setting
    progress: Progress

    @property
    def renderer(self) -> Renderer:
        """Return what makes prompts of conversations, as it reads them."""
        return self.reading.renderer()

    def likelihood(self, exam: Exam, *, every: bool = False, of: str = "") -> Likelihood | Absent:
        """Return how likely the model finds held-out texts, see `Subject`.

        Raises:
            ModelError: A text holds a token it doesn't know.
        """
        held_out = exam.held_out[self.reading]
        self._knows_the_tokens(held_out.texts)
        setting = self.setting
        where = {"stage": told("measure", self.name, of), "progress": self.progress}
        how: dict[str, Any] = {"capacity": setting.capacity, "precision": setting.precision, **where}
        if every:
            return likelihood(self.model, held_out.texts, held_out.fresh, **how)
        return Likelihood(row_nll(self.model, held_out.texts, **how))

    def answers(self, questions: Sequence[Question], *, of: str = "") -> Answers:
        """Return its answers: the most likely ones, unless the setting says that they are drawn."""
        tokenizer, stops = self.renderer.tokenizer, self.renderer.stop_ids
        ending = StopStrings(tokenizer, self.setting.stop)
        prompts = [self.renderer.prompt_ids(one.messages, tools=one.example.tools) for one in questions]
        longest = self.setting.max_new_tokens
        self.progress.start(told("ask", self.name, of), len(prompts), "prompt")
        with precise(self.model, self.setting.precision):
            answers = generate(
                self.model,
                prompts,
                stop_ids=stops,
                max_new_tokens=longest,
                pad_id=min(stops) if tokenizer.pad_token_id is None else tokenizer.pad_token_id,
                sampling=self.setting.sampling,
                ended=ending if self.setting.stop else None,
                on_done=self.progress.update,
            )
        self.progress.end()
        rooms = [room(self.model, len(prompt), max_new_tokens=longest) for prompt in prompts]
        texts = [tokenizer.decode(answer, skip_special_tokens=True) for answer in answers]
        cut = [len(answer) >= space.answer for answer, space in zip(answers, rooms, strict=True)]
        return Answers(
            tuple(map(ending.before, texts)),
            tuple(not full or ending.before(text) != text for full, text in zip(cut, texts, strict=True)),
            sum(space.read < len(prompt) for prompt, space in zip(prompts, rooms, strict=True)),
        )

    def _knows_the_tokens(self, texts: Sequence[Encoded]) -> None:
        known = self.model.get_input_embeddings().weight.shape[0]
        largest = (
            texts.most("highest") if isinstance(texts, Stored) else max(int(text.input_ids.max()) for text in texts)
        )
        if largest >= known:
            raise ModelError(
                f"the {self.name} model knows {known:,} tokens, the held-out texts hold token {largest:,}",
                hint="compare models that share one tokenizer, each in an evaluation of its own",
            )


def told(doing: str, name: str, of: str) -> str:
    """Return what those who watch are told: who does what, on which rows."""
    return f"{doing} {name}: {of}" if of else f"{doing} {name}"


@dataclass(frozen=True, slots=True)
class Told:
    """What a part of an evaluation adds to the report on two subjects."""

    data: Mapping[str, Any] = field(default_factory=dict)
    """Keys of the report."""
    values: Mapping[str, Number] = field(default_factory=dict)
    """Numbers of the tuned model that a gate may name."""
    refused: Sequence[str] = ()
    """What the part says no to, in words: a gate that says no."""
    kept: "Sequence[Kept]" = ()
    """Entries of the regression check."""
    sections: Sequence[Section] = ()
    findings: Sequence[Finding] = ()
    files: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    """Rows of files of JSON lines, by name."""


Measured = TypeVar("Measured")


class Part(Protocol[Measured]):
    """Something else that is measured of every subject, such as benchmarks."""

    def measure(self, subject: Subject) -> Measured:
        """Return what is kept of a subject while it is open. Called in the order of the models, the base first."""

    def told(self, base: Measured, others: Sequence[Measured]) -> list[Told]:
        """Return what each says beside the base. Where verdicts are given, those of all are counted together."""
