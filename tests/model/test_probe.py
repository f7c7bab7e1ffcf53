"""No document changes another's logits, on any architecture and any path; and the probe that says so can fail."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from architectures import PACKED, PADDED, make, save
from transformers import AttentionInterface, AutoConfig, AutoModelForCausalLM

from luthier.core.errors import ModelError
from luthier.model.forward import batching, packed_logits, padded_logits, precise, set_batching, supervised_logits
from luthier.model.generate import attending
from luthier.model.kernels import attention
from luthier.model.load import load_model
from luthier.model.probe import LEAK_LIMIT, ROUNDING, _pack, _two, distortion, heeds, leak

VOCABULARY = 300


@pytest.mark.parametrize("kind", PACKED)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_packed_document_never_changes_another(kind: str, dtype: torch.dtype, precision: str) -> None:
    model = make(kind, dtype=dtype, attn_implementation=attention.NAME)
    with precise(model, precision):
        assert leak(model, vocabulary=VOCABULARY) == 0.0
        assert heeds(model, vocabulary=VOCABULARY)


@pytest.mark.parametrize("kind", PACKED)
def test_packing_computes_what_the_architectures_own_attention_does(kind: str) -> None:
    model = make(kind, attn_implementation=attention.NAME)
    assert distortion(model, vocabulary=VOCABULARY) < 1e-5
    rounded = make(kind, dtype=torch.bfloat16, attn_implementation=attention.NAME)
    assert distortion(rounded, vocabulary=VOCABULARY) < ROUNDING[torch.bfloat16]


@pytest.mark.parametrize("kind", [*PACKED, *PADDED])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_row_of_a_padded_batch_never_changes_another(kind: str, dtype: torch.dtype) -> None:
    model = make(kind, dtype=dtype)
    assert leak(model, vocabulary=VOCABULARY, logits=padded_logits) < LEAK_LIMIT
    limit = 1e-5 if dtype is torch.float32 else ROUNDING[dtype]
    assert distortion(model, vocabulary=VOCABULARY, logits=padded_logits) < limit


@pytest.mark.parametrize("kind", PACKED)
def test_softmax_attention_is_packed(kind: str, tmp_path: Path) -> None:
    model = load_model(save(kind, tmp_path))
    assert batching(model).way == "packed"
    assert "by 0.0e+00 of the largest" in batching(model).reason
    assert model.config._attn_implementation == attention.NAME


@pytest.mark.parametrize("kind", PADDED)
def test_what_cannot_be_packed_is_padded_and_says_why(kind: str, tmp_path: Path) -> None:
    model = load_model(save(kind, tmp_path))
    way, reason, _ = batching(model)
    assert way == "padded"
    why = {"bloom": "by itself", "rwkv": "by itself", "mamba": "by itself", "mamba2": "by itself"}
    exchanged = dict.fromkeys(("stablelm", "gptj"), "can't be exchanged")
    assert (why | exchanged).get(kind, "move each other's logits") in reason
    assert model.config._attn_implementation in ("sdpa", "eager")


@pytest.mark.parametrize("kind", ["jamba", "lfm2", "qwen3_next"])
def test_a_hybrid_model_would_leak_in_a_pack(kind: str) -> None:
    assert leak(make(kind, attn_implementation=attention.NAME), vocabulary=VOCABULARY) > 1e-3


def one_token_too_far(
    module: Any, query: Any, key: Any, value: Any, mask: Any, *, bounds: list[int], shared: object, **more: Any
) -> Any:
    """Attend within documents, but let each see the last token of the one before."""
    out, _ = attention.packed_attention(module, query, key, value, mask, bounds=bounds, **more)
    for start, end in pairwise(bounds[1:]):
        seen = slice(start - 1, end)
        parts = (tensor[:, :, seen] for tensor in (query, key, value))
        wider, _ = attention.packed_attention(module, *parts, mask, bounds=[0, end - start + 1], **more)
        out[:, start:end] = wider[:, 1:]
    return out, None


def without_caps_and_sinks(*given: Any, softcap: Any = None, s_aux: Any = None, **more: Any) -> Any:
    """Attend as a kernel does that takes such arguments for none of its business."""
    return attention.packed_attention(*given, **more)


AttentionInterface.register("one_token_too_far", one_token_too_far)
AttentionInterface.register("without_caps_and_sinks", without_caps_and_sinks)


@pytest.mark.parametrize("kind", PACKED)
def test_one_token_seen_over_a_boundary_is_noticed(kind: str) -> None:
    assert leak(make(kind, attn_implementation="one_token_too_far"), vocabulary=VOCABULARY) > 1e-3


@pytest.mark.parametrize("kind", ["gemma2", "gpt_oss"])
def test_a_kernel_that_leaves_out_caps_or_sinks_is_noticed(kind: str) -> None:
    model = make(kind, attn_implementation=attention.NAME)
    ids = torch.arange(3, 23)[None]
    bounds = {"bounds": [0, 20]}
    given: dict[str, Any] = {"eager": {}, "without_caps_and_sinks": bounds, attention.NAME: bounds}
    logits = {}
    for name, more in given.items():
        with torch.no_grad(), attending(model, name):
            logits[name] = model(input_ids=ids, use_cache=False, **more).logits
    wanted = logits["eager"]
    assert float((logits[attention.NAME] - wanted).abs().max() / wanted.abs().max()) < 1e-5
    assert float((logits["without_caps_and_sinks"] - wanted).abs().max() / wanted.abs().max()) > 1e-3


def test_an_architecture_with_attention_of_its_own_is_noticed_also_where_rounding_hides_its_leak() -> None:
    config = AutoConfig.for_model("bloom", vocab_size=300, hidden_size=64, n_layer=1, n_head=4)
    torch.manual_seed(0)
    bloom = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).eval()
    assert not heeds(Ignoring(bloom), vocabulary=VOCABULARY)


class Ignoring(torch.nn.Module):
    """A model that takes any argument and uses those it knows, as architectures with their own attention do."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, *, bounds: list[int], position_ids: torch.Tensor, **inputs: object) -> object:
        return self.inner(**inputs)


