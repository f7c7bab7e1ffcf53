"""Each tensor gets the type that llama.cpp's own quantiser gives it."""

import gguf
import pytest
from hypothesis import given
from hypothesis import strategies as st

from luthier.export.quants import BLOCKS, QUANTS, Shape, favoured, file_type, kind_of, size

LARGE = Shape("llama", layers=32, heads=32, kv_heads=8, tied=False)


def kinds(quant, part, layers=32, *, width=4096, **changed):
    model = Shape(**{"arch": "llama", "layers": layers, "heads": 32, "kv_heads": 32, "tied": False, **changed})
    return [kind_of(f"blk.{layer}.{part}.weight", (512, width), quant, model) for layer in range(layers)]


def test_blocks_and_file_types_are_those_of_the_gguf_package():
    for kind, sizes in BLOCKS.items():
        assert gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]] == sizes
    assert {file_type(quant) for quant in QUANTS} <= gguf.LlamaFileType.__members__.keys()


@pytest.mark.parametrize(
    ("quant", "part", "wanted"),
    [
        ("q6_k", "attn_v", {"Q6_K": 32}),
        ("q5_k_s", "ffn_down", {"Q5_K": 32}),
        ("q5_k_m", "attn_v", {"Q6_K": 16, "Q5_K": 16}),
        ("q4_k_m", "ffn_down", {"Q6_K": 16, "Q4_K": 16}),
        ("q4_k_m", "attn_output", {"Q4_K": 32}),
        ("q4_k_s", "attn_v", {"Q5_K": 4, "Q4_K": 28}),
        ("q4_k_s", "ffn_down", {"Q5_K": 4, "Q4_K": 28}),
        ("q4_0", "ffn_down", {"Q4_0": 32}),
        ("q3_k_m", "attn_v", {"Q5_K": 2, "Q4_K": 30}),
        ("q3_k_m", "ffn_down", {"Q5_K": 2, "Q4_K": 30}),
        ("q3_k_m", "attn_output", {"Q4_K": 32}),
        ("q3_k_m", "attn_q", {"Q3_K": 32}),
        ("q2_k", "attn_v", {"Q3_K": 32}),
        ("q2_k", "ffn_down", {"Q3_K": 32}),
        ("q2_k", "ffn_up", {"Q2_K": 32}),
    ],
)
def test_the_mix_of_32_layers_is_llama_cpps(quant, part, wanted):
    found = kinds(quant, part)
    assert {kind: found.count(kind) for kind in found} == wanted


def test_the_first_and_last_eighth_and_every_third_layer_between_get_more_bits():
    assert [layer for layer in range(16) if favoured(layer, 16)] == [0, 1, 4, 7, 10, 13, 14, 15]


def test_values_that_many_heads_share_get_more_bits():
    assert set(kinds("q2_k", "attn_v", kv_heads=8)) == {"Q4_K"}
    assert set(kinds("q3_k_m", "attn_v", 80, kv_heads=8)) == {"Q5_K"}
    assert set(kinds("q3_k_m", "attn_v", 80, kv_heads=8, arch="qwen3")) == {"Q5_K", "Q4_K"}


def test_the_head_and_an_embedding_that_is_the_head_get_six_bits():
    tied = Shape("qwen2", 24, 14, 2, tied=True)
    assert kind_of("output.weight", (32000, 4096), "q2_k", LARGE) == "Q6_K"
    assert kind_of("token_embd.weight", (32000, 4096), "q2_k", LARGE) == "Q2_K"
    assert kind_of("token_embd.weight", (32000, 4096), "q4_0", tied) == "Q6_K"
    assert kind_of("token_embd.weight", (32000, 896), "q4_k_m", tied) == "Q8_0"
    assert kind_of("output.weight", (32000, 4096), "q8_0", LARGE) == "Q8_0"


def test_rows_that_no_block_fits_fall_back():
    wide = {"q6_k": "Q8_0", "q5_k_s": "Q5_1", "q4_k_s": "Q5_0", "q3_k_m": "Q4_0", "q2_k": "Q4_0", "q4_0": "Q4_0"}
    for quant, kind in wide.items():
        assert kind_of("blk.9.attn_q.weight", (896, 896), quant, LARGE) == kind
        assert kind_of("blk.9.attn_q.weight", (896, 100), quant, LARGE) == "F16"


@given(
    quant=st.sampled_from([*QUANTS]),
    part=st.sampled_from(["attn_q", "attn_v", "attn_output", "ffn_down", "ffn_gate", "attn_norm"]),
    layer=st.integers(0, 99),
    width=st.integers(1, 8192),
    dimensions=st.integers(1, 2),
)
def test_rows_are_always_whole_blocks_and_vectors_stay_exact(quant, part, layer, width, dimensions):
    shape = (7, width)[-dimensions:]
    kind = kind_of(f"blk.{layer}.{part}.weight", shape, quant, LARGE)
    assert width % BLOCKS[kind][0] == 0
    assert size(kind, 7 * width) == 7 * size(kind, width)
    if dimensions == 1 or part == "attn_norm":
        assert kind == "F32"
