"""Every named method of the recipe. The union is the list; the pointer in each class leads to its code."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from luthier.recipe.options import Method, Options

Positive = Annotated[int, Field(gt=0)]
PositiveReal = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, lt=1)]
UpToOne = Annotated[float, Field(ge=0, le=1)]
ZeroOrMore = Annotated[float, Field(ge=0, allow_inf_nan=False)]


Rows = Literal["conversation", "pair", "judged", "class", "text"]
"""What an objective learns from: a conversation, two endings of one, an answer called good or bad, a text with its
class, plain text."""

Layers = tuple[Annotated[int, Field(ge=0)], ...]
Named = Annotated[str, Field(min_length=1)]


class Lora(Method):
    """Low-rank adapters beside frozen weights (arXiv:2106.09685): little memory, a small file, merged later."""

    implementation: ClassVar[str] = "luthier.model.adapters.lora:attach"
    kind: Literal["lora"] = "lora"

    rank: Annotated[int, Field(gt=0, le=512)] = 16
    """Width of the low-rank update. 8 to 64 is usual; more learns more and forgets more."""

    alpha: PositiveReal | None = None
    """Strength of the update: it is scaled by alpha / rank. `null` means twice the rank, or 16 with `rslora`."""

    dropout: Share = 0.0
    """Share of the adapter's inputs set to zero while training. 0 keeps the fast path."""

    targets: Literal["all-linear"] | tuple[Named, ...] = "all-linear"
    """Which linear layers get an adapter: `all-linear` (all but the head), or names such as [q_proj, v_proj]."""

    targets_pattern: Named | None = None
    """A regular expression that the whole name of a linear layer must match, instead of `targets`."""

    layers: Layers | None = None
    """Numbers of the model's layers that get adapters, from 0. `null` means all."""

    rank_pattern: dict[Named, Annotated[int, Field(gt=0, le=512)]] = Field(default_factory=dict)
    """Other ranks by the end of a layer's name, a regular expression: {down_proj: 32}. The first that fits counts."""

    alpha_pattern: dict[Named, PositiveReal] = Field(default_factory=dict)
    """Other values of `alpha`, by the end of a layer's name as in `rank_pattern`."""

    rslora: bool = False
    """Scale by alpha / sqrt(rank) instead, so that high ranks still learn (arXiv:2312.03732)."""

    dora: bool = False
    """Learn the length of every weight row apart from its direction (arXiv:2402.09353). Slower, often a little better
    at low rank."""

    init: Literal["default", "gaussian", "pissa", "olora"] = "default"
    """How adapters start: `default` half random and uniform (Kaiming), half zero; `gaussian` normal instead, with
    deviation 1 / rank. `pissa` starts at the weight's largest singular vectors (arXiv:2404.02948), `olora` at its QR
    factors (arXiv:2406.01775), which costs twice the rank: that is taken away again. All begin as the base."""

    bias: Literal["none", "all", "lora_only"] = "none"
    """Biases that learn beside the adapters: `all` of the model, or those of layers with an adapter."""

    modules_to_save: tuple[Named, ...] = ()
    """Modules that learn whole beside the adapters, by the end of their names, such as [embed_tokens, lm_head]."""

    lr_ratio: Annotated[float, Field(ge=1, le=1000)] = 1.0
    """Learning rate of the B matrices over that of the A matrices (LoRA+, arXiv:2402.12354). 4 to 16 is usual; with
    it, the rate itself should be lower."""

    @model_validator(mode="after")
    def one_choice_of_layers(self) -> "Lora":
        """Refuse two ways to name the same layers: which one was meant?"""
        if self.targets_pattern is not None and self.targets != "all-linear":
            message = "`targets` and `targets_pattern` exclude each other: keep one"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def one_length_of_rows(self) -> "Lora":
        """Refuse a start that DoRA, which measures lengths of weight plus update, would see as a change."""
        if self.dora and self.init in ("pissa", "olora"):
            message = f"`dora` and `init: {self.init}` exclude each other: keep one"
            raise ValueError(message)
        return self