@pytest.mark.parametrize("kind", ["llama", "mamba"])
def test_weights_that_give_no_numbers_are_refused(kind: str, tmp_path: Path) -> None:
    model = make(kind)
    with torch.no_grad():
        next(parameter for name, parameter in model.named_parameters() if "norm" in name).fill_(float("nan"))
    model.save_pretrained(str(tmp_path))
    with pytest.raises(ModelError, match="numbers that are none") as caught:
        load_model(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_a_model_that_nobody_probed_is_our_own_mistake() -> None:
    with pytest.raises(AssertionError, match="nobody probed"):
        batching(make("llama"))


def test_a_pack_of_a_packed_model_may_be_padded_too() -> None:
    """Both ways give the same numbers, on the same weights."""
    model = make("llama", attn_implementation=attention.NAME)
    pack = _pack(_two(VOCABULARY))
    with torch.no_grad():
        packed = packed_logits(model, pack)
        model.config._attn_implementation = "sdpa"
        padded = padded_logits(model, pack)
    torch.testing.assert_close(padded, packed, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("way", ["packed", "padded"])
def test_a_document_long_enough_for_other_rotary_angles_leaves_short_ones_theirs(way: Any, tmp_path: Path) -> None:
    """LongRoPE takes the angles of a whole pass from its longest document."""
    angles = {"rope_type": "longrope", "rope_theta": 10000.0, "short_factor": [1.0] * 8, "long_factor": [4.0] * 8}
    save("phi3", tmp_path, original_max_position_embeddings=32, rope_parameters=angles)
    model = load_model(tmp_path)
    assert batching(model).turn == 32
    if way == "padded":
        model.config._attn_implementation = "sdpa"
        set_batching(model, batching(model)._replace(way=way))
    long, middle, short = (np.arange(first, first + length) for first, length in ((3, 60), (70, 32), (110, 20)))
    plain = make("phi3", original_max_position_embeddings=32, rope_parameters=angles, attn_implementation="eager")
    with torch.no_grad():
        alone = [plain(input_ids=torch.from_numpy(ids)[None]).logits[0, :-1] for ids in (short, long, middle)]
        together = supervised_logits(model, _pack([short, long, middle]))
        careless = (packed_logits if way == "packed" else padded_logits)(model, _pack([short, long, middle]))
    wanted = torch.cat(alone)
    assert float((together - wanted).abs().max() / wanted.abs().max()) < 1e-5
    assert float((careless - wanted).abs().max() / wanted.abs().max()) > 1e-2
    supervised_logits(model, _pack([short, long, middle])).logsumexp(dim=-1).sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
