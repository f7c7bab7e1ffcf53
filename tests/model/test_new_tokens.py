"""New tokens get ids after the old ones, rows that begin as the mean, and a tokenizer that travels with them."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from luthier.core.errors import ModelError, RecipeError
from luthier.model.adapters import lora
from luthier.model.load import load_model, load_tokenizer
from luthier.model.new_tokens import grow_tokenizer, ids_of, write
from luthier.model.weights import save_tensors
from luthier.recipe.methods import Lora
from luthier.tokens.bpe import fast_bpe

TOKENS = ("<|tool|>", "[ZUG]")
TEXT = "The [ZUG] leaves.<|tool|>At noon[ZUG]"


def rows(model: Any) -> list[torch.Tensor]:
    return [module.weight.detach() for module in (model.get_input_embeddings(), model.get_output_embeddings())]


def test_their_ids_follow_and_they_are_found_in_any_text(tiny_llama: Path) -> None:
    tokenizer = load_tokenizer(tiny_llama)
    assert grow_tokenizer(tokenizer, TOKENS) == (320, 321)
    ids = tokenizer(TEXT).input_ids
    assert [number for number in ids if number >= 320] == [321, 320, 321]
    assert tokenizer.decode(ids, skip_special_tokens=True) == TEXT


def test_the_fast_way_gives_the_same_ids(tiny_llama: Path) -> None:
    pytest.importorskip("tiktoken")
    tokenizer = load_tokenizer(tiny_llama)
    grow_tokenizer(tokenizer, TOKENS)
    fast = fast_bpe(tokenizer.backend_tokenizer)
    assert fast is not None
    encoded = fast.encode(TEXT)
    assert encoded is not None
    assert encoded[0].tolist() == tokenizer(TEXT).input_ids


def test_one_that_the_tokenizer_has_is_refused(tiny_llama: Path) -> None:
    with pytest.raises(RecipeError, match=r"has '<\|im_end\|>' already, as token 2"):
        grow_tokenizer(load_tokenizer(tiny_llama), ["[ZUG]", "<|im_end|>"])


@pytest.mark.parametrize("name", ["tiny_llama", "tiny_qwen2"])
def test_their_rows_begin_as_the_mean_and_the_others_stay(name: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(name)
    model = load_model(folder, new_ids=(320, 321))
    assert model.config.vocab_size == 322
    for before, after in zip(rows(load_model(folder)), rows(model), strict=True):
        assert torch.equal(after[:320], before)
        assert torch.allclose(after[320:], before.double().mean(0).float().expand(2, -1), atol=1e-7)
    embeddings, head = model.get_input_embeddings(), model.get_output_embeddings()
    assert (embeddings.weight is head.weight) == (name == "tiny_qwen2")


def test_free_rows_of_a_model_are_used_before_it_grows(tiny_llama: Path, tmp_path: Path) -> None:
    roomy = AutoModelForCausalLM.from_pretrained(tiny_llama)
    roomy.resize_token_embeddings(384, mean_resizing=False)
    roomy.save_pretrained(tmp_path)
    for after in rows(load_model(tmp_path, new_ids=(320, 321))):
        assert after.shape[0] == 384
        assert torch.allclose(after[320:322], after[:320].mean(0), atol=1e-7)


def test_a_tokenizer_that_is_not_the_models_is_refused(tiny_llama: Path) -> None:
    with pytest.raises(ModelError, match="knows 400 tokens and the model 320"):
        load_model(tiny_llama, new_ids=(400,))


@pytest.mark.parametrize("name", ["tiny_llama", "tiny_qwen2"])
def test_an_adapter_with_them_comes_back_through_plain_peft(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    folder = request.getfixturevalue(name)
    adapted = lora.attach(load_model(folder, new_ids=(320, 321)), Lora(rank=4), base="b", seed=0)
    mine = {key for key in adapted.trainable if "trainable_tokens" in key}
    assert len(mine) == (2 if name == "tiny_llama" else 1)  # a head that shares its weights follows
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in adapted.trainable.values():
            parameter.add_(torch.randn_like(parameter) / 10)
    save_tensors(adapted.trainable, tmp_path / adapted.weight_file)
    adapted.describe(tmp_path)
    base = AutoModelForCausalLM.from_pretrained(folder)
    base.resize_token_embeddings(322)
    theirs = PeftModel.from_pretrained(base, str(tmp_path)).eval()
    ids = torch.tensor([[3, 320, 7, 321, 9]])
    how = {"position_ids": torch.arange(5)[None], "use_cache": False}
    with torch.inference_mode():
        ours = adapted.model.eval()(input_ids=ids, bounds=[0, 5], **how).logits
        assert (theirs(input_ids=ids, **how).logits - ours).abs().max() < 1e-5
    learned = load_file(tmp_path / adapted.weight_file)[min(mine)]
    assert learned.shape == (2, 64)


@pytest.mark.parametrize("options", [Lora(targets=("lm_head", "q_proj")), Lora(modules_to_save=("lm_head",))])
def test_a_head_that_learns_in_another_way_is_refused(options: Lora, tiny_llama: Path) -> None:
    with pytest.raises(RecipeError, match="`lm_head` is to learn in two ways"):
        lora.attach(load_model(tiny_llama, new_ids=(320,)), options, base="b", seed=0)


@pytest.mark.parametrize("older", [False, True], ids=["transformers-5", "transformers-4"])
def test_the_tokenizer_that_is_kept_reads_as_the_one_that_was_trained_with(
    older: bool, tiny_qwen2: Path, tmp_path: Path
) -> None:
    tokenizer = load_tokenizer(tiny_qwen2)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(tiny_qwen2 / file, tmp_path / file)
    if older:
        file = tmp_path / "tokenizer_config.json"
        listed = {
            str(number): json.loads(json.dumps(token.__getstate__()))
            for number, token in tokenizer.added_tokens_decoder.items()
        }
        file.write_text(json.dumps({**json.loads(file.read_text()), "added_tokens_decoder": listed}))
    before = json.loads((tmp_path / "tokenizer.json").read_text())
    ids = grow_tokenizer(tokenizer, TOKENS)
    write(tokenizer, ids, tmp_path)
    back = AutoTokenizer.from_pretrained(tmp_path)
    assert len(back) == 322
    assert back(TEXT).input_ids == tokenizer(TEXT).input_ids
    assert ids_of(tmp_path) == ids
    after = json.loads((tmp_path / "tokenizer.json").read_text())
    assert after["added_tokens"][: len(before["added_tokens"])] == before["added_tokens"]
    assert {**after, "added_tokens": 0} == {**before, "added_tokens": 0}
