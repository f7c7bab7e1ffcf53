"""GGUF files hold the same weights and the same tokenizer; what llama.cpp reads differently is refused."""

import json
import shutil
import sys
import unicodedata

import numpy as np
import pytest
from gguf import GGUFReader, LlamaFileType
from gguf.quants import dequantize
from safetensors.torch import load_file, save_file

from luthier.core.errors import Failed, MissingExtra, ModelError
from luthier.export import ggml
from luthier.export import gguf as gguf_module
from luthier.export.gguf import to_gguf
from luthier.export.safetensors_file import model_tensors, read_tensor
from luthier.export.vocabulary import GPT2, LLAMA3, TEKKEN, TokenType, read_vocabulary
from luthier.model.llamacpp import ask, next_token, tokens

AWKWARD = [
    "a",
    " leading and trailing ",
    "two  spaces,   three\tand\ttabs",
    "\n\nlines\r\n\r\n  indented\n",
    "1 22 333 4444 55555 3.14 1,000,000 ٣٤",
    "I'll we've DON'T they'Re 'tis",
    "émoji 😀👍🏽👨‍👩‍👧 ünïcödé",
    "日本語と中文、한국어 العربية עברית हिन्दी",
    "x\u00a0y\u2003z\u200b\ufeff \u2028",
    "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n",
    '<tool_call>{"a": [1, 2]}<tool_call>',
    "".join(chr(code) for code in range(32, 127)),
    "\x01\x7f control",
    "ﬁ ½ Ⅷ ² Å",
    "!!!???...---===\n\n\n### ```py\n",
    "Straße ΑΒΓ ǅ ʰ Привет",
]


def field(reader, key):
    found = reader.get_field(key)
    return None if found is None else found.contents()


def ids_of(gguf, texts):
    return [answer["ids"] for answer in ask(gguf, [tokens(text, special=False) for text in texts])]


@pytest.mark.parametrize("quant", ["f32", "f16", "bf16", "q8_0"])
def test_every_weight_is_there_in_its_type(llama, tmp_path, quant):
    to_gguf(llama, tmp_path / "m.gguf", quant=quant, name="tiny")
    reader = GGUFReader(tmp_path / "m.gguf")
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    sources = model_tensors(llama)
    assert len(tensors) == len(sources)
    down = tensors["blk.1.ffn_down.weight"]
    wanted = read_tensor(sources["model.layers.1.mlp.down_proj.weight"])
    got = dequantize(down.data, down.tensor_type).reshape(wanted.shape)
    assert down.tensor_type.name == quant.upper()
    assert np.abs(got - wanted).max() <= (0 if quant in ("f32", "bf16") else 2e-3)
    assert tensors["blk.0.attn_norm.weight"].tensor_type.name == "F32"
    assert field(reader, "general.name") == "tiny"
    assert field(reader, "llama.attention.head_count_kv") == 2


def test_a_mix_stores_each_tensor_as_its_rule_says_and_llama_cpp_reads_it(llama, tmp_path):
    to_gguf(llama, tmp_path / "m.gguf", quant="q4_k_m", name="mix")
    reader = GGUFReader(tmp_path / "m.gguf")
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    kinds = {name: tensor.tensor_type.name for name, tensor in tensors.items()}
    # Rows of ffn_down are 320 wide, which no block of 256 fits.
    wanted = {"token_embd": "Q4_K", "blk.0.attn_q": "Q4_K", "blk.1.attn_v": "Q6_K", "output": "Q6_K"}
    wanted |= {"blk.0.ffn_down": "Q5_0", "blk.1.ffn_down": "Q8_0", "blk.0.attn_norm": "F32"}
    assert {name: kinds[f"{name}.weight"] for name in wanted} == wanted
    assert LlamaFileType(field(reader, "general.file_type")).name == "MOSTLY_Q4_K_M"
    source = read_tensor(model_tensors(llama)["model.layers.0.mlp.up_proj.weight"])
    up = tensors["blk.0.ffn_up.weight"]
    lost = dequantize(up.data, up.tensor_type) - source
    assert np.sqrt(np.mean(lost**2)) < 0.1 * np.sqrt(np.mean(source**2))
    assert len(ask(tmp_path / "m.gguf", [next_token([5, 6, 7], top=9)])[0]["ids"]) == 9


def test_rows_that_no_block_fits_fall_back_to_half(make_model, tmp_path):
    model = make_model(tmp_path / "m", intermediate_size=200)
    to_gguf(model, tmp_path / "m.gguf", quant="q8_0", name="odd")
    kinds = {tensor.name: tensor.tensor_type.name for tensor in GGUFReader(tmp_path / "m.gguf").tensors}
    assert kinds["blk.0.ffn_down.weight"] == "F16"
    assert kinds["blk.0.ffn_up.weight"] == "Q8_0"


