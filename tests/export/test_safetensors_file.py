"""Headers by hand: what safetensors writes is read alike, and what an attacker writes is an error."""

import json
import struct
from contextlib import suppress

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from luthier.core.errors import ModelError
from luthier.export.safetensors_file import (
    HEADER_LIMIT,
    model_tensors,
    read_header,
    read_tensor,
    to_bfloat16,
    to_stored,
)


def write(path, header, data=b"", *, length=None):
    content = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(content) if length is None else length) + content + data)
    return path


def entry(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_values_are_those_safetensors_wrote(tmp_path, dtype):
    weights = {
        "b": torch.randn(3, 5).to(dtype),
        "a": torch.randn(4).to(dtype),
        "none": torch.zeros(0, 2).to(dtype),
    }
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    tensors = model_tensors(tmp_path)
    assert tensors.keys() == weights.keys()
    for name, weight in weights.items():
        assert np.array_equal(read_tensor(tensors[name]), weight.float().numpy())


HOSTILE = {
    "no entry object": {"a": 5},
    "no dtype": {"a": {"shape": [2], "data_offsets": [0, 8]}},
    "unknown dtype": {"a": entry(dtype="F31")},
    "dtype not text": {"a": entry(dtype=["F32"])},
    "beyond the end": {"a": entry(shape=(4,), offsets=(0, 16))},
    "reversed": {"a": entry(offsets=(8, 0))},
    "negative": {"a": entry(offsets=(-8, 0))},
    "fractions": {"a": entry(offsets=(0, 8.0))},
    "negative shape": {"a": entry(shape=(-1, -2))},
    "huge shape": {"a": entry(shape=(2**62, 2**62))},
    "true as a number": {"a": entry(shape=(True, 2))},
    "wrong size": {"a": entry(shape=(3,))},
    "overlap": {"a": entry(offsets=(0, 8)), "b": entry(shape=(1,), offsets=(4, 8))},
    "hole": {"a": entry(shape=(1,), offsets=(4, 8))},
    "unused tail": {"a": entry(shape=(1,), offsets=(0, 4))},
    "many dimensions": {"a": entry(shape=(1,) * 1000 + (2,))},
    "not an object": [1, 2],
    "twice": b'{"a": {"dtype":"F32","shape":[2],"data_offsets":[0,8]}, "a": 1}',
    "not JSON": b"{",
    "not UTF-8": b"\xff\xfe{}",
    "nested": b"[" * 50_000,
}


@pytest.mark.parametrize("header", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_headers_are_errors_with_a_hint(tmp_path, header):
    with pytest.raises(ModelError) as caught:
        read_header(write(tmp_path / "model.safetensors", header, bytes(8)))
    assert caught.value.hint
    assert "model.safetensors" in str(caught.value)


@pytest.mark.parametrize("length", [HEADER_LIMIT + 1, 2**63, 10_000])
def test_a_header_longer_than_the_file_is_not_read(tmp_path, length):
    with pytest.raises(ModelError, match="claims"):
        read_header(write(tmp_path / "x.safetensors", {}, length=length))


@settings(max_examples=200, deadline=None)
@given(content=st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "fuzz.safetensors"
    path.write_bytes(content)
    with suppress(ModelError):
        read_header(path)


@pytest.mark.parametrize("name", ["../other.safetensors", "/etc/passwd", "x.bin", 5])
def test_an_index_may_not_leave_the_folder(tmp_path, name):
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(ModelError, match="can't be a shard"):
        model_tensors(tmp_path)


def test_a_missing_shard_is_named(tmp_path):
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "m-1.safetensors"}}))
    with pytest.raises(ModelError, match="m-1"):
        model_tensors(tmp_path)


def test_pickled_weights_are_not_opened(tmp_path):
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(ModelError, match="pickled"):
        model_tensors(tmp_path)


@settings(max_examples=300, deadline=None)
@given(bits=st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=64))
def test_bfloat16_rounds_as_torch_does(bits):
    # Halves of the lowest kept bit, which must go to the even neighbour, beside arbitrary patterns.
    ties = [(value & 0xFFFF0000) | 0x8000 for value in bits]
    values = np.array([*bits, *ties], dtype=np.uint32).view(np.float32)
    with np.errstate(invalid="ignore"):
        expected = torch.from_numpy(values.copy()).to(torch.bfloat16).view(torch.int16).numpy().view(np.uint16)
    ours, numbers = to_bfloat16(values), ~np.isnan(values)
    assert np.array_equal(ours[numbers], expected[numbers])
    assert np.isnan((ours[~numbers].astype(np.uint32) << 16).view(np.float32)).all()


def test_half_rounds_as_torch_does():
    values = np.random.default_rng(0).normal(size=10_000).astype(np.float32) * 1e3
    assert to_stored(values, "F16") == torch.from_numpy(values).half().numpy().tobytes()
    assert to_stored(values, "F32") == values.tobytes()
