"""What in a plan will probably be regretted, and what to type instead: a pure function, told before time is spent."""

from collections.abc import Iterator
from typing import Any

from luthier.core.hardware import Hardware
from luthier.core.report import Finding
from luthier.core.text import human_bytes, plural
from luthier.recipe.facts import ModelFacts, RowFacts
from luthier.recipe.methods import Full, Lora, Qlora, Sgd
from luthier.recipe.plan import Plan, learned_from, plan
from luthier.recipe.schema import Recipe

FEW_ROWS = 50
"""Of fewer, the steps are few whatever is done; the dataset report says that the rows are."""

MANY_EPOCHS = 10
SMALL_SET = 1000
FEW_STEPS = 20


def advice(recipe: Recipe, decided: Plan, model: ModelFacts, rows: RowFacts, hardware: Hardware) -> tuple[Finding, ...]:
    """Return what a person should know before this plan is carried out.

    Args:
        recipe: What was asked.
        decided: What `plan` made of it and of the other arguments.
        model: The model.
        rows: The data.
        hardware: The machine.
    """
    return (
        *_memory(recipe, decided, model, rows, hardware),
        *_rate(recipe, decided, model, rows, hardware),
        *_rows(recipe, decided, rows),
        *_capacity(recipe, model, rows),
    )


def _memory(recipe: Recipe, decided: Plan, model: ModelFacts, rows: RowFacts, hardware: Hardware) -> Iterator[Finding]:
    free = hardware.gpu_memory_bytes or hardware.memory_bytes
    if decided.memory_bytes <= free:
        return
    text = f"this may need {human_bytes(decided.memory_bytes)}, and {human_bytes(free)} are free"
    for words, changes in _smaller(recipe):
        less = plan(_with(recipe, **changes), model, rows, hardware).memory_bytes
        if less <= free:
            yield Finding("warning", text, f"{words} would need about {human_bytes(less)}")
            return
    yield Finding("warning", text, "take a smaller model, or a machine with more memory")


def _smaller(recipe: Recipe) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield changes that need less memory, those that change the result least first."""
    train = recipe.train
    half = train.max_length // 2
    shorter = f"`--set train.max_length={half}`"
    yield "`--set train.gradient_checkpointing=on`", {"gradient_checkpointing": "on"}
    if isinstance(train.technique, Full):
        yield "`--set train.technique=lora`", {"technique": Lora()}
        yield "`--set train.technique=qlora`", {"technique": Qlora()}
    elif isinstance(train.technique, Lora) and not isinstance(train.technique, Qlora):
        yield "`--set train.technique=qlora`", {"technique": Qlora()}
    yield shorter, {"max_length": half}


def _with(recipe: Recipe, **changes: Any) -> Recipe:
    return recipe.model_copy(update={"train": recipe.train.model_copy(update=changes)})


def _rate(recipe: Recipe, decided: Plan, model: ModelFacts, rows: RowFacts, hardware: Hardware) -> Iterator[Finding]:
    """Compare an asked learning rate with the one the plan would have chosen."""
    if recipe.train.learning_rate is None or isinstance(recipe.train.optimizer, Sgd):
        return
    usual = plan(_with(recipe, learning_rate=None), model, rows, hardware)
    ratio = decided.learning_rate / usual.learning_rate
    if 1 / 30 < ratio < 10:
        return
    high = ratio > 1
    share = f"{ratio:.0f} times" if high else f"a {1 / ratio:.0f}th of"
    harm = "the loss may rise, and the model forget" if high else "it may hardly learn"
    text = f"a learning rate of {decided.learning_rate:g} is {share} the usual {usual.learning_rate:g}: {harm}"
    yield Finding("warning", text, "`--set train.learning_rate=null` takes the usual one")


def holding_back(recipe: Recipe) -> str:
    """Return what to do so that rows are held out, where none are."""
    if recipe.data.valid_sources:
        return "no row of `data.valid_sources` was kept: look why in dropped.jsonl"
    share = recipe.data.split.valid
    if not share:
        return "set `data.split.valid` above 0"
    return f"there are too few rows for `data.split.valid: {share:g}`: add some, or cut a document into several"


def _rows(recipe: Recipe, decided: Plan, rows: RowFacts) -> Iterator[Finding]:
    if decided.epochs > MANY_EPOCHS and rows.train < SMALL_SET:
        text = f"{decided.epochs:g} passes over {learned_from(recipe, rows.train)} will be memorised"
        yield Finding("warning", text, "lower `train.epochs`; watch the held-out loss")
    if decided.batch_size >= rows.train > 1 and recipe.train.batch_size is not None:
        text = f"a step takes all {learned_from(recipe, rows.train)}, so a pass is one step"
        yield Finding("warning", text, "`--set train.batch_size=null` lets the plan choose")
    elif decided.steps < FEW_STEPS and rows.train >= FEW_ROWS:
        text = f"only {plural(decided.steps, 'step')}: the rate has hardly risen when it falls again"
        yield Finding("note", text, "a smaller `train.batch_size` gives more steps")
    if rows.valid and decided.evaluate_every > decided.steps:
        text = (
            f"the held-out loss is taken every {decided.evaluate_every:,} steps of {decided.steps:,}: at the end only"
        )
        yield Finding("note", text, "`--set train.evaluate_every=null` takes it about ten times")


def _capacity(recipe: Recipe, model: ModelFacts, rows: RowFacts) -> Iterator[Finding]:
    technique = recipe.train.technique
    everything = isinstance(technique, Full) and not technique.freeze_layers and technique.train_layers is None
    if everything and rows.train < SMALL_SET and model.parameters > 100_000_000:
        text = f"every one of {model.parameters / 1e6:,.0f} M weights learns from {learned_from(recipe, rows.train)}"
        yield Finding("warning", f"{text}: it will forget much of what it knew", "try `--set train.technique=lora`")
