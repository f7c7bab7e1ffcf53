"""What luthier decides before it spends time: a pure function of the recipe and the facts.

Every value carries its reason in words. Lengths are in tokens, sizes in bytes, durations in optimizer steps.
"""

import math
from dataclasses import dataclass, fields
from typing import Any

from luthier.core.errors import RecipeError
from luthier.core.hardware import Hardware
from luthier.core.text import human_bytes, plural
from luthier.recipe.facts import ModelFacts, RowFacts
from luthier.recipe.methods import (
    Adafactor,
    AdamW,
    AdamW8bit,
    Cpo,
    Dpo,
    Full,
    Ia3,
    Kto,
    Lion,
    Lora,
    Objective,
    Optimizer,
    Orpo,
    Prefix,
    Ptuning,
    Qlora,
    Sgd,
    Simpo,
    Virtual,
)
from luthier.recipe.schema import Recipe


@dataclass(frozen=True, slots=True)
class Plan:
    """Every derived value of a run. `reasons` has one sentence for each of the others."""

    technique: str
    learning_rate: float
    """Peak."""
    batch_size: int
    """Examples per optimizer step."""
    epochs: float
    steps: int
    warmup_steps: int
    max_length: int
    pack_tokens: int
    """Tokens in one forward pass."""
    precision: str
    """`bf16`, `fp16` or `fp32`."""
    threads: int
    """Processor threads. Kept for the whole run: another number would sum in another order."""
    checkpoint_every: int
    evaluate_every: int
    gradient_checkpointing: bool
    """Whether activations are computed again in the backward pass."""
    trainable_parameters: int
    memory_bytes: int
    """Estimated peak of the training process."""
    reasons: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        """Return `{name: {"value", "reason"}}`."""
        return {
            field.name: {"value": getattr(self, field.name), "reason": self.reasons[field.name]}
            for field in fields(self)
            if field.name != "reasons"
        }

    @staticmethod
    def from_dict(entries: dict[str, Any]) -> "Plan":
        """Return the plan that `as_dict` wrote."""
        values = {name: entry["value"] for name, entry in entries.items()}
        return Plan(**values, reasons={name: entry["reason"] for name, entry in entries.items()})


def learned_from(recipe: Recipe, count: int) -> str:
    """Return `1,204 rows`, or of plain text, which is cut into pieces of `train.max_length`, `1,204 chunks`."""
    return plural(count, "chunk" if recipe.train.objective.rows == "text" else "row")


