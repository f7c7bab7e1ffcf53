"""The recipe: everything the user asked, typed and frozen. Validators refuse; none changes a value."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from luthier.recipe.data import MADE_FROM, WRITTEN_AS, Data, Named, Seed
from luthier.recipe.evaluate import Evaluate
from luthier.recipe.methods import (
    AdamW,
    Automatic,
    Cosine,
    Full,
    Lora,
    Objective,
    Optimizer,
    Parallel,
    Positive,
    PositiveReal,
    Rows,
    Schedule,
    Sft,
    Sgd,
    Target,
    Technique,
    Tracker,
    headed,
)
from luthier.recipe.options import Options


class EarlyStopping(Options):
    """End training when the held-out loss no longer falls (Prechelt 1998)."""

    patience: Positive = 3
    """Measurements in a row without improvement after which training ends. `evaluate_every` says how often."""

    min_delta: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """How far below the lowest so far a held-out loss must be to count as improvement."""


class Samples(Options):
    """Questions the model in training answers at each measurement, greedily, to be read by people."""

    prompts: tuple[Named, ...] = ()
    """What to ask. Empty asks what the first held-out rows ask."""

    rows: Positive = 3
    """How many held-out rows are asked, where `prompts` is empty."""

    max_new_tokens: Positive = 64
    """Longest answer, in tokens."""


CUTS: dict[Rows, tuple[str, ...]] = {
    "conversation": ("drop", "turn", "left"),
    "pair": ("drop", "left"),
    "judged": ("drop", "left"),
    "class": ("drop", "left", "right"),
    "text": ("drop",),
}
"""Choices of `too_long`. Without its last turns a preference would be none; chunks of plain text always fit."""


class Train(Options):
    """How to train. Lengths are in tokens, batch sizes in examples, durations in optimizer steps."""

    technique: Technique = Lora()
    """What learns: `lora`, `dora` (LoRA with that option), `qlora`, `ia3`, `prompt`, `ptuning`, `prefix` or `full`;
    with options as a mapping, {kind: lora, rank: 8}."""

    objective: Objective = Sft()
    """What is learned, and from what: `sft` from conversations; `pretrain` from plain text; `dpo`, `orpo`, `simpo`,
    `cpo` and `reward` from pairs of a better and a worse ending; `kto` from answers called good or bad; `classify` from
    texts with a class."""

    learning_rate: PositiveReal | None = None
    """Peak learning rate. `null` lets the plan choose by technique, model size and optimizer, with its reason."""

    optimizer: Optimizer = AdamW()
    """What turns gradients into steps: `adamw`, `adamw_8bit`, `adafactor`, `sgd` or `lion`."""

    schedule: Schedule = Cosine()
    """How the learning rate moves: `cosine`, `linear`, `constant`, `restarts`, `polynomial`, `wsd`, `inverse_sqrt`."""

    epochs: PositiveReal | None = None
    """Passes over the training rows. `null` lets the plan choose by their number."""

    max_steps: Positive | None = None
    """Optimizer steps; instead of `epochs`."""

    batch_size: Positive | None = None
    """Examples per optimizer step. `null` lets the plan choose by the number of rows."""

    max_length: Positive = 2048
    """Longest text, in tokens after the chat template."""

    too_long: Literal["drop", "turn", "left", "right"] = "drop"
    """What happens to a longer one: `drop` it; `turn`: leave off its last turns until it fits, so every answer that
    stays keeps what stood before it; `left`: cut off its beginning (of a preference, the same of both, and none of the
    answers); `right`: cut off its end (of texts with a class). All are counted and named. Plain text is learned whole,
    in chunks."""

    template: Named | None = None
    """Chat template: `null` is the model's own; a name (chatml, llama3, gemma, mistral, alpaca, …) or a Jinja file."""

    template_options: dict[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")], bool | int | float | str] = (
        Field(default_factory=dict)
    )
    """Variables the template reads, such as {enable_thinking: false}. They travel with the trained model."""

    new_tokens: tuple[Named, ...] = ()
    """Texts that become tokens of their own, such as ["<|tool|>", "[ZUG]"]: their embeddings start as the mean of all
    and learn, with `lora`, `qlora` or `full`. They are no control tokens: rows that hold one are read so, and answers
    show it; of one that the chat template writes, only the template's own count. The grown tokenizer goes with the
    trained model."""

    learn: Literal["assistant", "last", "all"] = "assistant"
    """What is learned: every answer with its stop token, the last answer only, or every token. A turn's own `train`
    or `weight` goes before it, and `learn: [[first, end]]` names characters of a turn."""

    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """Pull of the matrices towards zero, per step and unit of learning rate (arXiv:1711.05101). Vectors are never
    decayed."""

    clip: PositiveReal = 1.0
    """Largest norm of the gradient; a larger one is scaled down to it."""

    neftune: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """Strength of noise on the embeddings while training (NEFTune, arXiv:2310.05914). 5 is usual for small chat sets;
    0 adds none."""

    precision: Literal["auto", "bf16", "fp16", "fp32"] = "auto"
    """Arithmetic of the large products. `auto` takes bf16 where the hardware computes in it, and fp16, with a scaled
    loss, on GPUs that know only that."""

    gradient_checkpointing: Literal["auto", "on", "off"] = "auto"
    """Compute a layer's activations again in the backward pass instead of keeping them (arXiv:1604.06174): less memory,
    about a third more time, the same gradients. `auto` does it where memory would not be enough."""

    parallel: Parallel = Automatic()
    """How several processes share the work: `auto`, `ddp`, `fsdp2` or `deepspeed`. One process has nothing to share."""

    seed: Seed = 0
    """Start of every random choice: order of rows, adapter weights, dropout."""

    checkpoint_every: Positive | None = None
    """Optimizer steps between checkpoints. `null` lets the plan choose: about ten a run."""

    evaluate_every: Positive | None = None
    """Optimizer steps between measurements of the validation loss. `null` lets the plan choose."""

    log_every: Positive = 1
    """Optimizer steps between `step` events."""

    early_stopping: EarlyStopping | None = None
    """End when the held-out loss no longer falls: {patience: 3, min_delta: 0.01}. `null` trains to the end."""

    keep: Literal["last", "best"] = "last"
    """Which weights the trained model gets: the `last`, or the `best`: those with the lowest held-out loss. `best` also
    writes a checkpoint whenever that loss reaches a new low, and keeps the best one."""

    continue_from: Named | None = None
    """Begin with the weights of an earlier training: a run, its `model` folder, or one of its checkpoints (the only
    choice with virtual tokens). Schedule, optimizer and order of rows begin anew; technique and base must be the same.
    Also `--continue-from DIR`."""

    checkpoints: Positive = 2
    """Checkpoints to keep: the newest, and those before in case it is damaged. The best one is kept besides."""

    samples: Samples | None = None
    """Answers of the model in training whenever the held-out loss is measured: {rows: 3}, or {prompts: [...]}. They are
    in the report, and change nothing of the training. `null` asks nothing."""

    track: tuple[Tracker, ...] = ()
    """Programs that show the run: [tensorboard, wandb, mlflow, trackio]. Nothing leaves this machine unless their
    options say so."""

    @model_validator(mode="after")
    def one_duration(self) -> "Train":
        """Refuse two durations: which one was meant?"""
        if self.epochs is not None and self.max_steps is not None:
            message = "`epochs` and `max_steps` exclude each other: keep one (`--set train.epochs=null` clears it)"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def learn_is_of_conversations(self) -> "Train":
        """Refuse a choice of turns where the objective knows already what is learned."""
        rows = self.objective.rows
        if self.learn != "assistant" and rows != "conversation":
            learned = {"pair": "both endings", "judged": "the last answer", "class": "the class", "text": "every token"}
            message = f"`learn` has no meaning for `objective: {self.objective.kind}`, which learns {learned[rows]}"
            raise ValueError(message)
        return self

    @property
    def undivided(self) -> str | None:
        """Return what in this recipe needs whole weights in every process; None where parts of them are enough."""
        if self.new_tokens:
            return "`new_tokens` are rows of whole embeddings"
        if self.technique.kind not in ("lora", "ia3", "full"):
            return f"`technique: {self.technique.kind}` has weights that can't be taken apart"
        if self.optimizer.kind not in ("adamw", "lion", "sgd"):
            return f"`optimizer: {self.optimizer.kind}` looks at whole weights"
        if self.objective.kind in ("reward", "classify"):
            return f"`objective: {self.objective.kind}` reads the model below its head"
        if self.samples is not None:
            return "`samples` are answers of the whole model"
        return None

    @model_validator(mode="after")
    def samples_need_answers(self) -> "Train":
        """Refuse questions to a model that learns no answers."""
        if self.samples is not None and (headed(self.objective) or self.objective.rows == "text"):
            message = f"`samples` need a model that learns answers, and `objective: {self.objective.kind}` learns none"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def fsdp2_has_parts(self) -> "Train":
        """Refuse to spread weights that are needed whole."""
        if self.parallel.kind == "fsdp2" and self.undivided:
            message = f"`parallel: fsdp2` gives every process a part of each weight, and {self.undivided}: take `ddp`"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def cut_as_the_rows_allow(self) -> "Train":
        """Refuse ways to cut that make no sense for what the objective learns from."""
        ways = CUTS[self.objective.rows]
        if self.too_long not in ways:
            told = " or ".join(f"`{way}`" for way in ways)
            message = f"`too_long: {self.too_long}` has no meaning for `objective: {self.objective.kind}`: take {told}"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def new_tokens_can_learn(self) -> "Train":
        """Refuse new tokens that are named twice, or whose embeddings would never learn."""
        technique = self.technique
        if len({*self.new_tokens}) < len(self.new_tokens):
            raise ValueError("`new_tokens` names one twice")
        if not self.new_tokens:
            return self
        if not isinstance(technique, Lora | Full):
            message = f"`technique: {technique.kind}` leaves embeddings as they are, so `new_tokens` could not learn"
            raise ValueError(f"{message}: take `lora` or `full`")
        if isinstance(technique, Full) and (technique.freeze_layers or technique.train_layers is not None):
            message = "`freeze_layers` and `train_layers` leave embeddings as they are, so `new_tokens` could not learn"
            raise ValueError(message)
        if headed(self.objective):
            message = (
                f"`objective: {self.objective.kind}` can't learn `new_tokens`: its model has no head for them. Train "
                "them with `sft` or `pretrain`, merge, and begin with the merged model"
            )
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def a_head_can_learn(self) -> "Train":
        """Refuse a head of scores beside a technique that has no place for it."""
        if headed(self.objective) and not self.technique.merges:
            message = f"`technique: {self.technique.kind}` can't learn the head of `{self.objective.kind}`: take `lora`"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def sgd_has_a_rate(self) -> "Train":
        """Refuse a rate nobody can guess: SGD's steps grow with the gradient, so it depends on model and data."""
        if isinstance(self.optimizer, Sgd) and self.learning_rate is None:
            message = "`optimizer: sgd` needs a `learning_rate`: 0.1 is a start, as `clip` holds the gradient's norm"
            raise ValueError(message)
        return self