class Qlora(Lora):
    """LoRA on a frozen base in 4 or 8 bits (QLoRA, arXiv:2305.14314): a quarter or half of the base's memory.

    The base is quantised while it is loaded, from 16-bit weights. What is evaluated and merged is the base as it was
    trained in: the numbers its bits stand for.
    """

    implementation: ClassVar[str] = "luthier.model.adapters.qlora:attach"
    needs: ClassVar[tuple[str, str] | None] = ("bitsandbytes", "quant")
    kind: Literal["qlora"] = "qlora"  # type: ignore[assignment]

    quantize: Literal["nf4", "int8"] = "nf4"
    """How the base is kept: `nf4`, 4 bits, or `int8`, 8 bits with a smaller error. Activations stay whole."""

    double: bool = True
    """Quantise the scales of `nf4` too: 4.1 bits a weight instead of 4.5."""

    @model_validator(mode="after")
    def biases_stay(self) -> "Qlora":
        """Refuse biases of quantised layers: bitsandbytes rounds them to the type of the input as it computes."""
        if self.bias != "none":
            message = "biases can't learn on a quantised base: leave `bias` out, or take `kind: lora`"
            raise ValueError(message)
        return self


class Virtual(Options):
    """Virtual tokens that learn before a frozen model. They are inputs, not weights, and can't be merged."""

    merges: ClassVar[bool] = False

    tokens: Annotated[int, Field(gt=0, le=512)] = 20
    """How many stand before every text. 20 to 100 is usual; each takes a place of the model's context."""


class Prompt(Virtual, Method):
    """Embeddings that learn, before every text (arXiv:2104.08691): the smallest file. Wants models of billions."""

    implementation: ClassVar[str] = "luthier.model.adapters.virtual:attach"
    kind: Literal["prompt"] = "prompt"

    init: Literal["vocabulary", "random"] = "vocabulary"
    """How they start: as embeddings of words drawn from the vocabulary, or as random numbers."""

    text: Named | None = None
    """Start as the embeddings of this text instead, cut or repeated to their number."""


class Ptuning(Virtual, Method):
    """Embeddings before every text that a small network gives while they learn (P-tuning, arXiv:2103.10385)."""

    implementation: ClassVar[str] = "luthier.model.adapters.virtual:attach"
    kind: Literal["ptuning"] = "ptuning"

    width: Positive | None = None
    """Width of the network. `null` means the model's."""


class Prefix(Virtual, Method):
    """Keys and values that learn, before every text in each layer (prefix tuning, arXiv:2101.00190)."""

    implementation: ClassVar[str] = "luthier.model.adapters.virtual:attach"
    kind: Literal["prefix"] = "prefix"

    projection: bool = True
    """Let a small network give them while they learn, which the paper found steadier. It isn't part of the result."""

    width: Positive | None = None
    """Width of that network. `null` means that of the keys of a layer."""

    init: Literal["zero", "random"] = "zero"
    """How they start: at zero, near the base, or random."""

    @model_validator(mode="after")
    def starts_differ(self) -> "Prefix":
        """Refuse a start in which all are the same number, and stay so."""
        if self.init == "zero" and not self.projection:
            message = "`init: zero` without `projection` lets all virtual tokens stay alike: take `random`"
            raise ValueError(message)
        return self


class Ia3(Method):
    """Three vectors a layer that scale keys, values and inner activations (arXiv:2205.05638): the smallest adapter."""

    implementation: ClassVar[str] = "luthier.model.adapters.ia3:attach"
    kind: Literal["ia3"] = "ia3"

    outputs: tuple[Named, ...] | None = None
    """Linear layers whose outputs are scaled, such as [k_proj, v_proj]. `null` for both keys takes PEFT's choice for
    the architecture: keys (or queries, which does the same), values and inner activations."""

    inputs: tuple[Named, ...] | None = None
    """Linear layers whose inputs are scaled: the last of a feed-forward block, such as [down_proj]."""

    @model_validator(mode="after")
    def no_layer_twice(self) -> "Ia3":
        """Refuse a layer that is scaled on both sides, which PEFT has no name for, and a choice of none."""
        twice = sorted({*(self.outputs or ())} & {*(self.inputs or ())})
        if twice:
            message = f"`outputs` and `inputs` both name {', '.join(twice)}"
            raise ValueError(message)
        if not self.outputs and not self.inputs and (self.outputs, self.inputs) != (None, None):
            message = "`outputs` and `inputs` name no layer, so nothing would learn"
            raise ValueError(message)
        return self