@pytest.mark.parametrize("quant", ["q8_0", "q5_k_m"])
def test_blocks_give_the_same_file(llama, tmp_path, monkeypatch, quant):
    to_gguf(llama, tmp_path / "whole.gguf", quant=quant, name="m")
    monkeypatch.setattr(gguf_module, "BLOCK", 1000)
    to_gguf(llama, tmp_path / "parts.gguf", quant=quant, name="m")
    assert (tmp_path / "whole.gguf").read_bytes() == (tmp_path / "parts.gguf").read_bytes()


def test_llama_cpp_tokenizes_as_the_byte_level_tokenizer(llama, byte_level, tmp_path):
    to_gguf(llama, tmp_path / "m.gguf", quant="f16", name="m")
    texts = [unicodedata.normalize("NFC", text) for text in AWKWARD]
    wanted = [byte_level.encode(text, add_special_tokens=False) for text in texts]
    assert dict(zip(texts, ids_of(tmp_path / "m.gguf", texts), strict=True)) == dict(zip(texts, wanted, strict=True))


@pytest.mark.parametrize(("regex", "name"), [(GPT2, "gpt-2"), (LLAMA3, "smaug-bpe"), (TEKKEN, "tekken")])
def test_each_known_regex_has_its_name(make_model, byte_level_with, tmp_path, regex, name):
    tokenizer = byte_level_with(regex)
    model = make_model(tmp_path / "m", tokenizer=tokenizer, num_hidden_layers=1)
    to_gguf(model, tmp_path / "m.gguf", quant="f16", name="m")
    assert field(GGUFReader(tmp_path / "m.gguf"), "tokenizer.ggml.pre") == name
    texts = [unicodedata.normalize("NFC", text) for text in AWKWARD]
    wanted = [tokenizer.encode(text, add_special_tokens=False) for text in texts]
    assert ids_of(tmp_path / "m.gguf", texts) == wanted


def test_llama_cpp_tokenizes_as_the_sentencepiece_tokenizer(make_model, sentencepiece, tmp_path):
    model = make_model(tmp_path / "m", "mistral", tokenizer=sentencepiece)
    to_gguf(model, tmp_path / "m.gguf", quant="f16", name="m")
    reader = GGUFReader(tmp_path / "m.gguf")
    assert field(reader, "tokenizer.ggml.add_bos_token") is True
    assert field(reader, "tokenizer.ggml.add_space_prefix") is True
    answers = ask(tmp_path / "m.gguf", [tokens(text) for text in AWKWARD])
    assert [answer["ids"] for answer in answers] == [sentencepiece.encode(text) for text in AWKWARD]


def test_the_tokenizers_kinds_and_special_ids_are_written(llama, byte_level, tmp_path):
    (tmp_path / "m").mkdir()
    for path in llama.iterdir():
        shutil.copyfile(path, tmp_path / "m" / path.name)
    end = byte_level.convert_tokens_to_ids("<|im_end|>")
    (tmp_path / "m" / "generation_config.json").write_text(json.dumps({"eos_token_id": [0, end]}))
    to_gguf(tmp_path / "m", tmp_path / "m.gguf", quant="f16", name="m")
    reader = GGUFReader(tmp_path / "m.gguf")
    types, pieces = field(reader, "tokenizer.ggml.token_type"), field(reader, "tokenizer.ggml.tokens")
    assert (types[end], types[len(byte_level) - 1]) == (TokenType.CONTROL, TokenType.USER_DEFINED)
    assert types[-5:] == [TokenType.UNUSED] * 5
    assert pieces[-1] == f"[PAD{len(byte_level) + 4}]"
    assert field(reader, "tokenizer.ggml.eos_token_id") == end
    assert field(reader, "tokenizer.ggml.eot_token_id") == 0
    assert field(reader, "tokenizer.ggml.add_bos_token") is False
    assert "<|im_start|>" in field(reader, "tokenizer.chat_template")


def test_bos_follows_the_chat_template_where_there_is_one(make_model, sentencepiece, tmp_path):
    # transformers adds bos to a text but not to a rendered chat; llama.cpp has one switch for both.
    model = make_model(tmp_path / "m", "mistral", tokenizer=sentencepiece, num_hidden_layers=1)
    template = "{% for m in messages %}[{{ m['content'] }}]{% endfor %}"
    for text, added in [(template, False), ("{{ bos_token }}" + template, True)]:
        (model / "chat_template.jinja").write_text(text)
        assert read_vocabulary(model, len(sentencepiece) + 5).add_bos is added


def test_llama3_rope_factors_are_those_of_transformers(make_model, tmp_path):
    from transformers import LlamaForCausalLM

    rope = {
        "rope_type": "llama3",
        "rope_theta": 10000.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    }
    model = make_model(tmp_path / "m", rope_parameters=rope)
    to_gguf(model, tmp_path / "m.gguf", quant="f16", name="m")
    tensors = {tensor.name: tensor for tensor in GGUFReader(tmp_path / "m.gguf").tensors}
    plain = 1.0 / 10000.0 ** (np.arange(0, 64, 2) / 64)
    scaled = LlamaForCausalLM.from_pretrained(model).model.rotary_emb.inv_freq.numpy()
    assert np.allclose(plain / tensors["rope_freqs.weight"].data, scaled, rtol=1e-5)


