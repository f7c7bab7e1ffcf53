"""A frozen base in 4 or 8 bits, through bitsandbytes: its layers, and what they make of a weight.

A quantised layer multiplies by the numbers its bits stand for. So the model that is trained is a plain one, whose
weights are `rounded`: that is the model merging has to give.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional
from transformers import BitsAndBytesConfig

from luthier.core.errors import ModelError
from luthier.core.files import write_json
from luthier.model.bits import bitsandbytes
from luthier.model.companions import json_object
from luthier.recipe.methods import Qlora

FILE = "quantization.json"
"""Stands beside an adapter, and says in which base it was trained."""


@dataclass(frozen=True, slots=True)
class Quantised:
    """How the linear layers of a base are kept; all but its head."""

    kind: str
    """`nf4` or `int8`."""
    double: bool
    """Whether the scales of nf4 are quantised too."""

    @staticmethod
    def asked(technique: object) -> "Quantised | None":
        """Return what a technique of the recipe asks for."""
        return Quantised(technique.quantize, technique.double) if isinstance(technique, Qlora) else None

    @staticmethod
    def of(adapter: Path) -> "Quantised | None":
        """Return how the base of a trained adapter was kept; None for as it is stored.

        Raises:
            ModelError: The file that says so was changed.
        """
        if not (adapter / FILE).is_file():
            return None
        found = json_object(adapter / FILE).get("quantization_config")
        for kind in ("nf4", "int8"):
            for double in (True, False):
                if found == (possible := Quantised(kind, double)).config():
                    return possible
        raise ModelError(
            "this is not how luthier quantises a base",
            hint="copy the folder that training wrote again",
            place=str(adapter / FILE),
        )

    @property
    def words(self) -> str:
        """Return the kind as people read it."""
        return "NF4, 4 bits a weight" if self.kind == "nf4" else "int8, 8 bits a weight"

    def config(self) -> dict[str, Any]:
        """Return the arguments of Transformers' `BitsAndBytesConfig`, so that anybody can load the same base."""
        if self.kind == "int8":
            return {"load_in_8bit": True}
        return {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": self.double}

    def write(self, folder: Path, modules: list[str]) -> None:
        """Write down how the base was kept beside an adapter, and which of its layers were."""
        write_json(folder / FILE, {"quantization_config": self.config(), "modules": modules})


def modules_of(adapter: Path) -> frozenset[str]:
    """Return the names of the layers that were quantised when an adapter was trained; of none where there was none."""
    return frozenset(json_object(adapter / FILE).get("modules", ()))


def quantised_layers(model: torch.nn.Module) -> list[str]:
    """Return the names of a model's quantised layers."""
    kinds = (bitsandbytes().nn.Linear4bit, bitsandbytes().nn.Linear8bitLt)
    return [name for name, module in model.named_modules() if isinstance(module, kinds)]


def quantising(kind: Quantised | None, device: torch.device) -> dict[str, Any]:
    """Return what Transformers' `from_pretrained` is called with so that it quantises each layer as it reads it."""
    if kind is None:
        return {}
    bitsandbytes()  # before Transformers does, loudly
    return {"quantization_config": BitsAndBytesConfig(**kind.config()), "device_map": {"": device}}


def settle_layers(model: Any) -> None:
    """Make the quantised layers of a freshly loaded model compute exactly what their weights stand for.

    On processors with AVX512-BF16, `Linear4bit` repacks its weight in place when it is first used in evaluation mode,
    and computes wrong gradients ever after (bitsandbytes 0.50). `Linear8bitLt` rounds activations to 8 bits too, so
    that no plain model is the one that was trained; here it keeps them whole, as 4-bit layers do.
    """
    for name in quantised_layers(model):
        layer = model.get_submodule(name)
        if isinstance(layer, bitsandbytes().nn.Linear4bit):
            layer.support_avx512bf16_for_cpu = False
            layer.compute_dtype, layer.compute_type_is_set = model.dtype, True
        else:
            layer.init_8bit_state()
            layer.forward = partial(_int8_forward, layer)


def rounded(weight: torch.Tensor, kind: Quantised) -> torch.Tensor:
    """Return the numbers a quantised layer multiplies by in the place of a weight, float32, of its shape.

    NF4 keeps for each 64 numbers a scale, and for each number the nearest of 16 quantiles of the normal distribution
    (Dettmers et al., arXiv:2305.14314, section 3); int8 a scale for each row (arXiv:2208.07339, section 2.1).
    """
    ours = bitsandbytes().functional
    if kind.kind == "int8":
        numbers, scales, _ = ours.int8_vectorwise_quant(weight.half())
        return _dequantised(numbers, scales, torch.float32)
    packed, state = ours.quantize_4bit(weight.float(), compress_statistics=kind.double, quant_type="nf4")
    found: torch.Tensor = ours.dequantize_4bit(packed, state)
    return found


def weight_of(layer: Any) -> torch.Tensor:
    """Return the numbers a linear layer multiplies by, quantised or not: float32, of the shape of its weight."""
    if hasattr(layer, "quant_state"):
        found: torch.Tensor = bitsandbytes().functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state)
        return found.float()
    if hasattr(layer, "state"):
        return _dequantised(layer.state.CB, layer.state.SCB, torch.float32)
    whole: torch.Tensor = layer.weight
    return whole.float()


def _dequantised(numbers: torch.Tensor, scales: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return (numbers.float() * (scales / 127)[:, None]).to(dtype)


def _int8_forward(layer: Any, inputs: torch.Tensor) -> torch.Tensor:
    found: torch.Tensor = _Int8Product.apply(inputs, layer.state.CB, layer.state.SCB, layer.bias)  # type: ignore[no-untyped-call]
    return found


class _Int8Product(torch.autograd.Function):
    """x W^T + b with W in 8 bits. For the backward pass only the 8 bits stay, not W."""

    @staticmethod
    def forward(
        ctx: Any, inputs: torch.Tensor, numbers: torch.Tensor, scales: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor:
        ctx.save_for_backward(numbers, scales)
        return functional.linear(inputs, _dequantised(numbers, scales, inputs.dtype), bias)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        numbers, scales = ctx.saved_tensors
        return gradients[0] @ _dequantised(numbers, scales, gradients[0].dtype), None, None, None
