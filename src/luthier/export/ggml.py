"""Encoding weights in the types of a GGUF file: the K types by ggml's own code.

The `gguf` package can't encode K types. The `xllamacpp` wheel, which also loads the finished file, holds ggml and
exports its `ggml_quantize_chunk`: it is called through ctypes, on every core, for ctypes lets other threads go on
meanwhile. Each type is tried on known values first, so that a wheel whose ggml differs is refused, not believed.
"""

import ctypes
import importlib
import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.machinery import PathFinder
from importlib.util import find_spec
from typing import Any

import numpy as np

from luthier.core.errors import Failed, MissingExtra
from luthier.export.quants import size
from luthier.export.safetensors_file import Matrix, to_bfloat16

HALF_MAX = 65504.0
"""Largest finite float16, in which the types of blocks keep their scales."""

PLAIN = ("F32", "F16", "BF16", "Q8_0")
"""Types for which numpy is fast enough."""

LOSS = {
    "Q6_K": 0.027,
    "Q5_K": 0.055,
    "Q5_1": 0.057,
    "Q5_0": 0.065,
    "Q4_K": 0.11,
    "Q4_0": 0.13,
    "Q3_K": 0.23,
    "Q2_K": 0.45,
}
"""Largest error on normally distributed values, as a share of their root mean square: 1.5 times what is usual."""

Array = np.ndarray[Any, Any]


def package() -> Any:
    """Return the `gguf` package.

    Raises:
        MissingExtra: It is not installed.
    """
    try:
        return importlib.import_module("gguf")
    except ImportError as error:
        raise MissingExtra("gguf", extra="gguf") from error


def encoded(values: Matrix, kind: str, name: str) -> bytes:
    """Return a block of rows in a type.

    Args:
        values: Shape (rows, width); a row is whole blocks of the type.
        kind: One of `quants.BLOCKS`.
        name: Of the tensor, for people.

    Raises:
        Failed: A value is not finite or too large for the type, or xllamacpp can't encode it.
        MissingExtra: A package is not installed.
    """
    largest = float(np.abs(values).max(initial=0.0))
    limit = {"F32": math.inf, "BF16": math.inf, "Q8_0": 127 * HALF_MAX}.get(kind, HALF_MAX)
    if not largest < math.inf or largest > limit:
        raise Failed(
            f"`{name}` holds values up to {largest:g}, too large for {kind}",
            hint="export with `--quant bf16`; if that fails too, look at the loss curve of the training",
        )
    if kind == "BF16":
        return to_bfloat16(values).astype("<u2", copy=False).tobytes()
    if kind in PLAIN:
        gguf = package()
        array: Array = gguf.quants.quantize(values, gguf.GGMLQuantizationType[kind])
        return array.tobytes()
    ready(kind)
    return in_blocks(np.ascontiguousarray(values, dtype=np.float32), kind).tobytes()


def in_blocks(values: Matrix, kind: str) -> Array:
    """Return rows as ggml encodes them. Input (rows, width), output (rows, bytes of a row).

    Raises:
        Failed: ggml wrote another number of bytes.
    """
    rows, width = values.shape
    encode, number = library(), int(package().GGMLQuantizationType[kind])
    out = np.empty((rows, size(kind, width)), dtype=np.uint8)

    def some(part: Array) -> int:
        first, last = int(part[0]), int(part[-1]) + 1
        return encode(number, values[first:].ctypes.data, out[first:].ctypes.data, 0, last - first, width, None)

    threads = min(rows, len(os.sched_getaffinity(0)))
    with ThreadPoolExecutor(threads) as pool:
        written = sum(pool.map(some, np.array_split(np.arange(rows), threads)))
    if written != out.nbytes:
        raise unable(kind)
    return out


@cache
def library() -> Callable[..., int]:
    """Return ggml's `ggml_quantize_chunk` out of the `xllamacpp` wheel, without importing it.

    Its arguments: type, float32 values, where to write, first value, rows, width, importance matrix or None.

    Raises:
        MissingExtra: The wheel is not installed.
        Failed: It has no such function.
    """
    found = find_spec("xllamacpp")
    if found is None:
        raise MissingExtra("xllamacpp", extra="gguf")
    binary = PathFinder.find_spec("xllamacpp", [*(found.submodule_search_locations or ())])
    try:
        function = ctypes.CDLL(str(binary and binary.origin)).ggml_quantize_chunk
    except (OSError, AttributeError) as error:
        raise unable("K types") from error
    function.restype = ctypes.c_size_t
    count = ctypes.c_int64
    function.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, count, count, count, ctypes.c_void_p]
    encode: Callable[..., int] = function
    return encode


@cache
def ready(kind: str) -> None:
    """Try a type on known values and compare what the `gguf` package reads back.

    Raises:
        Failed: They differ by more than the type loses.
    """
    gguf = package()
    values = np.random.default_rng(0).standard_normal((2, 4 * 256), dtype=np.float32)
    back = gguf.quants.dequantize(in_blocks(values, kind), gguf.GGMLQuantizationType[kind])
    if not np.sqrt(np.mean((back - values) ** 2)) <= LOSS[kind]:
        raise unable(kind)


def unable(what: str) -> Failed:
    """Return the error for a wheel whose ggml doesn't do what is asked."""
    return Failed(
        f"the installed `xllamacpp` can't encode {what}",
        hint="install another: `pip install -U xllamacpp`; or export with `--quant q8_0`, which needs none",
    )