class Full(Method):
    """Every weight learns. Needs the most memory and the smallest learning rate."""

    implementation: ClassVar[str] = "luthier.model.adapters.full:attach"
    kind: Literal["full"] = "full"

    freeze_layers: Annotated[int, Field(ge=0)] = 0
    """How many of the first layers stay as they are, and the embeddings with them. 0 lets everything learn."""

    train_layers: Layers | None = None
    """Numbers of the layers that learn, from 0; everything else stays as it is. Instead of `freeze_layers`."""

    @model_validator(mode="after")
    def one_choice_of_layers(self) -> "Full":
        """Refuse two ways to name the same layers: which one was meant?"""
        if self.freeze_layers and self.train_layers is not None:
            message = "`freeze_layers` and `train_layers` exclude each other: keep one"
            raise ValueError(message)
        if self.train_layers == ():
            message = "`train_layers` is empty, so nothing would learn"
            raise ValueError(message)
        return self


SHORT: Mapping[str, Mapping[str, str | bool]] = {"dora": {"kind": "lora", "dora": True}}
"""Names a recipe may use for a method with options of it."""

Technique = Annotated[Lora | Qlora | Ia3 | Prompt | Ptuning | Prefix | Full, Field(discriminator="kind")]


class Sft(Method):
    """Supervised fine-tuning: the next token of every assistant turn is learned, the rest is context."""

    implementation: ClassVar[str] = "luthier.train.objectives.sft:Sft"
    rows: ClassVar[Rows] = "conversation"
    kind: Literal["sft"] = "sft"

    label_smoothing: Share = 0.0
    """Share of every target's probability that is spread over the whole vocabulary (arXiv:1512.00567). 0.1 is usual;
    the held-out loss is measured without."""


class Pretrain(Method):
    """Continued pretraining: every token of plain text is learned (arXiv:2004.10964). No template, no turns."""

    implementation: ClassVar[str] = "luthier.train.objectives.sft:Sft"
    rows: ClassVar[Rows] = "text"
    kind: Literal["pretrain"] = "pretrain"

    label_smoothing: Share = 0.0
    """As in `sft`."""


class Dpo(Method):
    """Direct preference optimization (arXiv:2305.18290): better endings gain on worse ones, against the base model."""

    implementation: ClassVar[str] = "luthier.train.objectives.dpo:Dpo"
    rows: ClassVar[Rows] = "pair"
    kind: Literal["dpo"] = "dpo"

    loss: Literal["sigmoid", "ipo", "hinge", "robust"] = "sigmoid"
    """What is made of the margin: `sigmoid` as in the paper; `ipo` aims at a fixed margin per token, so that it can't
    grow without end (arXiv:2310.12036); `hinge` stops at a margin (arXiv:2305.10425); `robust` corrects for the share
    of wrong labels that `label_smoothing` names (arXiv:2403.00409)."""

    beta: PositiveReal = 0.1
    """How strongly the model is held to what it was: 0.01 lets it move far, 0.5 hardly. In `ipo` the margin aimed at is
    1 / (2 * beta)."""

    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    """Share of pairs that are thought to be labelled the wrong way round (conservative DPO, or `robust`)."""

    sft_weight: ZeroOrMore = 0.0
    """Weight of the better ending's loss as in `sft`, added so that it becomes more likely too (arXiv:2404.19733).
    1 is usual."""

    @model_validator(mode="after")
    def smoothing_is_defined(self) -> "Dpo":
        """Refuse what no paper defines, and what would change nothing."""
        if self.label_smoothing and self.loss in ("ipo", "hinge"):
            message = f"`label_smoothing` has no meaning for `loss: {self.loss}`; `sigmoid` and `robust` know it"
            raise ValueError(message)
        if self.loss == "robust" and not self.label_smoothing:
            message = "`loss: robust` needs a `label_smoothing`, the share of wrong labels; without, it is `sigmoid`"
            raise ValueError(message)
        return self


