"""Merging gives the model that was trained, touches nothing else, and refuses what it can't merge."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from peft import IA3Config, LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, Qwen2ForCausalLM

from luthier.core.errors import Failed, ModelError
from luthier.export import merge as merge_module
from luthier.export.merge import merge
from luthier.export.safetensors_file import model_tensors, read_tensor

LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def exact(base, adapter, name, scale):
    """Return the merged tensor in float64, from the definition."""
    module = name.removesuffix(".weight")
    pair = load_file(adapter / "adapter_model.safetensors")
    down = pair[f"base_model.model.{module}.lora_A.weight"].double()
    up = pair[f"base_model.model.{module}.lora_B.weight"].double()
    return torch.from_numpy(read_tensor(model_tensors(base)[name])).double() + scale * up @ down


def peft_merged(base, adapter):
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    return PeftModel.from_pretrained(model, str(adapter)).merge_and_unload().state_dict()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("settings", [{}, {"use_rslora": True}], ids=["lora", "rslora"])
def test_merged_is_the_exact_sum_rounded_once(make_model, make_adapter, tmp_path, dtype, settings):
    base = make_model(tmp_path / "base", dtype=dtype, shard="700KB")
    adapter = make_adapter(base, tmp_path / "adapter", **settings)
    summary = merge(base, adapter, tmp_path / "out")
    assert (summary.how, summary.targets) == ("merged", 14)
    assert summary.shards > 1
    ours, theirs = model_tensors(tmp_path / "out"), peft_merged(base, adapter)
    scale = 8 / 4**0.5 if settings else 8 / 4
    step = {torch.float32: 2.0**-23, torch.float16: 2.0**-10, torch.bfloat16: 2.0**-7}[dtype]
    for name, tensor in ours.items():
        got = torch.from_numpy(read_tensor(tensor)).double()
        if "_proj" not in name:
            assert torch.equal(got, torch.from_numpy(read_tensor(model_tensors(base)[name])).double())
            continue
        want = exact(base, adapter, name, scale)
        slack = 1e-6 * want.abs().max()
        assert ((got - want).abs() <= step * want.abs() + slack).all()
        # Against the exact sum rounded by torch: only sums within float32 noise of a tie may fall the other
        # way.
        assert (got != want.to(dtype).double()).float().mean() < (0.9 if dtype is torch.float32 else 0.002)
        assert ((got - theirs[name].double()).abs() <= step * want.abs() + slack).all()


def test_bytes_outside_the_targets_are_identical(llama, make_adapter, tmp_path):
    adapter = make_adapter(llama, tmp_path / "adapter", target_modules=["v_proj"])
    merge(llama, adapter, tmp_path / "out")
    before = bytearray((llama / "model.safetensors").read_bytes())
    after = bytearray((tmp_path / "out" / "model.safetensors").read_bytes())
    assert len(before) == len(after)
    for name, tensor in model_tensors(llama).items():
        if name.endswith("v_proj.weight"):
            assert before[tensor.begin : tensor.end] != after[tensor.begin : tensor.end]
            before[tensor.begin : tensor.end] = after[tensor.begin : tensor.end]
    assert before == after


def test_patterns_and_the_head_are_merged_as_peft_does(llama, make_adapter, tmp_path):
    adapter = make_adapter(
        llama,
        tmp_path / "adapter",
        target_modules=["q_proj", "v_proj", "lm_head"],
        rank_pattern={"v_proj": 6, r"layers\.0\.self_attn\.q_proj": 2},
        alpha_pattern={"lm_head": 32},
    )
    merge(llama, adapter, tmp_path / "out")
    theirs = peft_merged(llama, adapter)
    for name, tensor in model_tensors(tmp_path / "out").items():
        wanted = theirs[name].to(torch.bfloat16).float().numpy()
        assert np.mean(read_tensor(tensor) != wanted) < 0.002, name


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("settings", [{}, {"use_rslora": True, "rank_pattern": {"q_proj": 2}}], ids=["dora", "rslora"])
def test_dora_gives_the_merged_rows_their_lengths(make_model, tmp_path, dtype, settings, monkeypatch):
    base = make_model(tmp_path / "base", dtype=dtype)
    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32),
        LoraConfig(r=4, lora_alpha=8, target_modules=LINEAR, use_dora=True, **settings),
    )
    torch.manual_seed(3)
    for name, weight in model.named_parameters():
        if "lora_B" in name or "magnitude" in name:
            weight.data += 0.1 * torch.randn_like(weight)
    model.save_pretrained(tmp_path / "adapter", save_embedding_layers=False)
    monkeypatch.setattr(merge_module, "BLOCK", 3000)  # rows in blocks must be the rows of the whole
    assert merge(base, tmp_path / "adapter", tmp_path / "out").targets == 14
    theirs = peft_merged(base, tmp_path / "adapter")
    pair = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    step = {torch.float32: 2.0**-23, torch.float16: 2.0**-10, torch.bfloat16: 2.0**-7}[dtype]
    for name, tensor in model_tensors(tmp_path / "out").items():
        if "_proj" not in name:
            continue
        rank = 2 if settings and "q_proj" in name else 4
        # Equation 5 of arXiv:2402.09353 in float64.
        whole = exact(base, tmp_path / "adapter", name, 8 / rank**0.5 if settings else 8 / rank)
        lengths = pair[f"base_model.model.{name.removesuffix('.weight')}.lora_magnitude_vector"].double()
        want = whole * (lengths / whole.norm(dim=1))[:, None]
        got = torch.from_numpy(read_tensor(tensor)).double()
        assert ((got - want).abs() <= step * want.abs() + 2e-6 * want.abs().max()).all()
        assert torch.allclose(got, theirs[name].double(), rtol=step, atol=2e-6 * float(want.abs().max()))


def ia3_adapter(base, folder, **settings):
    config = {"target_modules": ["k_proj", "v_proj", "down_proj"], "feedforward_modules": ["down_proj"], **settings}
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), IA3Config(**config))
    torch.manual_seed(5)
    for name, weight in model.named_parameters():
        if "ia3_l" in name:
            weight.data += 0.3 * torch.randn_like(weight)
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("feedforward", [["down_proj"], r".*\.down_proj"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_ia3_scales_rows_with_their_biases_or_columns(make_model, tmp_path, dtype, feedforward):
    base = make_model(tmp_path / "base", "qwen2", dtype=dtype)  # keys and values have biases
    adapter = ia3_adapter(base, tmp_path / "adapter", feedforward_modules=feedforward)
    assert merge(base, adapter, tmp_path / "out").targets == 10
    theirs, before = peft_merged(base, adapter), model_tensors(base)
    changed = set()
    for name, tensor in model_tensors(tmp_path / "out").items():
        got = torch.from_numpy(read_tensor(tensor))
        assert torch.equal(got, theirs[name].to(dtype).float()), name  # one product, rounded once: the same bits
        changed |= {name} if not np.array_equal(read_tensor(before[name]), got) else set()
    assert {name.split(".", 3)[3] for name in changed} == {
        *("mlp.down_proj.weight", "self_attn.k_proj.weight", "self_attn.k_proj.bias"),
        *("self_attn.v_proj.weight", "self_attn.v_proj.bias"),
    }


def test_ia3_that_does_not_fit_is_refused(make_model, llama, tmp_path):
    adapter = ia3_adapter(llama, tmp_path / "adapter")
    for number, (config, weights, named) in enumerate(
        [
            ({"feedforward_modules": []}, None, "doesn't fit"),
            ({"fan_in_fan_out": True}, None, "transposed"),
            ({"modules_to_save": ["lm_head"]}, None, "modules_to_save"),
            ({}, lambda pair: {k.replace("k_proj", "x_proj"): v for k, v in pair.items()}, "x_proj"),
            ({}, lambda pair: {k.replace("ia3_l", "other"): v for k, v in pair.items()}, "vector of"),
        ]
    ):
        with pytest.raises(ModelError, match=named):
            merge(llama, rewritten(adapter, tmp_path / f"a{number}", config, weights), tmp_path / "out")


def test_fan_in_fan_out_is_transposed(llama, adapter, tmp_path):
    # The same weights stored (in, out), as GPT-2 does, must merge to the transposed result.
    turned, changed = tmp_path / "turned", tmp_path / "adapter"
    turned.mkdir()
    changed.mkdir()
    name = "model.layers.0.mlp.up_proj.weight"
    weight = load_file(llama / "model.safetensors")[name].float()
    save_file({name: weight.T.contiguous()}, turned / "model.safetensors")
    (turned / "config.json").write_text("{}")
    pair = {k: v for k, v in load_file(adapter / "adapter_model.safetensors").items() if "layers.0.mlp.up" in k}
    save_file(pair, changed / "adapter_model.safetensors")
    config = json.loads((adapter / "adapter_config.json").read_text()) | {"fan_in_fan_out": True}
    (changed / "adapter_config.json").write_text(json.dumps(config))
    merge(turned, changed, tmp_path / "out")
    got = torch.from_numpy(read_tensor(model_tensors(tmp_path / "out")[name])).double()
    assert torch.allclose(got.T, exact(llama, adapter, name, 2.0), atol=1e-5)


def test_blocks_and_plain_copies_give_the_same_bytes(llama, adapter, tmp_path, monkeypatch):
    merge(llama, adapter, tmp_path / "whole")

    def refuse(*_):
        raise OSError(38, "not here")

    monkeypatch.setattr(merge_module, "BLOCK", 700)
    monkeypatch.setattr(os, "copy_file_range", refuse)
    merge(llama, adapter, tmp_path / "parts")
    files = [tmp_path / name / "model.safetensors" for name in ("whole", "parts")]
    assert files[0].read_bytes() == files[1].read_bytes()


def rewritten(adapter, folder, config=(), weights=None):
    folder.mkdir()
    settings = json.loads((adapter / "adapter_config.json").read_text()) | dict(config)
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    pair = load_file(adapter / "adapter_model.safetensors")
    save_file(pair if weights is None else weights(pair), folder / "adapter_model.safetensors")
    return folder


CONFIGS = [
    ({"use_dora": True}, "lora_magnitude_vector"),
    ({"use_dora": True, "fan_in_fan_out": True}, "transposed"),
    ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
    ({"bias": "lora_only"}, "bias"),
    ({"lora_bias": True}, "lora_bias"),
    ({"peft_type": "LOHA"}, "LOHA"),
    ({"target_parameters": ["experts"]}, "target_parameters"),
    ({"trainable_token_indices": [1]}, "trainable_token_indices"),
    ({"init_lora_weights": "pissa"}, "pissa"),
    ({"a_future_idea": {"x": 1}}, "a_future_idea"),
    ({"r": 5}, "rank 4"),
    ({"rank_pattern": {"(": 4}}, "regular expression"),
    ({"lora_alpha": "many"}, "lora_alpha"),
]


@pytest.mark.parametrize(("config", "named"), CONFIGS, ids=[named for _, named in CONFIGS])
def test_what_cannot_be_merged_is_refused_by_name(llama, adapter, tmp_path, config, named):
    with pytest.raises(ModelError, match=named) as caught:
        merge(llama, rewritten(adapter, tmp_path / "adapter", config), tmp_path / "out")
    assert caught.value.hint
    assert not (tmp_path / "out").exists()


WEIGHTS = {
    "no_such_layer": lambda pair: (
        pair | {f"base_model.model.no_such_layer.lora_{x}.weight": torch.zeros(4, 4) for x in "AB"}
    ),
    "lora_embedding_A": lambda pair: pair | {"base_model.model.model.embed_tokens.lora_embedding_A": torch.zeros(4, 9)},
    "lora_magnitude_vector": lambda pair: (
        pair | {"base_model.model.model.layers.0.mlp.up_proj.lora_magnitude_vector.weight": torch.zeros(9)}
    ),
    "only one": lambda pair: {k: v for k, v in pair.items() if not k.endswith("1.mlp.up_proj.lora_B.weight")},
    "doesn't fit": lambda pair: {k: v[:, :9].contiguous() if "lora_A" in k else v for k, v in pair.items()},
}


@pytest.mark.parametrize("named", WEIGHTS)
def test_adapter_keys_without_a_place_are_refused_by_name(llama, adapter, tmp_path, named):
    with pytest.raises(ModelError, match=named):
        merge(llama, rewritten(adapter, tmp_path / "adapter", weights=WEIGHTS[named]), tmp_path / "out")


def test_a_tied_head_and_a_quantised_base_are_refused(llama, adapter, tmp_path):
    for key, value, named in [
        ("tie_word_embeddings", True, "tied"),
        ("quantization_config", {"load_in_4bit": True}, "quantised"),
    ]:
        base = tmp_path / key
        base.mkdir()
        (base / "model.safetensors").symlink_to(llama / "model.safetensors")
        config = json.loads((llama / "config.json").read_text()) | {key: value}
        (base / "config.json").write_text(json.dumps(config))
        with pytest.raises(ModelError, match=named):
            merge(base, adapter, tmp_path / "out")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_stop_the_merge(llama, adapter, tmp_path, value):
    def spoil(pair):
        next(weight for name, weight in pair.items() if "lora_B" in name)[0, 0] = value
        return pair

    with pytest.raises(Failed, match="finite"):
        merge(llama, rewritten(adapter, tmp_path / "adapter", weights=spoil), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_inputs_and_foreign_folders_are_not_replaced(llama, adapter, tmp_path):
    with pytest.raises(ModelError, match="own input"):
        merge(llama, adapter, llama)
    with pytest.raises(ModelError, match="own input"):
        merge(llama, adapter, llama.parent)
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ModelError, match="other files"):
        merge(llama, adapter, tmp_path)


def test_the_adapters_tokenizer_and_generation_config_win(llama, adapter, tmp_path, byte_level):
    trained = rewritten(adapter, tmp_path / "adapter")
    byte_level.save_pretrained(trained)
    (trained / "chat_template.jinja").write_text("{{ messages }}")
    (trained / "generation_config.json").write_text('{"eos_token_id": [1, 2]}')
    (llama / "LICENSE").write_text("Apache-2.0")
    merge(llama, trained, tmp_path / "out")
    assert (tmp_path / "out" / "chat_template.jinja").read_text() == "{{ messages }}"
    assert "[1, 2]" in (tmp_path / "out" / "generation_config.json").read_text()
    assert (tmp_path / "out" / "LICENSE").read_text() == "Apache-2.0"
    merge(llama, adapter, tmp_path / "out")
    kept = (tmp_path / "out" / "chat_template.jinja").read_text()
    assert kept == (llama / "chat_template.jinja").read_text()


def test_a_whole_model_is_copied(make_model, llama, tmp_path):
    trained = make_model(tmp_path / "full", shard="700KB")
    summary = merge(llama, trained, tmp_path / "out")
    assert (summary.how, summary.targets) == ("copied", 0)
    for path in trained.iterdir():
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes()


def test_a_tied_qwen2_loads_after_merging(make_model, make_adapter, tmp_path):
    base = make_model(tmp_path / "base", "qwen2", tie_word_embeddings=True)
    adapter = make_adapter(base, tmp_path / "adapter", model_class=Qwen2ForCausalLM)
    merge(base, adapter, tmp_path / "out")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32)
    wanted = peft_merged(base, adapter)["model.layers.1.mlp.down_proj.weight"]
    assert torch.allclose(model.model.layers[1].mlp.down_proj.weight, wanted, rtol=2**-8)


RUN = "import sys; from pathlib import Path; from luthier.export.merge import merge; merge(*map(Path, sys.argv[1:]))"


@pytest.mark.slow
def test_a_full_disk_and_a_kill_leave_the_old_result(llama, adapter, tmp_path):
    out = tmp_path / "out"
    merge(llama, adapter, out)
    before = (out / "model.safetensors").read_bytes()
    limit = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))\n"
        "from luthier.core.errors import Failed\n"
        f"try:\n    {RUN.replace('; ', chr(10) + '    ')}\n"
        "except Failed as error:\n    print(error); sys.exit(7)"
    )
    done = subprocess.run([sys.executable, "-c", limit, llama, adapter, out], capture_output=True, text=True)
    assert (done.returncode, "disk is full" in done.stdout) == (7, True), done.stderr
    dying = "import os, luthier.export.merge as m\nm.to_stored = lambda *_: os.kill(os.getpid(), 9)\n" + RUN.replace(
        "; ", "\n"
    )
    assert subprocess.run([sys.executable, "-c", dying, llama, adapter, out], check=False).returncode == -9
    assert (out / "model.safetensors").read_bytes() == before
    merge(llama, adapter, out)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.slow
def test_memory_does_not_grow_with_the_model(make_model, make_adapter, tmp_path):
    peaks = []
    for layers in (2, 24):
        base = make_model(tmp_path / f"base{layers}", num_hidden_layers=layers, intermediate_size=2048)
        adapter = make_adapter(base, tmp_path / f"adapter{layers}", r=2, lora_alpha=4)
        # Not ru_maxrss, which a child inherits from the process that started it.
        script = f"{RUN}; print(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])"
        args = [sys.executable, "-c", script, base, adapter, tmp_path / f"out{layers}"]
        peaks.append(int(subprocess.run(args, capture_output=True, text=True, check=True).stdout))
    size = (tmp_path / "base24" / "model.safetensors").stat().st_size
    assert size > 80e6
    assert (peaks[1] - peaks[0]) * 1024 < 0.3 * size


def with_templates(folder, **templates):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = templates
    tokenizer.save_pretrained(folder)
    return folder


def templates_of(folder):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder).chat_template


def test_several_templates_travel_together_from_one_folder(make_model, make_adapter, tmp_path):
    base = with_templates(make_model(tmp_path / "base"), default="{{ 1 }}", tool_use="{{ 2 }}")
    trained = make_adapter(base, tmp_path / "adapter")
    (trained / "chat_template.jinja").unlink(missing_ok=True)
    merge(base, trained, tmp_path / "out")
    assert templates_of(tmp_path / "out") == {"default": "{{ 1 }}", "tool_use": "{{ 2 }}"}
    # Training chose another template: none of the base's may stand beside it.
    (trained / "chat_template.jinja").write_text("{{ 3 }}")
    merge(base, trained, tmp_path / "out")
    assert templates_of(tmp_path / "out") == "{{ 3 }}"
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (trained / file).write_bytes((base / file).read_bytes())
    (trained / "additional_chat_templates").mkdir()
    (trained / "additional_chat_templates" / "tool_use.jinja").write_text("{{ 4 }}")
    merge(base, trained, tmp_path / "out")
    assert templates_of(tmp_path / "out") == {"default": "{{ 3 }}", "tool_use": "{{ 4 }}"}


def grown(base, folder, indices, rows):
    """Save an adapter whose rows of single tokens learned, on a base with so many rows; return PEFT's merge of it."""
    torch.manual_seed(3)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    model.resize_token_embeddings(rows, mean_resizing=False)
    config = LoraConfig(r=4, target_modules=["q_proj"], trainable_token_indices=indices, task_type="CAUSAL_LM")
    adapted = get_peft_model(model, config)
    for name, weight in adapted.named_parameters():
        if weight.requires_grad:
            torch.nn.init.normal_(weight, std=0.1 if "lora" in name else 1.0)
    adapted.save_pretrained(folder, save_embedding_layers=False)
    return adapted.merge_and_unload().state_dict()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
