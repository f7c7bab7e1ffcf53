"""A certificate passes for what was trained and fails for anything else."""

import json
import math

import numpy as np
import pytest
from transformers import AutoTokenizer, Qwen2ForCausalLM

from luthier.bundled import model_path
from luthier.core.errors import ModelError
from luthier.export.certificate import (
    GGUF_LIMITS,
    LENGTH,
    Certificate,
    Probe,
    asked_positions,
    cut,
    divergence,
    for_gguf,
    for_merged,
    listed_divergence,
    lowered,
)
from luthier.export.gguf import to_gguf
from luthier.export.merge import merge
from luthier.export.quants import QUANTS
from luthier.export.safetensors_file import model_tensors
from luthier.model.llamacpp import greedy
from luthier.workflow.exporting import perplexities

ANSWERS = [
    "The order was shipped on 2026-03-01.",
    "Ja, die Straße; 日本語 😀",
    "def main():\n    return 1234\n",
]


@pytest.fixture(scope="module")
def probes(byte_level):
    rows = []
    for number, answer in enumerate(ANSWERS):
        messages = [
            {"role": "system", "content": "Be polite."},
            {"role": "user", "content": f"Order {number}? 😀\n"},
        ]
        prompt = byte_level.apply_chat_template(messages, add_generation_prompt=True)["input_ids"]
        ids = [*byte_level.encode(answer), byte_level.eos_token_id]
        rows.append(Probe(tuple(prompt), tuple(ids), messages=tuple(messages)))
    return rows


@pytest.fixture(scope="module")
def merged(llama, adapter, tmp_path_factory):
    out = tmp_path_factory.mktemp("merged") / "model"
    merge(llama, adapter, out)
    return out


def edited(merged, folder, name, change):
    """Return a copy of the merged model with the bytes of one tensor changed."""
    folder.mkdir()
    for path in merged.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    tensor = model_tensors(folder)[name]
    content = bytearray(tensor.file.read_bytes())
    content[tensor.begin : tensor.end] = change(content[tensor.begin : tensor.end])
    tensor.file.write_bytes(content)
    return folder


def test_a_merged_model_passes(llama, adapter, merged, probes, tmp_path):
    certificate = for_merged(llama, adapter, merged, probes)
    assert certificate.status == "passed", certificate
    assert certificate.prompt_ids_equal
    assert (certificate.rows, certificate.top1_agreement > 0.9) == (3, True)
    assert 0 < certificate.mean_kl <= certificate.max_kl
    written = json.loads(certificate.write(tmp_path).read_text())
    keys = {"prompt_ids_equal", "max_kl", "mean_kl", "top1_agreement", "rows", "limit", "status", "compared"}
    keys |= {"chats", "notes", "perplexity"}
    assert (written["chats"], written["notes"]) == (3, [])
    assert written.keys() == keys


def test_the_base_instead_of_the_merged_model_fails(llama, adapter, probes):
    assert for_merged(llama, adapter, llama, probes).status == "failed"


@pytest.mark.parametrize("name", ["model.layers.1.mlp.down_proj.weight", "model.layers.0.input_layernorm.weight"])
def test_a_damaged_weight_fails(llama, adapter, merged, probes, tmp_path, name):
    # Zeros in a tenth of one tensor of two dozen.
    bad = edited(merged, tmp_path / "bad", name, lambda data: bytes(len(data) // 20 * 2) + data[len(data) // 20 * 2 :])
    assert for_merged(llama, adapter, bad, probes).status == "failed"


def test_weights_that_are_no_numbers_fail(llama, adapter, merged, probes, tmp_path):
    bad = edited(merged, tmp_path / "bad", "model.norm.weight", lambda data: b"\xc0\x7f" + data[2:])
    certificate = for_merged(llama, adapter, bad, probes)
    assert certificate.status == "failed"
    assert json.loads(certificate.write(tmp_path).read_text())["mean_kl"] is None


def test_another_template_or_tokenizer_fails(llama, adapter, merged, probes, tmp_path):
    for number, (file, old, new) in enumerate(
        [("chat_template.jinja", "assistant", "bot"), ("tokenizer.json", "<tool_call>", "polite")]
    ):
        bad = edited(merged, tmp_path / str(number), "model.norm.weight", lambda data: data)
        text = (bad / file).read_text(encoding="utf-8")
        assert old in text
        (bad / file).write_text(text.replace(old, new), encoding="utf-8")
        certificate = for_merged(llama, adapter, bad, probes)
        assert (certificate.prompt_ids_equal, certificate.status) == (False, "failed")
        assert "row 1" in certificate.compared


def test_training_on_other_ids_than_the_template_gives_fails(llama, adapter, merged, probes):
    shifted = [Probe(probe.prompt[1:], probe.answer, messages=probe.messages) for probe in probes]
    certificate = for_merged(llama, adapter, merged, shifted)
    assert not certificate.prompt_ids_equal
    assert "training saw other" in certificate.compared


@pytest.mark.slow
@pytest.mark.parametrize("quant", ["f16", "bf16", "q8_0"])
def test_a_gguf_file_passes_against_base_and_adapter(llama, adapter, merged, probes, tmp_path, quant):
    to_gguf(merged, tmp_path / "m.gguf", quant=quant, name="m")
    certificate = for_gguf(llama, tmp_path / "m.gguf", probes, quant=quant, adapter=adapter)
    assert certificate.status == "passed", certificate
    assert certificate.top1_agreement > 0.85


def test_every_type_has_a_limit_and_smaller_ones_no_stricter():
    assert [*GGUF_LIMITS] == [*QUANTS]
    assert [*GGUF_LIMITS.values()] == sorted(GGUF_LIMITS.values())


def test_a_small_type_of_a_trained_model_passes_and_its_perplexity_is_told(tmp_path):
    # Trained: random weights tell nothing of a small type.
    model = model_path()
    ids = AutoTokenizer.from_pretrained(model).encode("Where is my order? It was shipped and will reach you soon.")
    rows = [Probe(tuple(ids[:first]), tuple(ids[first : first + 6])) for first in (2, 5, 8)]
    to_gguf(model, tmp_path / "m.gguf", quant="q4_k_m", name="m")
    certificate = for_gguf(model, tmp_path / "m.gguf", rows, quant="q4_k_m", compare=perplexities)
    assert certificate.status == "passed", certificate
    found = certificate.perplexity
    assert found["change"].value == pytest.approx(found["served"].value / found["trained"].value)
    written = json.loads(certificate.write(tmp_path).read_text())["perplexity"]
    assert written["change"] == {"value": found["change"].value, "n": 3, "low": None, "high": None}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("qwen2", {"tie_word_embeddings": True}),
        ("qwen3", {"head_dim": 128}),
        ("mistral", {"sliding_window": None}),
        (
            "llama",
            {
                "attention_bias": True,
                "rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 5e4},
            },
        ),
    ],
    ids=["qwen2", "qwen3", "mistral", "llama-bias-linear"],
)
def test_each_architecture_speaks_alike_in_llama_cpp(make_model, probes, tmp_path, kind, settings):
    model = make_model(tmp_path / "m", kind, **settings)
    to_gguf(model, tmp_path / "m.gguf", quant="f16", name="m")
    certificate = for_gguf(model, tmp_path / "m.gguf", probes, quant="f16")
    assert certificate.status == "passed", certificate