class Orpo(Method):
    """Odds ratio preference optimization (arXiv:2403.07691): learns better endings, pushes worse ones away."""

    implementation: ClassVar[str] = "luthier.train.objectives.orpo:Orpo"
    rows: ClassVar[Rows] = "pair"
    kind: Literal["orpo"] = "orpo"

    beta: PositiveReal = 0.1
    """Weight of the odds ratio beside the likelihood; lambda in the paper."""


class Simpo(Method):
    """Simple preference optimization (arXiv:2405.14734): likelihoods per token, a margin to reach, no base model."""

    implementation: ClassVar[str] = "luthier.train.objectives.simpo:Simpo"
    rows: ClassVar[Rows] = "pair"
    kind: Literal["simpo"] = "simpo"

    beta: PositiveReal = 2.0
    """Scale of the difference in likelihood per token. 2 to 10 in the paper."""

    gamma: ZeroOrMore = 1.0
    """Margin to reach; the paper tunes it as a share of `beta`, of 0.3 to 0.8."""

    sft_weight: ZeroOrMore = 0.0
    """Weight of the better ending's loss as in `sft`, for models that forget how to answer (CPO-SimPO)."""


class Cpo(Method):
    """Contrastive preference optimization (arXiv:2401.08417): DPO without the base, and better endings learned."""

    implementation: ClassVar[str] = "luthier.train.objectives.cpo:Cpo"
    rows: ClassVar[Rows] = "pair"
    kind: Literal["cpo"] = "cpo"

    beta: PositiveReal = 0.1
    """Scale of the difference in likelihood."""

    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    """Share of pairs that are thought to be labelled the wrong way round."""

    sft_weight: ZeroOrMore = 1.0
    """Weight of the better ending's loss as in `sft`."""


class Kto(Method):
    """Kahneman-Tversky optimization (arXiv:2402.01306): single answers, each called good or bad."""

    implementation: ClassVar[str] = "luthier.train.objectives.kto:Kto"
    rows: ClassVar[Rows] = "judged"
    kind: Literal["kto"] = "kto"

    loss: Literal["kto", "apo_zero_unpaired"] = "kto"
    """`kto` measures rewards from how far the model has moved on answers that belong elsewhere; `apo_zero_unpaired`
    from zero (arXiv:2408.06266): cheaper, and right where few different answers are in the data."""

    beta: PositiveReal = 0.1
    """How strongly the model is held to what it was."""

    desirable_weight: PositiveReal = 1.0
    """Weight of good answers. With unequal numbers, make weight times number of good ones 1 to 1.5 times the bad."""

    undesirable_weight: PositiveReal = 1.0
    """Weight of bad answers."""


class Reward(Method):
    """A reward model: a score for a text, higher for the better of two (arXiv:2203.02155). It can't answer."""

    implementation: ClassVar[str] = "luthier.train.objectives.reward:Reward"
    rows: ClassVar[Rows] = "pair"
    kind: Literal["reward"] = "reward"

    margin: ZeroOrMore = 1.0
    """Times a row's own margin: how far apart the scores of a pair should be (Llama 2, arXiv:2307.09288). 0 takes no
    notice of margins; rows without one have 0."""

    center: ZeroOrMore = 0.0
    """Pull of the sum of both scores towards zero (arXiv:2312.09244), so that scores of different prompts can be
    compared. 0.01 is usual."""


class Classify(Method):
    """Classification: one score for each class, of which the highest is the answer."""

    implementation: ClassVar[str] = "luthier.train.objectives.classify:Classify"
    rows: ClassVar[Rows] = "class"
    kind: Literal["classify"] = "classify"

    weights: Literal["even", "balanced"] = "even"
    """How much a text counts: `even`, all the same; `balanced`, the more the rarer its class, so that each class counts
    the same."""

    label_smoothing: Share = 0.0
    """Share of the answer that is spread over all classes (arXiv:1512.00567): a little less certain."""


