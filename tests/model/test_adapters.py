import re
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, GPT2Config, GPT2LMHeadModel

from luthier.core.errors import RecipeError
from luthier.model.adapters import full, ia3, lora
from luthier.model.adapters.adapted import Adapted
from luthier.model.forward import precise
from luthier.model.load import load_model
from luthier.recipe.methods import Full, Ia3, Lora
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


KINDS = {
    "rslora": Lora(rank=4, rslora=True),
    "dora": Lora(rank=4, dora=True),
    "gaussian": Lora(rank=4, init="gaussian", lr_ratio=4.0),
    "patterns": Lora(rank=4, rank_pattern={"down_proj": 8}, alpha_pattern={"q_proj": 3.0}, layers=(1,)),
    "ia3": Ia3(),
    "ia3-named": Ia3(outputs=("q_proj",), inputs=("o_proj",)),
}


def attached(model: object, options: Lora | Ia3) -> Adapted:
    attach = ia3.attach if isinstance(options, Ia3) else lora.attach
    return attach(model, options, base="b", seed=0)  # type: ignore[operator, no-any-return]


@pytest.mark.parametrize("kind", ["tiny_llama", "tiny_qwen2"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_every_kind_of_adapter_starts_as_the_base_and_learns_in_float32(
    options: Lora | Ia3, dtype: torch.dtype, kind: str, request: pytest.FixtureRequest
) -> None:
    path = request.getfixturevalue(kind)
    precision = "fp32" if dtype is torch.float32 else "bf16"
    with precise(base := load_model(path, dtype=dtype), precision):
        before = logits(base)
    adapted = attached(load_model(path, dtype=dtype), options)
    with precise(adapted.model, precision):
        assert torch.equal(logits(adapted.model), before)
    assert {p.dtype for p in adapted.trainable.values()} == {torch.float32}
    assert {id(p) for p in adapted.trainable.values()} == {id(p) for p in adapted.model.parameters() if p.requires_grad}


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_every_kind_of_adapter_comes_back_through_plain_peft(
    options: Lora | Ia3, tiny_llama: Path, tmp_path: Path
) -> None:
    adapted = attached(load_model(tiny_llama), options)
    with torch.no_grad():
        for number, parameter in enumerate(adapted.trainable.values()):
            parameter.mul_(1 + 0.01 * number).add_(0.01)
    save_tensors(adapted.trainable, tmp_path / adapted.weight_file)
    adapted.describe(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # PEFT warns of keys that are missing
        warnings.filterwarnings("ignore", category=FutureWarning)
        back = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_llama), str(tmp_path)).eval()
    ids = torch.arange(3, 40)[None]
    with torch.inference_mode():
        assert torch.allclose(back(input_ids=ids).logits, logits(adapted.model.eval()), atol=1e-5)
    own = {name: p for name, p in back.named_parameters() if "lora_" in name or "ia3_" in name}
    assert len(own) == len(adapted.trainable)


@pytest.mark.parametrize(
    "options",
    [
        Lora(rank=4),
        Lora(rank=4, init="pissa"),
        Lora(rank=4, layers=(1,), dora=True),
        Ia3(),
        Full(train_layers=(1,)),
        Full(),
    ],
    ids=str,
)
def test_a_head_of_scores_learns_whole_and_comes_back_through_plain_peft(
    options: Lora | Ia3 | Full, tiny_llama: Path, tmp_path: Path
) -> None:
    def scorer() -> Any:
        torch.manual_seed(0)
        return AutoModelForSequenceClassification.from_pretrained(tiny_llama, num_labels=3, pad_token_id=0)

    attach = full.attach if isinstance(options, Full) else attached
    extra = {"base": "b", "seed": 0} if isinstance(options, Full) else {}
    adapted = attach(scorer(), options, **extra)  # type: ignore[operator]
    head = [name for name in adapted.trainable if name.endswith("score.weight")]
    assert len(head) == 1
    assert adapted.trainable[head[0]].shape == (3, 64)
    if isinstance(options, Full):
        return
    with torch.no_grad():
        for number, parameter in enumerate(adapted.trainable.values()):
            parameter.mul_(1 + 0.01 * number).add_(0.01)
    whole = adapted.finish({**adapted.trainable, **adapted.frozen}) if adapted.finish else adapted.trainable
    save_tensors(whole, tmp_path / adapted.weight_file)
    adapted.describe(tmp_path)
    back = PeftModel.from_pretrained(scorer(), str(tmp_path)).eval()
    ids = torch.arange(3, 40)[None]
    with torch.inference_mode():
        assert torch.allclose(back(input_ids=ids).logits, adapted.model.eval()(input_ids=ids).logits, atol=1e-5)


def test_ranks_strengths_and_layers_go_where_they_were_named(tiny_llama: Path) -> None:
    options = Lora(rank=4, rank_pattern={"down_proj": 8, r"layers\.0\.mlp\..*": 2}, targets=("down_proj", "up_proj"))
    ranks = {
        name: p.shape[0] for name, p in attached(load_model(tiny_llama), options).trainable.items() if "_A" in name
    }
    found = {name.removeprefix("base_model.model.model.layers.").split(".lora")[0]: r for name, r in ranks.items()}
    # The first pattern that fits counts.
    assert found == {"0.mlp.up_proj": 2, "0.mlp.down_proj": 8, "1.mlp.up_proj": 4, "1.mlp.down_proj": 8}


def test_layers_and_a_pattern_choose_together(tiny_llama: Path) -> None:
    chosen = attached(load_model(tiny_llama), Lora(targets_pattern=r".*\.self_attn\.[qk]_proj", layers=(1,)))
    names = {name.split(".lora_")[0].removeprefix("base_model.model.") for name in chosen.trainable}
    assert names == {"model.layers.1.self_attn.q_proj", "model.layers.1.self_attn.k_proj"}
    every = attached(load_model(tiny_llama), Lora(layers=(0,)))
    assert len(every.trainable) == 14
    assert all(".layers.0." in name for name in every.trainable)


def test_plain_lora_is_scaled_by_alpha_over_rank_and_rslora_by_its_root(tiny_llama: Path) -> None:
    for options, scale in ((Lora(rank=4), 2.0), (Lora(rank=4, rslora=True), 8.0), (Lora(rank=4, alpha=2.0), 0.5)):
        adapted = attached(load_model(tiny_llama), options)
        layer = adapted.model.get_submodule("base_model.model.model.layers.0.mlp.up_proj")
        assert layer.scaling["default"] == scale


REFUSED = {
    "no layer 2": Lora(layers=(0, 2)),
    "no linear layer's name ends in `q_poj`": Lora(rank_pattern={"q_poj": 2}),
    "no regular expression": Lora(targets_pattern="("),
    "no linear layer of this model fits": Lora(targets_pattern="q_proj"),
    "no layer of this model is named": Ia3(outputs=("query",)),
}


@pytest.mark.parametrize("problem", REFUSED)
def test_what_names_no_layer_is_refused_before_training(problem: str, tiny_llama: Path) -> None:
    with pytest.raises(RecipeError, match=re.escape(problem)) as caught:
        attached(load_model(tiny_llama), REFUSED[problem])
    assert caught.value.hint


def test_a_tied_head_is_refused_by_whole_name_too(tiny_qwen2: Path) -> None:
    with pytest.raises(RecipeError, match="holds embeddings"):
        attached(load_model(tiny_qwen2), Lora(targets_pattern=".*lm_head|.*q_proj"))


def test_frozen_layers_and_embeddings_stay(tiny_llama: Path, tiny_qwen2: Path) -> None:
    adapted = full.attach(load_model(tiny_llama), Full(freeze_layers=1), base="b", seed=0)
    assert {name for name in adapted.frozen if ".layers.0." not in name} == {"model.embed_tokens.weight"}
    assert {"lm_head.weight", "model.norm.weight"} < adapted.trainable.keys()
    tied = full.attach(load_model(tiny_qwen2), Full(freeze_layers=1), base="b", seed=0)
    assert "model.embed_tokens.weight" in tied.frozen
    part = full.attach(load_model(tiny_llama), Full(train_layers=(1,)), base="b", seed=0)
    assert all(".layers.1." in name for name in part.trainable)
    assert len({*part.trainable, *part.frozen}) == len(list(part.model.parameters()))
    for options, problem in ((Full(freeze_layers=2), "leaves none to learn"), (Full(train_layers=(2,)), "no layer 2")):
        with pytest.raises(RecipeError, match=problem):
            full.attach(load_model(tiny_llama), options, base="b", seed=0)


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a random GPT-2, which stores its matrices transposed."""
    folder = tmp_path_factory.mktemp("gpt2")
    config = GPT2Config(vocab_size=320, n_embd=64, n_layer=2, n_head=4, n_positions=512, bos_token_id=None)
    torch.manual_seed(0)
    GPT2LMHeadModel(config).save_pretrained(folder)
    return folder


def test_what_could_not_be_merged_on_transposed_matrices_is_refused_before_training(gpt2: Path) -> None:
    for options in (Ia3(), Lora(dora=True)):
        with pytest.raises(RecipeError, match="transposed") as caught:
            attached(load_model(gpt2), options)
        assert "lora" in caught.value.hint.lower()
    assert attached(load_model(gpt2), Lora(rslora=True)).trainable


def test_lora_on_mamba_leaves_out_the_layers_a_fused_kernel_would_read_past() -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model("mamba", vocab_size=64, hidden_size=32, num_hidden_layers=2, state_size=8)
    torch.manual_seed(0)
    adapted = lora.attach(AutoModelForCausalLM.from_config(config), Lora(), base="mamba", seed=0)
    layers = {name.split(".lora_")[0].rpartition(".")[2] for name in adapted.trainable}
    assert layers == {"in_proj", "x_proj", "dt_proj"}
