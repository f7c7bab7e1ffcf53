"""LoRA that starts at a part of the weight, and what learns whole beside it: both through PEFT's format and a merge."""

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from luthier.core.errors import RecipeError
from luthier.export.merge import merge
from luthier.model.adapters import lora, qlora
from luthier.model.adapters.adapted import Adapted
from luthier.model.load import load_model
from luthier.model.quantised import Quantised
from luthier.recipe.methods import Lora, Qlora
from luthier.train.keep import save_tensors

KINDS = {
    "pissa": Lora(rank=4, init="pissa", rank_pattern={"down_proj": 6}, alpha_pattern={"q_proj": 3.0}),
    "olora-rslora": Lora(rank=4, init="olora", rslora=True, modules_to_save=("norm",)),
    "bias-all": Lora(rank=4, bias="all", targets=("q_proj", "up_proj")),
    "bias-lora": Lora(rank=4, bias="lora_only", targets=("k_proj", "up_proj"), modules_to_save=("input_layernorm",)),
}


def logits(model: Any) -> torch.Tensor:
    return model(  # type: ignore[no-any-return]
        input_ids=torch.arange(3, 40)[None], position_ids=torch.arange(37)[None], bounds=[0, 37], use_cache=False
    ).logits


def plain(path: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)


def theirs(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = model.eval()(input_ids=torch.arange(3, 40)[None]).logits
    return found


def moved(adapted: Adapted) -> Adapted:
    with torch.no_grad():
        for number, parameter in enumerate(adapted.trainable.values()):
            parameter.mul_(1 + 0.01 * number).add_(0.01)
    return adapted


def kept(adapted: Adapted, folder: Path) -> Path:
    whole = {**adapted.trainable, **adapted.frozen}
    save_tensors(adapted.finish(whole) if adapted.finish else whole, folder / adapted.weight_file)
    adapted.describe(folder)
    return folder


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_it_starts_as_the_base_and_comes_back_through_plain_peft_and_a_merge(
    options: Lora, tiny_qwen2: Path, tmp_path: Path
) -> None:
    adapted = lora.attach(load_model(tiny_qwen2), options, base="b", seed=0)
    base = theirs(plain(tiny_qwen2))
    with torch.inference_mode():
        assert (logits(adapted.model.eval()) - base).abs().max() < 1e-5
        trained = logits(moved(adapted).model)
    assert (trained - base).abs().max() > 1e-2
    assert {p.dtype for p in adapted.trainable.values()} == {torch.float32}
    assert {id(p) for p in adapted.trainable.values()} == {id(p) for p in adapted.model.parameters() if p.requires_grad}
    folder = tmp_path / "adapter"
    folder.mkdir()
    kept(adapted, folder)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # PEFT warns of keys that are missing
        warnings.filterwarnings("ignore", category=FutureWarning)
        back = PeftModel.from_pretrained(plain(tiny_qwen2), str(folder))
    assert (theirs(back) - trained).abs().max() < 1e-5
    if options.modules_to_save == ("norm",):
        assert [name for name in adapted.trainable if "lora_" not in name] == ["base_model.model.model.norm.weight"]
    merge(tiny_qwen2, folder, tmp_path / "merged")
    assert (theirs(plain(tmp_path / "merged")) - trained).abs().max() < 1e-5
    if options.bias == "all":
        changed = {name.rpartition(".")[2] for name in adapted.trainable if "lora_" not in name}
        assert changed == {"bias"}
        assert sum("bias" in name for name in adapted.trainable) == 6  # keys, queries, values of two layers


@pytest.mark.parametrize("init", ["pissa", "olora"])
def test_the_gradients_are_those_of_pefts_own_start(init: str, tiny_llama: Path) -> None:
    config = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", init_lora_weights=init)
    rival = get_peft_model(plain(tiny_llama), config)
    ours = lora.attach(load_model(tiny_llama), Lora(rank=4, init=init), base="b", seed=0)  # type: ignore[arg-type]
    product = {}
    for name, module in ours.model.named_modules():
        if "start" in getattr(module, "lora_A", {}):
            other = rival.get_submodule(name)
            product[name] = [
                m.lora_B["default"].weight.detach() @ m.lora_A["default"].weight.detach() for m in (module, other)
            ]
            for part, sign in (("lora_A", 1), ("lora_B", -1)):  # singular vectors have no sign of their own
                value = getattr(other, part)["default"].weight.data
                getattr(module, part)["default"].weight.data.copy_(value)
                getattr(module, part)["start"].weight.data.copy_(sign * value)
    assert all((a - b).norm() < 0.05 * b.norm() for a, b in product.values())
    logits(ours.model.train()).logsumexp(-1).sum().backward()
    rival.train()(input_ids=torch.arange(3, 40)[None]).logits.logsumexp(-1).sum().backward()
    expected = {name.replace(".default", ""): p.grad for name, p in rival.named_parameters() if p.requires_grad}
    assert expected.keys() == ours.trainable.keys()
    for name, parameter in ours.trainable.items():
        assert (parameter.grad - expected[name]).abs().max() < 1e-4 * expected[name].abs().max()


def test_a_finished_start_is_plain_lora_of_twice_the_rank(tiny_llama: Path, tmp_path: Path) -> None:
    adapted = lora.attach(load_model(tiny_llama), Lora(rank=4, init="pissa"), base="b", seed=0)
    held = load_file(kept(adapted, tmp_path) / adapted.weight_file)
    assert held.keys() == adapted.trainable.keys()
    assert {tensor.shape[0] for name, tensor in held.items() if "lora_A" in name} == {8}


def test_what_could_not_learn_whole_is_refused_before_training(tiny_llama: Path, tiny_qwen2: Path) -> None:
    for path, options, problem in (
        (tiny_llama, Lora(modules_to_save=("head",)), "no module of this model"),
        (tiny_qwen2, Lora(modules_to_save=("lm_head",)), "shares its weights"),
        (tiny_llama, Lora(bias="all"), "none of these layers has a bias"),
    ):
        with pytest.raises(RecipeError, match=problem):
            lora.attach(load_model(path), options, base="b", seed=0)
    whole = Qlora(modules_to_save=("up_proj",), targets=("q_proj",))
    with pytest.raises(RecipeError, match="fewer bits"):
        qlora.attach(load_model(tiny_llama, quantised=Quantised.asked(whole)), whole, base="b", seed=0)
