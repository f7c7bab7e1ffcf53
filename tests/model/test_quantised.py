import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from luthier.core.errors import ModelError
from luthier.model.adapters import lora, qlora
from luthier.model.adapters.adapted import Adapted
from luthier.model.forward import batching, precise
from luthier.model.load import load_model
from luthier.model.quantised import Quantised, modules_of, quantised_layers, rounded
from luthier.recipe.methods import Qlora

KINDS = {
    "nf4": Qlora(rank=4),
    "nf4-single": Qlora(rank=4, double=False),
    "int8": Qlora(rank=4, quantize="int8"),
    "int8-dora": Qlora(rank=4, quantize="int8", dora=True),
}


def logits(model: Any) -> torch.Tensor:
    found: torch.Tensor = model(
        input_ids=torch.arange(3, 40)[None], position_ids=torch.arange(37)[None], bounds=[0, 37], use_cache=False
    ).logits
    return found


def loaded(path: Path, options: Qlora, dtype: torch.dtype | None = None) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return load_model(path, dtype=dtype, quantised=Quantised.asked(options))


def attached(model: Any, options: Qlora, attach: Callable[..., Adapted] = qlora.attach) -> Adapted:
    adapted = attach(model, options, base="b", seed=0)
    with torch.no_grad():
        for number, (name, parameter) in enumerate(adapted.trainable.items()):
            if "lora_B" in name:
                parameter.add_(torch.linspace(-0.05, 0.05, parameter.numel()).view_as(parameter) * (1 + number % 3))
    return adapted


def gradients(adapted: Adapted) -> dict[str, torch.Tensor]:
    adapted.model.train()
    adapted.model.zero_grad()
    logits(adapted.model).logsumexp(dim=-1).sum().backward()
    return {name: parameter.grad.clone() for name, parameter in adapted.trainable.items()}


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_a_quantised_base_is_the_plain_model_of_its_rounded_weights(options: Qlora, tiny_llama: Path) -> None:
    model, kind = loaded(tiny_llama, options), Quantised.asked(options)
    assert kind is not None
    plain = AutoModelForCausalLM.from_pretrained(tiny_llama, dtype=torch.float32)
    with torch.no_grad():
        whole = plain(input_ids=torch.arange(3, 40)[None]).logits
        for name in quantised_layers(model):
            weight = plain.get_submodule(name).weight
            weight.copy_(rounded(weight, kind))
        expected = plain(input_ids=torch.arange(3, 40)[None]).logits
        assert (logits(model) - expected).abs().max() < 1e-5
    off = (expected - whole).abs().max()
    assert 0 < off < (0.02 if options.quantize == "int8" else 0.3)
    assert len(quantised_layers(model)) == 14  # seven in each of two layers, and not the head
    assert batching(model).way == "packed"


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_gradients_are_those_of_the_rounded_weights_and_stay_so_after_an_evaluation(
    options: Qlora, tiny_llama: Path
) -> None:
    adapted, kind = attached(loaded(tiny_llama, options), options), Quantised.asked(options)
    assert kind is not None
    before = gradients(adapted)
    adapted.model.eval()
    with torch.no_grad():  # on processors with AVX512-BF16 this would repack the weights of 4-bit layers in place
        logits(adapted.model)
    after = gradients(adapted)
    plain = load_model(tiny_llama)
    with torch.no_grad():
        for name in quantised_layers(loaded(tiny_llama, options)):
            weight = plain.get_submodule(name).weight
            weight.copy_(rounded(weight, kind))
    expected = gradients(attached(plain, options, lora.attach))
    for name, gradient in before.items():
        assert torch.equal(after[name], gradient)
        assert torch.allclose(gradient, expected[name], rtol=1e-4, atol=1e-4 * float(expected[name].abs().max()))


def test_adapters_are_float32_on_a_bfloat16_base(tiny_llama: Path) -> None:
    model = loaded(tiny_llama, Qlora(), torch.bfloat16)
    with torch.no_grad(), precise(model, "bf16"):
        before = logits(model)
        adapted = qlora.attach(model, Qlora(), base="b", seed=0)
        assert torch.equal(logits(adapted.model), before)
    assert {parameter.dtype for parameter in adapted.trainable.values()} == {torch.float32}


def test_an_adapter_tells_which_base_it_was_trained_in(tiny_llama: Path, tmp_path: Path) -> None:
    for options in KINDS.values():
        adapted = qlora.attach(loaded(tiny_llama, options), options, base="b", seed=0)
        adapted.describe(tmp_path)
        kind = Quantised.of(tmp_path)
        assert kind is not None
        assert kind.config() == Quantised(options.quantize, options.double).config()
        assert len(modules_of(tmp_path)) == 14
    (tmp_path / "quantization.json").write_text('{"quantization_config": {"load_in_2bit": true}}')
    with pytest.raises(ModelError, match="not how luthier quantises"):
        Quantised.of(tmp_path)