def duration(epochs: float, rows: int, batch_size: int) -> int:
    """Return the optimizer steps of so many passes over so many rows, at least 1."""
    per_epoch = -(-rows // batch_size)
    return max(1, math.ceil(per_epoch * epochs - 1e-9))  # 100 * 1.1 is a little more than 110


def longest(recipe: Recipe, model: ModelFacts) -> tuple[int, str]:
    """Return the tokens a text may have, and why."""
    asked, technique = recipe.train.max_length, recipe.train.technique
    virtual = technique.tokens if isinstance(technique, Virtual) else 0
    if model.context and model.context - virtual < asked:
        words = f"the model's context ends at {model.context:,} tokens"
        return max(1, model.context - virtual), words + (f", of which {virtual} are virtual" if virtual else "")
    return asked, "the recipe's `max_length`"


class _Draft:
    """A plan in the making: each decision is taken once, with its reason."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.reasons: dict[str, str] = {}

    def decide(self, name: str, value: Any, reason: str) -> Any:
        self.values[name], self.reasons[name] = value, reason
        return value


def plan(recipe: Recipe, model: ModelFacts, rows: RowFacts, hardware: Hardware) -> Plan:
    """Return what will be done, and why. Depends on nothing but its arguments.

    Raises:
        RecipeError: The recipe asks for what these rows or this machine can't give.
    """
    _refuse_blind(recipe, rows)
    draft = _Draft()
    draft.decide(
        "technique",
        recipe.train.technique.kind,
        "the recipe says so, or it is the default: little memory, a small file",
    )
    _duration(draft, recipe, rows)
    _learning_rate(draft, recipe, model)
    _lengths(draft, recipe, model)
    _precision(draft, recipe, hardware)
    _threads(draft, hardware)
    _rhythm(draft, recipe)
    _memory(draft, recipe, model, hardware)
    return Plan(**draft.values, reasons=draft.reasons)


def _refuse_blind(recipe: Recipe, rows: RowFacts) -> None:
    """Refuse choices by held-out rows where the split, of few rows, held none out: they would do nothing."""
    train = recipe.train
    asked = {
        "early_stopping": train.early_stopping is not None,
        "keep: best": train.keep == "best",
        "samples": train.samples is not None and not train.samples.prompts,
    }
    for key in asked if not rows.valid else ():
        if asked[key]:
            raise RecipeError(
                f"`train.{key}` goes by held-out rows, and of {plural(rows.train, 'row')} none was held out",
                hint="raise `data.split.valid`, or take more rows",
                place="data.split.valid",
            )


def _duration(draft: _Draft, recipe: Recipe, rows: RowFacts) -> None:
    train = recipe.train
    if train.batch_size is not None:
        batch = draft.decide("batch_size", min(train.batch_size, rows.train), "the recipe says so")
    else:
        size = 8 if rows.train < 500 else 16 if rows.train < 5000 else 32
        batch = draft.decide(
            "batch_size",
            min(size, rows.train),
            f"{learned_from(recipe, rows.train)}: small sets need the steps more than the smoothness, and LoRA "
            "loses by large batches (Schulman et al. 2025)",
        )
    per_epoch = -(-rows.train // batch)
    if train.max_steps is not None:
        draft.decide("steps", train.max_steps, "the recipe says `max_steps`")
        draft.decide(
            "epochs",
            train.max_steps / per_epoch,
            f"{plural(train.max_steps, 'step')} of {batch} over {learned_from(recipe, rows.train)}",
        )
        return
    if train.epochs is not None:
        epochs = draft.decide("epochs", train.epochs, "the recipe says so")
    else:
        preference = isinstance(train.objective, Dpo | Kto | Orpo | Simpo | Cpo)
        few, many = (1000, 1000) if preference else (10_000, 100_000)
        usual = 3.0 if rows.train < few else 2.0 if rows.train < many else 1.0
        reason = f"{learned_from(recipe, rows.train)}: small sets are seen again, large ones need not be"
        if preference:
            reason += "; preferences are learned in one pass and memorised in more (arXiv:2411.15124)"
        epochs = draft.decide("epochs", usual, reason)
    draft.decide(
        "steps",
        duration(epochs, rows.train, batch),
        f"{epochs:g} passes over {learned_from(recipe, rows.train)}, {batch} a step",
    )


WARM_UP = 0.05
"""Share of the steps a warm-up takes where the recipe says nothing."""


def _learning_rate(draft: _Draft, recipe: Recipe, model: ModelFacts) -> None:
    _warm_up(draft, recipe)
    if recipe.train.learning_rate is not None:
        draft.decide("learning_rate", recipe.train.learning_rate, "the recipe says so")
        return
    optimizer = recipe.train.optimizer
    if isinstance(optimizer, Adafactor) and optimizer.relative:
        reason = "a share of each weight matrix's size: the largest step of the paper (Shazeer and Stern 2018)"
        draft.decide("learning_rate", 1e-2, reason)
        return
    if isinstance(recipe.train.technique, Virtual):
        rate, words = _virtual_rate(recipe.train.technique, optimizer)
    elif isinstance(recipe.train.technique, Ia3):
        rate, words = 3e-3, "vectors that start at one take large steps: the rate of the paper (Liu et al. 2022)"
    else:
        # 5e-5 for full training at width 2000, ten times that for LoRA, falling with width to the power 0.78:
        # the fit in "LoRA Without Regret" (Schulman et al. 2025) for Llama models of 1B to 70B; an extrapolation below.
        rate = 5e-5 * (2000 / max(model.hidden_size, 1)) ** 0.78
        words = f"fit over Llama models at width {model.hidden_size}"
        if isinstance(recipe.train.technique, Lora):
            rate *= 10
            words += ", ten times full training's because low-rank adapters start at zero"
        words += " (Schulman et al. 2025)"
    share, why = _share_of_rate(recipe.train.objective)
    rate, words = rate * share, words + why
    if isinstance(optimizer, Lion):
        rate /= 5
        words += "; a fifth of AdamW's, because Lion's steps are larger: a third to a tenth (Chen et al. 2023)"
    draft.decide("learning_rate", float(f"{rate:.1e}"), words)


def _share_of_rate(objective: Objective) -> tuple[float, str]:
    """Return the share of supervised fine-tuning's learning rate that an objective takes, and why."""
    match objective:
        case Dpo():
            return (
                0.1,
                "; a tenth for DPO; its papers take 5e-7 to 1e-6 at 7B (arXiv:2305.18290, 2310.16944)",
            )
        case Kto():
            return 0.1, "; a tenth for KTO (5e-7 to 5e-6 at 7B, arXiv:2402.01306)"
        case Orpo():
            return 0.2, "; a fifth for ORPO (5e-6 to 8e-6 at 7B, arXiv:2403.07691)"
        case Cpo():
            return 0.2, "; a fifth for CPO, which learns better endings as ORPO does (arXiv:2401.08417)"
        case Simpo():
            return 1 / 30, "; a thirtieth for SimPO (3e-7 to 1e-6 at 8B, arXiv:2405.14734)"
        case _:
            return 1.0, ""


def _virtual_rate(technique: Virtual, optimizer: Optimizer) -> tuple[float, str]:
    """Return the rate of virtual tokens, and why."""
    if isinstance(technique, Ptuning) or (isinstance(technique, Prefix) and technique.projection):
        return 1e-3, "a fresh small network gives the virtual tokens: the usual rate of such a one"
    if isinstance(technique, Prefix):
        return 1e-2, "bare keys and values take large steps: within 5e-3 to 3e-2 of P-tuning v2 (Liu et al. 2022)"
    if isinstance(optimizer, Adafactor):
        return 0.3, "embeddings alone take very large steps: the rate of the paper, with Adafactor (Lester et al. 2021)"
    return 3e-2, "embeddings alone take very large steps: a tenth of the paper's with Adafactor (Lester et al. 2021)"


def _warm_up(draft: _Draft, recipe: Recipe) -> None:
    schedule, steps = recipe.train.schedule, draft.values["steps"]
    if schedule.warmup_steps is not None:
        reason = "the recipe says so"
        if schedule.warmup_steps > steps:
            reason += f"; the run has {steps:,} steps, so the rate never reaches its peak"
        draft.decide("warmup_steps", schedule.warmup_steps, reason)
        return
    share = WARM_UP if schedule.warmup is None else schedule.warmup
    draft.decide("warmup_steps", math.ceil(share * steps), f"{share:.0%} of the steps")


def _lengths(draft: _Draft, recipe: Recipe, model: ModelFacts) -> None:
    length = draft.decide("max_length", *longest(recipe, model))
    reason = "documents share a forward pass of this many tokens, isolated from each other; no padding"
    if recipe.train.objective.rows == "pair":
        draft.decide("pack_tokens", max(2 * length, 2048), f"{reason}; a pair is two of `max_length`")
    else:
        draft.decide("pack_tokens", max(length, 2048), reason)


def _precision(draft: _Draft, recipe: Recipe, hardware: Hardware) -> None:
    asked = recipe.train.precision
    if asked == "fp16" and not hardware.gpu:
        problem = "`train.precision: fp16` is for GPUs: processors compute float16 slowly, in bits that overflow"
        raise RecipeError(problem, hint="`--set train.precision=auto`")
    if asked != "auto":
        draft.decide("precision", asked, "the recipe says so")
    elif hardware.bf16:
        words = f"{hardware.gpu or 'this processor'} multiplies bfloat16 natively; sums and adapters stay float32"
        draft.decide("precision", "bf16", words)
    elif hardware.gpu:
        words = f"{hardware.gpu} knows float16 and no bfloat16; the loss is scaled, sums and adapters stay float32"
        draft.decide("precision", "fp16", words)
    else:
        draft.decide("precision", "fp32", "this processor has no bfloat16 arithmetic: it would be slower, not faster")


def _threads(draft: _Draft, hardware: Hardware) -> None:
    reason = f"{hardware.cores} cores may be used (set OMP_NUM_THREADS for fewer); a continued run keeps the number"
    draft.decide("threads", hardware.cores, reason)


def _rhythm(draft: _Draft, recipe: Recipe) -> None:
    tenth = max(1, draft.values["steps"] // 10)
    for name in ("checkpoint_every", "evaluate_every"):
        asked = getattr(recipe.train, name)
        if asked is not None:
            draft.decide(name, asked, "the recipe says so")
        else:
            draft.decide(name, tenth, "about ten times a run")


def _memory(draft: _Draft, recipe: Recipe, model: ModelFacts, hardware: Hardware) -> None:
    trainable = draft.decide("trainable_parameters", *_trainable(recipe, model))
    # A full fine-tune keeps every weight in float32, those that don't learn too; adapters come on top of the base.
    full = isinstance(recipe.train.technique, Full)
    base, stored = (4 * model.parameters, "") if full else _base(recipe, model)
    weights = base if full else base + 4 * trainable
    kept, words = kept_bytes(recipe.train.optimizer)
    states = (4 + kept) * trainable
    element = 4 if draft.values["precision"] == "fp32" else 2
    layer = element * (20 * model.hidden_size + 5 * model.intermediate_size)
    logits = 3 * 4 * model.vocabulary
    whole = draft.values["pack_tokens"] * (model.layers * layer + logits)
    # Each layer's input stays; the rest is there for one layer at a time.
    part = draft.values["pack_tokens"] * (model.layers * element * model.hidden_size + layer + logits)
    # Measured on the processor: 0.6 GB for torch, transformers and peft, and 0.3 to 1.1 GB for the kernels that
    # oneDNN compiles and keeps (docs/log.md).
    libraries = 1_600_000_000
    free = hardware.gpu_memory_bytes or hardware.memory_bytes
    asked, fixed = recipe.train.gradient_checkpointing, weights + states + libraries
    again = fixed + whole > free if asked == "auto" else asked == "on"
    why = "the recipe says so"
    if asked == "auto":
        needs = f"keeping all activations would take about {human_bytes(fixed + whole)} of {human_bytes(free)}"
        why = f"{needs}: {'too much' if again else 'enough, and faster'}"
    draft.decide("gradient_checkpointing", again, why)
    activations = part if again else whole
    reason = (
        f"weights {human_bytes(weights)}{stored}, gradients and {words} {human_bytes(states)}, a pack's activations "
        f"{human_bytes(activations)}, libraries and their kernels {human_bytes(libraries)}: a rough estimate; "
        f"{human_bytes(free)} are free"
    )
    draft.decide("memory_bytes", fixed + activations, reason)


def _base(recipe: Recipe, model: ModelFacts) -> tuple[int, str]:
    """Return the bytes of a frozen base, and how it is kept where that is in fewer bits."""
    technique = recipe.train.technique
    if not isinstance(technique, Qlora):
        return model.weight_bytes, ""
    if technique.quantize == "int8":
        bits, words = 8.0, "int8, 8 bits a weight"  # and a scale for each row
    else:
        # A scale for each 64 weights: 32 bits, or 8 and another 32 for each 256 scales.
        scale = 8 + 32 / 256 if technique.double else 32
        bits, words = 4 + scale / 64, f"NF4, {4 + scale / 64:.1f} bits a weight"
    # Embeddings and head stay as they are stored; whether they are one is not known here.
    outside = min(model.parameters, 2 * model.vocabulary * model.hidden_size)
    stored = model.weight_bytes * outside // max(1, model.parameters)
    return stored + round((model.parameters - outside) * bits / 8), f" ({words}; embeddings and head as stored)"


def _trainable(recipe: Recipe, model: ModelFacts) -> tuple[int, str]:
    """Return about how many numbers learn, and where the estimate comes from."""
    technique = recipe.train.technique
    width, inner = model.hidden_size, model.intermediate_size
    if isinstance(technique, Lora):
        # Per layer: q, k, v, o about 8 widths of in + out, gate, up, down 3 (hidden + intermediate).
        layers = model.layers if technique.layers is None else len(technique.layers)
        count = technique.rank * layers * (8 * width + 3 * (width + inner))
        return count, f"about rank {technique.rank} times the widths of {layers} layers; counted exactly in training"
    if isinstance(technique, Ia3):
        count = model.layers * (2 * width + inner)
        return count, f"three vectors in each of {model.layers} layers, about; counted exactly in training"
    if isinstance(technique, Virtual):
        return _virtual(technique, model)
    if technique.freeze_layers or technique.train_layers is not None:
        embeddings = model.vocabulary * width
        learning = model.layers - technique.freeze_layers
        if technique.train_layers is not None:
            learning = len(technique.train_layers)
        count = max(0, model.parameters - embeddings) * learning // max(1, model.layers)
        return count, f"about {learning} of {model.layers} layers; counted exactly in training"
    return model.parameters, "every weight learns"


def _virtual(technique: Virtual, model: ModelFacts) -> tuple[int, str]:
    """Return about how many numbers virtual tokens and the network that gives them have."""
    width, count = model.hidden_size, technique.tokens
    words = f"{count} virtual tokens"
    if isinstance(technique, Ptuning):
        inner = technique.width or width
        return count * width + inner * (2 * width + inner), f"{words}, and a network of three layers"
    if isinstance(technique, Prefix):
        keys = 2 * model.layers * width  # an upper bound: heads may share keys and values
        inner = technique.width or width
        if technique.projection:
            return count * width + inner * (width + keys), f"{words} in each layer, and a network; at most"
        return count * keys, f"{words} in each layer; at most"
    return count * width, words


def kept_bytes(optimizer: Optimizer) -> tuple[int, str]:
    """Return the bytes an optimizer keeps for a weight, and what they are."""
    match optimizer:
        case AdamW8bit():
            return 2, "AdamW's two moments in 8 bits"
        case AdamW():
            return 8, "AdamW's two moments"
        case Lion():
            return 4, "Lion's mean"
        case Sgd():
            return (4, "SGD's momentum") if optimizer.momentum else (0, "no state of SGD")
        case Adafactor():
            return 0, "Adafactor's rows and columns"  # 4 * (rows + columns) a matrix: below a hundredth