def test_rows_of_new_tokens_and_of_old_ones_are_merged_as_peft_does(make_model, tmp_path, tied, dtype):
    base = make_model(tmp_path / "base", dtype=dtype, shard="300KB", tie_word_embeddings=tied)
    size = json.loads((base / "config.json").read_text())["vocab_size"]
    ids = [size + 1, 7, size, size - 1]
    modules = ["embed_tokens"] if tied else ["embed_tokens", "lm_head"]
    theirs = grown(base, tmp_path / "adapter", dict.fromkeys(modules, ids), size + 2)
    summary = merge(base, tmp_path / "adapter", tmp_path / "out")
    assert summary.shards > 1
    assert summary.targets == 2 + len(modules)
    assert summary.bytes == sum(file.stat().st_size for file in (tmp_path / "out").glob("*.safetensors"))
    ours = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32)
    assert ours.config.vocab_size == size + 2
    step = 0 if dtype is torch.float32 else 2.0**-8
    for name, value in ours.state_dict().items():
        assert torch.allclose(value, theirs[name], rtol=step, atol=1e-6), name
    index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())
    tensors = model_tensors(tmp_path / "out")
    assert index["metadata"]["total_size"] == sum(tensor.end - tensor.begin for tensor in tensors.values())


def test_a_tied_head_that_is_stored_all_the_same_grows_too(make_model, tmp_path):
    base = make_model(tmp_path / "base", dtype=torch.float32, tie_word_embeddings=True)
    weights = load_file(base / "model.safetensors")
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"].clone()
    save_file(weights, base / "model.safetensors", {"format": "pt"})
    size = weights["lm_head.weight"].shape[0]
    grown(base, tmp_path / "adapter", [size], size + 1)
    merge(base, tmp_path / "adapter", tmp_path / "out")
    merged = load_file(tmp_path / "out" / "model.safetensors")
    assert merged["lm_head.weight"].shape[0] == size + 1
    assert torch.equal(merged["lm_head.weight"], merged["model.embed_tokens.weight"])


def test_new_tokens_that_only_embeddings_know_or_that_leave_a_gap_are_refused(llama, tmp_path):
    size = json.loads((llama / "config.json").read_text())["vocab_size"]
    grown(llama, tmp_path / "half", [size], size + 1)
    with pytest.raises(ModelError, match=r"new tokens in `model.embed_tokens.weight`, and none in `lm_head.weight`"):
        merge(llama, tmp_path / "half", tmp_path / "out")
    grown(llama, tmp_path / "gap", {"embed_tokens": [size + 1], "lm_head": [size + 1]}, size + 2)
    with pytest.raises(ModelError, match=r"doesn't fit `(model.embed_tokens|lm_head).weight`"):
        merge(llama, tmp_path / "gap", tmp_path / "out")
    assert not (tmp_path / "out").exists()