def test_a_sentencepiece_model_without_a_template_passes(make_model, sentencepiece, tmp_path):
    model = make_model(tmp_path / "m", tokenizer=sentencepiece)
    to_gguf(model, tmp_path / "m.gguf", quant="f16", name="m")
    text = "The order 10023 was"
    probe = Probe(tuple(sentencepiece.encode(text)), tuple(sentencepiece.encode(" shipped", add_special_tokens=False)))
    for row in (Probe(probe.prompt, probe.answer, text=text), probe):
        certificate = for_gguf(model, tmp_path / "m.gguf", [row], quant="f16")
        assert certificate.status == "passed", certificate


def test_another_model_or_a_broken_file_fails_without_killing_us(llama, adapter, probes, tmp_path):
    to_gguf(llama, tmp_path / "m.gguf", quant="f16", name="m")
    assert for_gguf(llama, tmp_path / "m.gguf", probes, quant="f16", adapter=adapter).status == "failed"
    (tmp_path / "m.gguf").write_bytes(b"GGUF" + bytes(50))
    certificate = for_gguf(llama, tmp_path / "m.gguf", probes, quant="f16")
    assert certificate.status == "failed"
    assert "llama.cpp" in certificate.compared


@pytest.mark.slow
def test_greedy_answers_are_those_of_transformers(make_model, probes, tmp_path, byte_level):
    model = make_model(tmp_path / "m", "qwen2", initializer_range=0.15)
    to_gguf(model, tmp_path / "m.gguf", quant="f32", name="m")
    import torch

    loaded = Qwen2ForCausalLM.from_pretrained(model, dtype=torch.float32)
    prompt = [*probes[0].prompt]
    ids = loaded.generate(
        torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt)), max_new_tokens=8, do_sample=False
    )
    wanted = byte_level.decode(ids[0, len(prompt) :], skip_special_tokens=True)
    (answer,) = greedy(tmp_path / "m.gguf", [prompt], max_tokens=8)
    assert answer.rstrip("�")[:12] == wanted.rstrip("�")[:12]


def test_listing_every_token_gives_the_full_divergence():
    rng = np.random.default_rng(0)
    ours, theirs = (np.log(rng.dirichlet(np.ones(50))) for _ in range(2))
    full = divergence(ours[None], theirs[None])[0]
    order = np.argsort(-theirs)
    listed = [
        listed_divergence(ours, {"ids": order[:k].tolist(), "logprobs": theirs[order[:k]].tolist()})
        for k in (50, 25, 1)
    ]
    assert listed[0] == pytest.approx(full)
    assert full >= listed[1] >= listed[2] >= 0
    assert listed_divergence(ours, {"ids": [50], "logprobs": [0.0]}) == math.inf


def test_a_small_effect_lowers_the_limit_so_that_the_base_does_not_pass():
    assert lowered(1e-3, []) == lowered(1e-3, [0.5]) == 1e-3
    assert lowered(1e-3, [8e-4, 1.2e-3]) == pytest.approx(2.5e-4)
    assert lowered(1e-3, [1e-9]) == pytest.approx(2e-4)


def test_rows_are_bounded():
    probe = Probe(tuple(range(100)), tuple(range(1000)))
    assert len(cut([probe] * 50)) == 32
    assert len(cut([probe])[0].answer) == LENGTH - 100
    assert len(cut([probe], 128)[0].answer) == 28
    with pytest.raises(ModelError, match="no row"):
        cut([Probe(tuple(range(600)), (1,)), Probe((1,), ())])
    assert asked_positions(1) == [0]
    assert (asked_positions(5), len(asked_positions(300))) == ([0, 1, 2, 3, 4], 8)


def test_a_certificate_says_no_number_as_null():
    failed = Certificate(False, math.nan, math.inf, 0.0, 0, 1.0, "failed", "nothing")
    assert failed.as_dict()["max_kl"] is None
    assert failed.as_dict()["mean_kl"] is None