def changed(model, folder, file, change):
    shutil.copytree(model, folder)
    value = json.loads((folder / file).read_text())
    change(value)
    (folder / file).write_text(json.dumps(value))
    return folder


REFUSED = {
    "GemmaForCausalLM": ("config.json", lambda c: c.update(architectures=["GemmaForCausalLM"])),
    "quantised": ("config.json", lambda c: c.update(quantization_config={"bits": 4})),
    "dynamic": ("config.json", lambda c: c["rope_parameters"].update(rope_type="dynamic", factor=2.0)),
    "damaged": ("config.json", lambda c: c.update(hidden_size="wide")),
    "activation": ("config.json", lambda c: c.update(hidden_act="relu")),
    "pre-tokenizer": (
        "tokenizer.json",
        lambda t: t["pre_tokenizer"]["pretokenizers"][0].update(pattern={"Regex": r"\d{1,2}|\s+"}),
    ),
    "normalizer": ("tokenizer.json", lambda t: t.update(normalizer={"type": "Lowercase"})),
    "Unigram": ("tokenizer.json", lambda t: t["model"].update(type="Unigram")),
    "has id": ("tokenizer.json", lambda t: t["added_tokens"][-1].update(id=9999)),
}


@pytest.mark.parametrize("named", REFUSED)
@pytest.mark.filterwarnings("ignore")
def test_what_llama_cpp_reads_differently_is_refused(llama, tmp_path, named):
    file, change = REFUSED[named]
    with pytest.raises(ModelError, match=named) as caught:
        to_gguf(changed(llama, tmp_path / "m", file, change), tmp_path / "m.gguf", quant="f16", name="m")
    assert caught.value.hint
    assert not (tmp_path / "m.gguf").exists()


def test_an_unknown_quantisation_gets_a_suggestion(llama, tmp_path):
    with pytest.raises(ModelError, match="q8_0"):
        to_gguf(llama, tmp_path / "m.gguf", quant="q8-0", name="m")


def test_a_missing_package_is_named(llama, tmp_path, monkeypatch):
    def absent(_):
        raise ImportError

    monkeypatch.setattr(ggml.importlib, "import_module", absent)
    with pytest.raises(MissingExtra, match=r"luthier\[gguf\]"):
        to_gguf(llama, tmp_path / "m.gguf", quant="f16", name="m")


def test_values_too_large_for_half_are_refused_and_leave_nothing(make_model, tmp_path):
    model = make_model(tmp_path / "m", num_hidden_layers=1)
    weights = load_file(model / "model.safetensors")
    save_file({name: weight * 1e6 for name, weight in weights.items()}, model / "model.safetensors")
    (tmp_path / "out").mkdir()
    with pytest.raises(Failed, match="too large for F16"):
        to_gguf(model, tmp_path / "out" / "m.gguf", quant="f16", name="m")
    assert not any((tmp_path / "out").iterdir())
    to_gguf(model, tmp_path / "out" / "m.gguf", quant="bf16", name="m")


def test_a_broken_file_is_an_error_of_ours(llama, tmp_path):
    (tmp_path / "m.gguf").write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(Failed, match=r"llama\.cpp can't load|llama\.cpp crashed"):
        ask(tmp_path / "m.gguf", [tokens("a")])
    to_gguf(llama, tmp_path / "m.gguf", quant="f16", name="m")
    whole = (tmp_path / "m.gguf").read_bytes()
    (tmp_path / "m.gguf").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(Failed, match=r"llama\.cpp"):
        ask(tmp_path / "m.gguf", [tokens("a")])


def test_a_half_model_is_named(tmp_path, llama):
    shutil.copytree(llama, tmp_path / "m")
    (tmp_path / "m" / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match=r"tokenizer\.json"):
        to_gguf(tmp_path / "m", tmp_path / "m.gguf", quant="f16", name="m")


def test_a_crash_in_llama_cpp_does_not_take_us_down(tmp_path, monkeypatch):
    dying = tmp_path / "python"
    dying.write_text("#!/bin/sh\necho 'GGML_ASSERT(n > 0) failed' >&2\nkill -ABRT $$\n")
    dying.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(dying))
    with pytest.raises(Failed, match=r"crashed \(exit code -6\): GGML_ASSERT"):
        ask(tmp_path / "m.gguf", [tokens("a")])


def test_a_template_that_never_ends_stops_the_export_with_a_sentence(make_model, sentencepiece, tmp_path):
    make_model(tmp_path / "m", tokenizer=sentencepiece)
    bomb = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    (tmp_path / "m" / "chat_template.jinja").write_text(bomb)
    with pytest.raises(ModelError, match="chat template"):
        to_gguf(tmp_path / "m", tmp_path / "m.gguf", quant="f16", name="m")