Objective = Annotated[Sft | Pretrain | Dpo | Orpo | Kto | Simpo | Cpo | Reward | Classify, Field(discriminator="kind")]


def headed(objective: Objective) -> bool:
    """Return whether an objective learns scores of whole texts: its model gets a head in place of its vocabulary."""
    return isinstance(objective, Reward | Classify)


def per_token(objective: Objective) -> bool:
    """Return whether an objective on pairs compares likelihoods per token, so that length doesn't count."""
    return isinstance(objective, Simpo | Orpo) or (isinstance(objective, Dpo) and objective.loss == "ipo")


def loss_unit(objective: Objective) -> str:
    """Return what the loss of an objective counts, for the axis of its curve."""
    match objective.rows:
        case "conversation" | "text":
            return "nats per learned token"
        case "pair":
            return "loss per pair"
        case "judged":
            return "loss per answer"
        case "class":
            return "nats per text"


class AdamW(Method):
    """Adam with decoupled weight decay (arXiv:1711.05101): the usual choice. Two float32 numbers a weight."""

    implementation: ClassVar[str] = "luthier.train.optim:adamw"
    kind: Literal["adamw"] = "adamw"

    beta1: Share = 0.9
    """How much of the mean gradient is kept from step to step."""

    beta2: Share = 0.999
    """How much of the mean squared gradient is kept from step to step. 0.95 follows changes faster."""

    epsilon: PositiveReal = 1e-8
    """Added to the root of the mean square, so that tiny gradients are not blown up."""


class AdamW8bit(AdamW):
    """AdamW whose two moments are kept in 8 bits, block by block (arXiv:2110.02861): a quarter of AdamW's memory.

    Weights of fewer than 4,096 numbers keep 32 bits, so small adapters save nothing; the training report tells the
    bytes. On the processor as well as on CUDA.
    """

    implementation: ClassVar[str] = "luthier.train.optim:adamw_8bit"
    needs: ClassVar[tuple[str, str] | None] = ("bitsandbytes", "quant")
    kind: Literal["adamw_8bit"] = "adamw_8bit"  # type: ignore[assignment]

    paged: bool = False
    """Let the moments move to the machine's memory while the GPU's is full. Only on CUDA."""


class Adafactor(Method):
    """Adam's second moment as a row and a column of each matrix (arXiv:1804.04235): next to no memory."""

    implementation: ClassVar[str] = "luthier.train.optim:adafactor"
    kind: Literal["adafactor"] = "adafactor"

    relative: bool = False
    """Make steps relative to the size of each weight matrix, as the paper does; the rate is a share then (0.01 there).
    Adapters start at zero and want `false`: steps are those of the rate, but for weights larger than 1 on average."""

    beta2_decay: Annotated[float, Field(lt=0, allow_inf_nan=False)] = -0.8
    """How fast the mean square settles: at step t it takes in a share t^beta2_decay of the new one."""

    update_clip: PositiveReal = 1.0
    """Largest root mean square of an update, before the rate; a larger one is scaled down to it."""


class Sgd(Method):
    """Stochastic gradient descent with momentum. Needs a `learning_rate`: there is no good one for every model."""

    implementation: ClassVar[str] = "luthier.train.optim:sgd"
    kind: Literal["sgd"] = "sgd"

    momentum: Share = 0.9
    """How much of the last step is taken again. 0 keeps no state at all."""

    nesterov: bool = False
    """Look ahead: take the gradient as if the momentum had been followed already."""

    @model_validator(mode="after")
    def nesterov_needs_momentum(self) -> "Sgd":
        """Refuse what is not defined."""
        if self.nesterov and not self.momentum:
            message = "`nesterov` needs a `momentum` above 0"
            raise ValueError(message)
        return self


class Lion(Method):
    """Steps of one size in the direction of a moving mean (arXiv:2302.06675). One float32 number a weight."""

    implementation: ClassVar[str] = "luthier.train.optim:lion"
    kind: Literal["lion"] = "lion"

    beta1: Share = 0.9
    """How much the mean weighs against the new gradient when the direction of a step is chosen."""

    beta2: Share = 0.99
    """How much of the mean gradient is kept from step to step."""


