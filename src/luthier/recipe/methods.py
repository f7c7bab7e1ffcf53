"""Every named method of the recipe. The union is the list; the pointer in each class leads to its code."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from luthier.recipe.options import Method

Positive = Annotated[int, Field(gt=0)]
PositiveReal = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, lt=1)]


class Lora(Method):
    """Low-rank adapters beside frozen weights (arXiv:2106.09685): little memory, a small file, merged later."""

    implementation: ClassVar[str] = "luthier.model.adapters.lora:attach"
    kind: Literal["lora"] = "lora"

    rank: Annotated[int, Field(gt=0, le=512)] = 16
    """Width of the low-rank update. 8 to 64 is usual; more learns more and forgets more."""

    alpha: PositiveReal | None = None
    """Strength of the update: it is scaled by alpha / rank. `null` means twice the rank."""

    dropout: Share = 0.0
    """Share of the adapter's inputs set to zero while training. 0 keeps the fast path."""

    targets: Literal["all-linear"] | tuple[Annotated[str, Field(min_length=1)], ...] = "all-linear"
    """Which linear layers get an adapter: `all-linear` (all but the head), or names such as [q_proj, v_proj]."""


class Full(Method):
    """Every weight learns. Needs the most memory and the smallest learning rate."""

    implementation: ClassVar[str] = "luthier.model.adapters.full:attach"
    kind: Literal["full"] = "full"


Technique = Annotated[Lora | Full, Field(discriminator="kind")]


class Sft(Method):
    """Supervised fine-tuning: the next token of every assistant turn is learned, the rest is context."""

    implementation: ClassVar[str] = "luthier.train.objectives.sft:Sft"
    kind: Literal["sft"] = "sft"


Objective = Annotated[Sft, Field(discriminator="kind")]


class Cosine(Method):
    """Rises over the warm-up, then falls along half a cosine (arXiv:1608.03983)."""

    implementation: ClassVar[str] = "luthier.train.schedules:cosine"
    kind: Literal["cosine"] = "cosine"

    warmup: Share = 0.05
    """Share of all steps over which the learning rate rises from near zero to its peak."""

    floor: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Where the fall ends, as a share of the peak. 0.1 is the usual choice for models of every size."""


class Constant(Method):
    """Rises over the warm-up, then stays."""

    implementation: ClassVar[str] = "luthier.train.schedules:constant"
    kind: Literal["constant"] = "constant"

    warmup: Share = 0.05
    """Share of all steps over which the learning rate rises from near zero to its peak."""


Schedule = Annotated[Cosine | Constant, Field(discriminator="kind")]


class Gguf(Method):
    """One file for llama.cpp, Ollama and LM Studio, loaded back and compared before it is called good."""

    implementation: ClassVar[str] = "luthier.export.gguf:to_gguf"
    to: Literal["gguf"] = "gguf"

    quant: Literal["f32", "f16", "bf16", "q8_0"] = "q8_0"
    """Type of the large weights: `f16` is twice the size of `q8_0` and a little nearer to the original."""


Target = Annotated[Gguf, Field(discriminator="to")]
