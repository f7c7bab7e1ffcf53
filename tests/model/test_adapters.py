from pathlib import Path

import pytest
import torch

from luthier.core.errors import RecipeError
from luthier.model.adapters import full, lora
from luthier.model.load import load_model
from luthier.recipe.methods import Full, Lora
from luthier.train.keep import save_tensors


def logits(model: object) -> torch.Tensor:
    ids = torch.arange(3, 40)[None]
    with torch.inference_mode():
        return model(input_ids=ids, position_ids=torch.arange(37)[None], bounds=[0, 37], use_cache=False).logits  # type: ignore[operator]


def test_a_fresh_adapter_computes_what_the_base_does(tiny_llama: Path) -> None:
    before = logits(load_model(tiny_llama))
    adapted = lora.attach(load_model(tiny_llama), Lora(), base="b", seed=0)
    assert torch.equal(logits(adapted.model), before)


def test_only_the_adapter_learns_in_float32(tiny_llama: Path) -> None:
    adapted = lora.attach(load_model(tiny_llama, dtype=torch.bfloat16), Lora(rank=4), base="b", seed=0)
    # 7 linear layers in each of 2 layers, A and B: rank times (inputs + outputs).
    widths = [(64, 64), (64, 32), (64, 32), (64, 64), (64, 96), (64, 96), (96, 64)]
    assert sum(p.numel() for p in adapted.trainable.values()) == 2 * sum(4 * (i + o) for i, o in widths)
    assert {p.dtype for p in adapted.trainable.values()} == {torch.float32}
    frozen = [p for p in adapted.model.parameters() if not p.requires_grad]
    assert {p.dtype for p in frozen} == {torch.bfloat16}


def test_the_seed_decides_the_adapters_start(tiny_llama: Path) -> None:
    def start(seed: int) -> torch.Tensor:
        adapted = lora.attach(load_model(tiny_llama), Lora(), base="b", seed=seed)
        return next(p for name, p in adapted.trainable.items() if "lora_A" in name)

    assert torch.equal(start(0), start(0))
    assert not torch.equal(start(0), start(1))


def test_a_saved_adapter_comes_back_through_plain_peft(tiny_llama: Path, tmp_path: Path) -> None:
    adapted = lora.attach(load_model(tiny_llama), Lora(targets=("q_proj", "v_proj")), base="b", seed=0)
    with torch.no_grad():
        for parameter in adapted.trainable.values():
            parameter.add_(0.01)
    save_tensors(adapted.trainable, tmp_path / adapted.weight_file)
    adapted.describe(tmp_path)
    back = lora.load(load_model(tiny_llama), tmp_path)
    assert torch.equal(logits(back), logits(adapted.model.eval()))


def test_a_layer_that_is_not_there_is_refused_with_those_that_are(tiny_llama: Path) -> None:
    with pytest.raises(RecipeError, match="no layer of this model") as caught:
        lora.attach(load_model(tiny_llama), Lora(targets=("query",)), base="b", seed=0)
    assert "q_proj" in caught.value.hint


def test_full_training_learns_every_weight_in_float32(tiny_qwen2: Path) -> None:
    adapted = full.attach(load_model(tiny_qwen2, dtype=torch.bfloat16), Full(), base="b", seed=0)
    assert {p.dtype for p in adapted.trainable.values()} == {torch.float32}
    assert all(p.requires_grad for p in adapted.trainable.values())
    assert adapted.stored_dtype == torch.bfloat16
    assert "lm_head.weight" not in adapted.trainable  # tied: one parameter, one name
