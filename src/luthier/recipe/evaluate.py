"""The recipe's `evaluate`: what is measured, what answers are scored by, what the result must be."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from luthier.recipe.benchmarks import Benchmark, in_order
from luthier.recipe.data import Seed
from luthier.recipe.judge import Judge
from luthier.recipe.methods import Named, Positive, PositiveReal, UpToOne
from luthier.recipe.metrics import Metric
from luthier.recipe.options import Options
from luthier.recipe.people import People


class Capability(Options):
    """Rows that the model should do no worse on than its base: general questions, sums, code, plain text."""

    name: Named
    """What it is called in the report."""

    files: Annotated[tuple[Named, ...], Field(min_length=1)]
    """Files, folders or globs, in any format that `data.sources` takes."""

    text: bool = False
    """Whether they are plain text, of which only the loss is measured."""

    limit: Positive = 200
    """Rows that are measured, evenly spread over all."""

    warn: UpToOne = 0.02
    """Loss from which on it is told, certain or not: 0.02 is two answers of a hundred, or 2 % of perplexity."""

    fail: UpToOne | None = 0.05
    """Loss that fails, when it is more than chance; null: none does, it is only told."""

    @model_validator(mode="after")
    def warns_before_it_fails(self) -> "Capability":
        """Refuse limits in the wrong order."""
        if self.fail is not None:
            in_order(self.warn, self.fail)
        return self


class Gate(Options):
    """What the tuned model must reach on the held-out rows."""

    verdict: Literal["any", "not_worse", "better"] = "any"
    """What the comparison with the base must say."""

    at_least: dict[Named, float] = Field(default_factory=dict)
    """Smallest values of metrics and benchmarks, by their names in the report: {accuracy: 0.8, gsm8k: 0.3}."""

    at_most: dict[Named, float] = Field(default_factory=dict)
    """Largest values: {perplexity: 3.0, repetition: 0.1}. `contaminated` is the share of held-out rows that stand in
    the training data: {contaminated: 0}."""

    def later(self, prefix: tuple[str, ...]) -> "Gate":
        """Return the limits of what is only known later, by the beginning of its name."""
        least, most = self.at_least.items(), self.at_most.items()
        return Gate(
            at_least={name: limit for name, limit in least if name.startswith(prefix)},
            at_most={name: limit for name, limit in most if name.startswith(prefix)},
        )

    def now(self, prefix: tuple[str, ...]) -> "Gate":
        """Return the gate without these limits."""
        least, most = self.at_least.items(), self.at_most.items()
        return Gate(
            verdict=self.verdict,
            at_least={name: limit for name, limit in least if not name.startswith(prefix)},
            at_most={name: limit for name, limit in most if not name.startswith(prefix)},
        )


class Window(Options):
    """A window that slides over texts longer than it, so that none is left out and each token has some before it."""

    tokens: Annotated[int, Field(ge=2)]
    """How many tokens the model sees at a time, at most its context."""

    stride: Positive | None = None
    """Tokens by which it moves on, each measured once; the others of a window are only read. By default half of it."""

    @property
    def step(self) -> int:
        """Return the stride."""
        return self.tokens // 2 if self.stride is None else self.stride

    @model_validator(mode="after")
    def something_precedes(self) -> "Window":
        """Refuse a stride that leaves nothing before the first token that is measured."""
        if self.step >= self.tokens:
            message = f"`stride` must be below `tokens` ({self.tokens}), got {self.step}"
            raise ValueError(message)
        return self


class Sampling(Options):
    """Answers are drawn by the probability of their tokens."""

    temperature: PositiveReal = 1.0
    """Below 1 the likely tokens become likelier."""

    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Only the fewest tokens that together have this much of the probability are drawn."""

    seed: Seed = 0
    """The same seed gives the same answers, whatever else is asked."""


class Evaluate(Options):
    """How base and tuned model are compared on the held-out rows."""

    answers: Annotated[int, Field(ge=0)] = 100
    """Held-out prompts that both models answer, and whose answers are scored. 0 asks nothing."""

    metrics: tuple[Metric, ...] = ()
    """What answers are scored by, such as [exact_match, rouge]. Empty: chosen from the answers that are expected."""

    slices: Literal["auto"] | tuple[Named, ...] = "auto"
    """Parts of the held-out rows that are compared by themselves: `language` (needs `luthier[data]`), `length` of the
    prompt, `class`, `file`, and tags of the rows by name. `auto` is all that there are, [] none."""

    trained_on: tuple[Named, ...] = ()
    """Further files, folders or globs that the tuned model learned from, beside the run's own rows. Held-out rows are
    looked for in them."""

    forgetting: bool = True
    """Measure the loss on a small English text of many kinds before and after, which ships with luthier: what a model
    forgets shows there first."""

    samples: Annotated[int, Field(ge=0)] = 8
    """Answers that are shown side by side."""

    capabilities: tuple[Capability, ...] = ()
    """What the model could do before and should still do. One that is lost is a gate that says no (exit code 3)."""

    benchmarks: tuple[Benchmark, ...] = ()
    """Tasks of lm-evaluation-harness that both models do, such as [gsm8k, humaneval, {task: mmlu, limit: 100}]."""

    data_dir: Named | None = None
    """Folder with the files of benchmarks; `null` asks the Hugging Face hub for them."""

    include: tuple[Named, ...] = ()
    """Folders with tasks of your own, as the harness writes them. Python they name is run: only name what you trust."""
    judge: Judge | None = None
    """A language model that compares the answers of both models: {url: http://localhost:8000/v1, model: NAME}."""

    people: People | None = None
    """What people are shown who compare the answers: `luthier evaluate RUN --human`."""

    gate: Gate = Gate()
    """What the result must be; where it isn't, the exit code is 3, and `luthier run` stops before it merges."""

    max_new_tokens: Positive = 128
    """Longest answer, in tokens."""

    stop: tuple[Named, ...] = ()
    """Texts at which an answer ends, beside the model's own stop tokens: ["\\n\\n", "Question:"]."""

    sampling: Sampling | None = None
    """How answers are drawn: {temperature: 0.7, top_p: 0.95}. By default the most likely token is taken."""

    window: Window | None = None
    """How texts are read that are longer than the model's context: {tokens: 2048, stride: 1024}. By default as in
    training: plain text in chunks of `train.max_length`, of which none sees the one before; longer conversations are
    left out, and told."""

    @property
    def refuses(self) -> bool:
        """Whether a result may be refused."""
        return bool(self.capabilities or self.benchmarks) or self.gate != Gate()

    @model_validator(mode="after")
    def no_benchmark_twice(self) -> "Evaluate":
        """Refuse two of one name, which no report could tell apart, and files for none."""
        names = [asked.called for asked in self.benchmarks]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            message = f"`benchmarks` names `{twice}` twice: leave one out, or give it a `name` of its own"
            raise ValueError(message)
        if self.include and not self.benchmarks:
            message = "`include` brings tasks, and `benchmarks` names none"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def what_is_scored_is_asked(self) -> "Evaluate":
        """Refuse metrics of answers that nobody asks for."""
        if self.metrics and not self.answers:
            message = "`metrics` score answers, and `answers` is 0: ask for some, or name no metrics"
            raise ValueError(message)
        if self.judge and not self.answers:
            message = "`judge` judges answers, and `answers` is 0: ask for some, or name no judge"
            raise ValueError(message)
        if self.people and not self.answers:
            message = "`people` compare answers, and `answers` is 0: ask for some, or leave it out"
            raise ValueError(message)
        return self