Optimizer = Annotated[AdamW | AdamW8bit | Adafactor | Sgd | Lion, Field(discriminator="kind")]


class WarmUp(Options):
    """How every schedule begins."""

    warmup: Share | None = None
    """Share of all steps over which the learning rate rises from near zero to its peak. `null` means 0.05, unless
    `warmup_steps` is given."""

    warmup_steps: Annotated[int, Field(ge=0)] | None = None
    """The same as a number of steps, instead of `warmup`."""

    @model_validator(mode="after")
    def one_length(self) -> Self:
        """Refuse two lengths: which one was meant?"""
        if self.warmup is not None and self.warmup_steps is not None:
            message = "`warmup` and `warmup_steps` exclude each other: keep one"
            raise ValueError(message)
        return self


class Falling(WarmUp):
    """How a schedule that falls ends."""

    floor: UpToOne = 0.1
    """Where the fall ends, as a share of the peak. 0.1 is the usual choice for models of every size; 0 pays in long
    runs (arXiv:2502.15938)."""


class Cosine(Falling, Method):
    """Rises over the warm-up, then falls along half a cosine (arXiv:1608.03983)."""

    implementation: ClassVar[str] = "luthier.train.schedules:cosine"
    kind: Literal["cosine"] = "cosine"


class Restarts(Falling, Method):
    """Rises over the warm-up, then falls along half a cosine several times, from the peak each (arXiv:1608.03983)."""

    implementation: ClassVar[str] = "luthier.train.schedules:restarts"
    kind: Literal["restarts"] = "restarts"

    cycles: Positive = 2
    """How many times it falls."""


class Linear(Falling, Method):
    """Rises over the warm-up, then falls in a straight line."""

    implementation: ClassVar[str] = "luthier.train.schedules:linear"
    kind: Literal["linear"] = "linear"


class Polynomial(Falling, Method):
    """Rises over the warm-up, then falls as a power of the steps that are left."""

    implementation: ClassVar[str] = "luthier.train.schedules:polynomial"
    kind: Literal["polynomial"] = "polynomial"

    power: PositiveReal = 2.0
    """1 is a straight line; more falls faster at first."""


class Wsd(Falling, Method):
    """Warm-up, stable, decay: stays at the peak and falls only at the end (arXiv:2405.18392)."""

    implementation: ClassVar[str] = "luthier.train.schedules:wsd"
    kind: Literal["wsd"] = "wsd"

    decay: UpToOne = 0.2
    """Share of all steps, at the end, over which the rate falls. 0.1 to 0.2 is enough for long runs."""

    shape: Literal["1-sqrt", "linear"] = "1-sqrt"
    """How it falls: as 1 - sqrt of the way, which the paper found best, or in a straight line."""


class InverseSqrt(WarmUp, Method):
    """Rises over the warm-up, then falls with the root of the steps (arXiv:1706.03762): for runs without an end."""

    implementation: ClassVar[str] = "luthier.train.schedules:inverse_sqrt"
    kind: Literal["inverse_sqrt"] = "inverse_sqrt"

    timescale: Positive | None = None
    """Steps after which the rate has fallen to 0.71 of the peak. `null` means as many as the warm-up has."""


class Constant(WarmUp, Method):
    """Rises over the warm-up, then stays."""

    implementation: ClassVar[str] = "luthier.train.schedules:constant"
    kind: Literal["constant"] = "constant"


Schedule = Annotated[
    Cosine | Linear | Constant | Restarts | Polynomial | Wsd | InverseSqrt, Field(discriminator="kind")
]


class Automatic(Method):
    """`ddp`; or `fsdp2` where the memory of one GPU would not hold the training."""

    implementation: ClassVar[str] = "luthier.train.parallel:settled"
    kind: Literal["auto"] = "auto"


class Ddp(Method):
    """Every process holds the whole model and computes a share of each step (arXiv:2006.15704)."""

    implementation: ClassVar[str] = "luthier.train.parallel:copied"
    kind: Literal["ddp"] = "ddp"


