"""K types are encoded by ggml's own code, on every core, and only by one that was tried."""

import ctypes

import gguf
import numpy as np
import pytest
from gguf.quants import dequantize

from luthier.core.errors import Failed, MissingExtra
from luthier.export import ggml
from luthier.export.ggml import LOSS, encoded, in_blocks, library, ready
from luthier.export.quants import BLOCKS, size


@pytest.fixture
def values():
    return np.random.default_rng(1).normal(size=(37, 512)).astype(np.float32)


@pytest.mark.parametrize("kind", LOSS)
def test_what_is_read_back_is_near_and_of_the_types_size(values, kind):
    found = np.frombuffer(encoded(values, kind, "w"), np.uint8).reshape(37, -1)
    assert found.shape[1] == size(kind, 512)
    error = np.sqrt(np.mean((dequantize(found, gguf.GGMLQuantizationType[kind]) - values) ** 2))
    assert LOSS[kind] / 3 < error < LOSS[kind]


@pytest.mark.parametrize("kind", ["Q4_K", "Q5_0"])
def test_rows_are_encoded_one_by_one_wherever_they_are_cut(values, kind):
    parts = [encoded(part, kind, "w") for part in (values[:1], values[1:30], values[30:])]
    assert b"".join(parts) == encoded(values, kind, "w")
    assert encoded(np.asfortranarray(values), kind, "w") == encoded(values, kind, "w")


@pytest.mark.parametrize("kind", ["Q5_0", "Q4_0"])
def test_ggml_and_the_gguf_package_agree_to_the_byte_where_both_can(values, kind):
    wanted = gguf.quants.quantize(values, gguf.GGMLQuantizationType[kind])
    assert encoded(values, kind, "w") == wanted.tobytes()


def test_finer_types_lose_less():
    assert [*LOSS.values()] == sorted(LOSS.values())
    assert LOSS.keys() == BLOCKS.keys() - set(ggml.PLAIN)


@pytest.mark.parametrize("bad", [np.inf, np.nan, 1e6])
def test_values_that_no_scale_reaches_are_refused(values, bad):
    values[3, 3] = bad
    with pytest.raises(Failed, match="too large for Q4_K"):
        encoded(values, "Q4_K", "w")


@pytest.fixture
def anew():
    """Forget what was found out before and after."""
    for cached in (library, ready):
        cached.cache_clear()
    yield
    for cached in (library, ready):
        cached.cache_clear()


@pytest.mark.usefixtures("anew")
def test_a_wheel_without_the_encoder_is_told_and_what_works_instead(values, monkeypatch):
    # The C library has no such function; a wheel of another making may not either.
    monkeypatch.setattr(ctypes, "CDLL", lambda _: ctypes.PyDLL(None))
    with pytest.raises(Failed, match="xllamacpp") as caught:
        encoded(values, "Q4_K", "w")
    assert "q8_0" in caught.value.hint
    assert encoded(values, "Q8_0", "w")


@pytest.mark.usefixtures("anew")
def test_a_missing_wheel_is_named(values, monkeypatch):
    monkeypatch.setattr(ggml, "find_spec", lambda _: None)
    with pytest.raises(MissingExtra, match=r"luthier\[gguf\]"):
        encoded(values, "Q4_K", "w")


@pytest.mark.usefixtures("anew")
@pytest.mark.parametrize(("other", "wrong"), [("Q4_K", "Q5_K"), ("Q4_0", "Q4_K")])
def test_an_encoder_that_writes_something_else_is_not_believed(values, monkeypatch, other, wrong):
    # As after a change of ggml's numbers for its types: the bytes are those of another one.
    right, number = library(), int(gguf.GGMLQuantizationType[other])
    monkeypatch.setattr(ggml, "library", lambda: lambda _, *rest: right(number, *rest))
    with pytest.raises(Failed, match=f"can't encode {wrong}"):
        encoded(values, wrong, "w")


def test_the_binding_is_called_without_importing_it(values):
    assert in_blocks(values, "Q6_K").shape == (37, size("Q6_K", 512))