class Recipe(Options):
    """Everything the user asked: which model, which data, how to train, what to do with the result."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] = "run"
    """Names the run directory: a letter or digit, then letters, digits, dots, dashes, underscores."""

    model: Named
    """Model to start from: a local folder, a hub name, or `bundled`."""

    data: Data
    """Where the examples come from and what is done to them."""

    train: Train = Train()
    """How to train."""

    evaluate: Evaluate = Evaluate()
    """How base and tuned model are compared."""

    export: tuple[Target, ...] = ()
    """What to make of the result, e.g. [{to: gguf, quant: q8_0}]."""

    @model_validator(mode="after")
    def held_out_rows_for_what_needs_them(self) -> "Recipe":
        """Refuse choices by the held-out loss where nothing is held out."""
        for key, asked in (("early_stopping", self.train.early_stopping), ("keep: best", self.train.keep == "best")):
            if asked and not self.data.validates:
                message = f"`train.{key}` goes by the held-out loss, and `data.split.valid` is 0: hold out some rows"
                raise ValueError(message)
        samples = self.train.samples
        if samples is not None and not samples.prompts and not self.data.validates:
            message = "`train.samples` asks what held-out rows ask, and `data.split.valid` is 0: give it `prompts`"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def what_answers_is_asked(self) -> "Recipe":
        """Refuse what asks models that answer of models that score texts: capabilities, metrics, benchmarks, judges."""
        for name in ("capabilities", "metrics", "benchmarks", "judge", "people"):
            if getattr(self.evaluate, name) and headed(self.train.objective):
                kind = self.train.objective.kind
                message = f"`evaluate.{name}` asks a model that answers, and `objective: {kind}` makes one that scores"
                raise ValueError(message)
        return self

    @model_validator(mode="after")
    def a_window_slides_over_texts(self) -> "Recipe":
        """Refuse a window over endings that are compared whole."""
        objective = self.train.objective
        if self.evaluate.window is not None and objective.rows not in ("conversation", "text"):
            message = (
                f"`evaluate.window` has no meaning for `objective: {objective.kind}`, which compares whole endings"
            )
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def only_what_merges_is_exported(self) -> "Recipe":
        """Refuse an export whose model could never be made, before anything is trained for it."""
        technique = self.train.technique
        if self.export and not technique.merges:
            message = (
                f"`export` needs a merged model, and virtual tokens (`technique: {technique.kind}`) are no weights:"
                " leave `export` out (the result is the adapter in the run's folder `model`), or take `lora`"
            )
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def rows_suit_the_objective(self) -> "Recipe":
        """Refuse formats whose rows the objective can't learn from, or that can't say what it learns from."""
        objective = self.train.objective
        if self.data.format != "auto" and self.data.format not in MADE_FROM[objective.rows]:
            fitting = ", ".join(f"`{name}`" for name in MADE_FROM[objective.rows])
            message = (
                f"`data.format: {self.data.format}` gives `{objective.kind}` nothing to learn from; {fitting} would"
            )
            raise ValueError(message)
        output, written = self.data.output, WRITTEN_AS[objective.rows]
        if output is not None and output not in written:
            fitting = ", ".join(f"`{name}`" for name in written)
            message = f"`data.output: {output}` can't say what `{objective.kind}` learns from; {fitting} can"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def exports_what_speaks(self) -> "Recipe":
        """Refuse to write a model that scores texts as a file for programs that complete them."""
        if self.export and headed(self.train.objective):
            message = (
                f"`objective: {self.train.objective.kind}` gives a model that scores texts, which a GGUF file can't: "
                "leave out `export`, and serve the merged folder with transformers or vLLM"
            )
            raise ValueError(message)
        return self
