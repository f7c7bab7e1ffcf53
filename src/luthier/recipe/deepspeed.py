"""A DeepSpeed configuration, read for what it asks: done where luthier does it, refused where it does another thing.

DeepSpeed itself is not used. ZeRO (arXiv:1910.02054) says how memory is shared, and that carries over; optimizer,
schedule and batch are the recipe's.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from luthier.core.errors import RecipeError
from luthier.recipe.methods import Ddp, DeepSpeed, Fsdp2
from luthier.recipe.schema import Train

STAGES: dict[int, tuple[Ddp | Fsdp2, str]] = {
    0: (Ddp(), "ZeRO stage 0 is `ddp`"),
    1: (Ddp(), "ZeRO stage 1 runs as `ddp`: the optimizer's state stays whole in every process"),
    2: (Ddp(), "ZeRO stage 2 runs as `ddp`: gradients and the optimizer's state stay whole in every process"),
    3: (Fsdp2(), "ZeRO stage 3 is `fsdp2`"),
}

RECIPE_SAYS = {
    "optimizer": "`train.optimizer`, `train.learning_rate` and `train.weight_decay`",
    "scheduler": "`train.schedule`",
    "train_batch_size": "`train.batch_size`",
    "gradient_clipping": "`train.clip`",
}
"""Keys that the recipe has of its own. Where the file gives a value, it must be the recipe's."""

NAMES = {
    "AdamW": "adamw",
    "Adam": "adamw",
    "Lion": "lion",
    "WarmupLR": "constant",
    "WarmupDecayLR": "linear",
    "WarmupCosineLR": "cosine",
}
"""DeepSpeed's names of methods, and the recipe's."""

OTHER_WORK = (
    *("compression_training", "sparse_attention", "data_efficiency", "curriculum_learning", "progressive_layer_drop"),
    *("pipeline", "tensor_parallel", "autotuning", "quantize_training", "aio"),
)
"""Keys that make another training of it."""


class Accepted(NamedTuple):
    """What luthier does for a configuration."""

    way: Ddp | Fsdp2
    reason: str
    ignored: tuple[str, ...]
    """Keys that tune DeepSpeed itself, and say nothing here."""


def accepted(options: DeepSpeed, train: Train) -> Accepted:
    """Return what luthier does for a DeepSpeed configuration.

    Raises:
        RecipeError: The file can't be read, contradicts the recipe, or asks for what luthier doesn't do.
    """
    config = _read(options.config)
    place = options.config
    zero = _section(config, "zero_optimization", place)
    stage = zero.get("stage", 0)
    if stage not in STAGES or isinstance(stage, bool):
        raise RecipeError(f"`zero_optimization.stage` is {stage!r}", hint="0, 1, 2 and 3 are known", place=place)
    _refuse_other_work(config, zero, place)
    _refuse_contradictions(config, train, place)
    way, reason = STAGES[stage]
    if isinstance(way, Fsdp2) and train.undivided:
        raise RecipeError(
            f"{reason}, which gives every process a part of each weight, and {train.undivided}",
            hint="set `zero_optimization.stage` to 2, or `--set train.parallel=ddp`",
            place=place,
        )
    known = {"zero_optimization", "fp16", "bf16", *RECIPE_SAYS}
    ignored = [key for key in config if key not in known] + [
        f"zero_optimization.{key}" for key in zero if key != "stage"
    ]
    return Accepted(way, reason, tuple(sorted(ignored)))


def _read(place: str) -> dict[str, Any]:
    try:
        config = json.loads(Path(place).read_text(encoding="utf-8"))
    except OSError as error:
        problem = f"the DeepSpeed configuration can't be read ({(error.strerror or str(error)).lower()})"
        raise RecipeError(problem, hint="check the path in `train.parallel.config`", place=place) from error
    except ValueError as error:
        raise RecipeError(f"this is no JSON ({error})", hint="DeepSpeed reads JSON only", place=place) from error
    if not isinstance(config, dict):
        raise RecipeError("this is not one JSON object", hint="DeepSpeed wants one", place=place)
    return config


def _section(config: Mapping[str, Any], key: str, place: str) -> Mapping[str, Any]:
    section = config.get(key, {})
    if not isinstance(section, dict):
        raise RecipeError(f"`{key}` should be an object, got {section!r}", hint="see DeepSpeed's manual", place=place)
    return section


def _refuse_other_work(config: Mapping[str, Any], zero: Mapping[str, Any], place: str) -> None:
    found = [key for key in OTHER_WORK if key in config]
    found += [f"zero_optimization.{key}" for key in zero if key.startswith("zero_quantized") and zero[key]]
    for key in ("offload_param", "offload_optimizer"):
        if _section(zero, key, place).get("device", "none") != "none":
            found.append(f"zero_optimization.{key}")
    if zero.get("cpu_offload"):
        found.append("zero_optimization.cpu_offload")
    if found:
        raise RecipeError(
            f"`{found[0]}` asks for what luthier doesn't do",
            hint="take it out of the file; `qlora` is there for models that don't fit",
            place=place,
        )


def _refuse_contradictions(config: Mapping[str, Any], train: Train, place: str) -> None:
    same = {
        "train_batch_size": train.batch_size,
        "gradient_clipping": train.clip,
        "optimizer": train.optimizer.kind,
        "scheduler": train.schedule.kind,
    }
    for key, names in RECIPE_SAYS.items():
        if key in config and not _left_open(config[key], same[key]):
            raise RecipeError(
                f"`{key}` is {json.dumps(config[key])}, and the recipe says something else or nothing",
                hint=f'say it in {names}, and take it out of the file or make it "auto"',
                place=place,
            )
    # What `auto` stands for depends on the machine; where there is bfloat16, it is that.
    for half, allowed in (("bf16", ("bf16", "auto")), ("fp16", ("fp16",))):
        enabled = _section(config, half, place).get("enabled")
        if (enabled is True and train.precision not in allowed) or (enabled is False and train.precision == half):
            raise RecipeError(
                f"`{half}.enabled` is {json.dumps(enabled)}, and the recipe says {train.precision}",
                hint="choose one of the two with `--set train.precision=…`",
                place=place,
            )


def _left_open(value: Any, same: Any) -> bool:
    """Return whether a value is `auto` or the recipe's; of a method, whether every option is, and its name."""
    if isinstance(value, dict):
        options = value.get("params", {})
        plain = isinstance(options, dict) and all(option == "auto" for option in options.values())
        return plain and value.get("type", "auto") in ("auto", *(name for name, ours in NAMES.items() if ours == same))
    return value in ("auto", same)