class Fsdp2(Method):
    """Every process holds a part of each weight, so a model may be larger than one GPU (arXiv:2304.11277)."""

    implementation: ClassVar[str] = "luthier.train.fsdp2:shard"
    kind: Literal["fsdp2"] = "fsdp2"

    reshard: bool = True
    """Give the others' parts of a layer back after its forward pass. `false` keeps them until the backward pass:
    faster, and as much memory for weights as `ddp`."""


class Gguf(Method):
    """One file for llama.cpp, Ollama and LM Studio, loaded back and compared before it is called good."""

    implementation: ClassVar[str] = "luthier.export.gguf:to_gguf"
    to: Literal["gguf"] = "gguf"

    quant: Literal[
        "f32", "f16", "bf16", "q8_0", "q6_k", "q5_k_m", "q5_k_s", "q4_k_m", "q4_k_s", "q4_0", "q3_k_m", "q2_k"
    ] = "q8_0"
    """Type of the large weights, from exact to small, in llama.cpp's mixes: `f16` takes 16 bits a weight, `q8_0` 8.5,
    `q6_k` 6.6, `q5_k_m` about 5.7, `q4_k_m` 4.9, `q3_k_m` 4, `q2_k` 3.2. Below `q4_k_m` answers suffer, in small models
    much; the report says how much. Rows that no block of 256 weights fits get a larger type."""


class DeepSpeed(Method):
    """What a DeepSpeed configuration asks for, done without DeepSpeed: ZeRO 0 to 2 as `ddp`, 3 as `fsdp2`."""

    implementation: ClassVar[str] = "luthier.recipe.deepspeed:accepted"
    kind: Literal["deepspeed"] = "deepspeed"

    config: Named = "ds_config.json"
    """The file. What contradicts the recipe, or can't be done, is refused; what only tunes DeepSpeed is told."""


Parallel = Annotated[Automatic | Ddp | Fsdp2 | DeepSpeed, Field(discriminator="kind")]


Target = Annotated[Gguf, Field(discriminator="to")]


class TensorBoard(Method):
    """Scalars for `tensorboard --logdir`."""

    implementation: ClassVar[str] = "luthier.train.track.tensorboard:TensorBoard"
    needs: ClassVar[tuple[str, str] | None] = ("tensorboard", "tensorboard")
    kind: Literal["tensorboard"] = "tensorboard"

    folder: Named | None = None
    """Folder of several runs' logs; each gets one of its own in it. `null` means `train/tensorboard` in the run."""


class Wandb(Method):
    """Weights & Biases. Offline unless `mode: online`: `wandb sync RUN/train/wandb/offline-run-*` sends it later."""

    implementation: ClassVar[str] = "luthier.train.track.wandb:Wandb"
    needs: ClassVar[tuple[str, str] | None] = ("wandb", "wandb")
    kind: Literal["wandb"] = "wandb"

    project: Named = "luthier"
    """Name of the project."""

    entity: Named | None = None
    """User or team it belongs to. `null` takes the one that is logged in."""

    mode: Literal["offline", "online"] = "offline"
    """`offline` writes into the run; `online` sends to the server that `wandb login` knows."""


class Mlflow(Method):
    """MLflow, in a database in the run unless a server is named."""

    implementation: ClassVar[str] = "luthier.train.track.mlflow:Mlflow"
    needs: ClassVar[tuple[str, str] | None] = ("mlflow", "mlflow")
    kind: Literal["mlflow"] = "mlflow"

    experiment: Named = "luthier"
    """Name of the experiment."""

    uri: Named | None = None
    """Where MLflow keeps runs: `http://…` or `sqlite:///…`. `null` means `train/mlflow.db` in the run."""


class Trackio(Method):
    """Trackio, in its own folder on this machine."""

    implementation: ClassVar[str] = "luthier.train.track.trackio:Trackio"
    needs: ClassVar[tuple[str, str] | None] = ("trackio", "trackio")
    kind: Literal["trackio"] = "trackio"

    project: Named = "luthier"
    """Name of the project."""


Tracker = Annotated[TensorBoard | Wandb | Mlflow | Trackio, Field(discriminator="kind")]
