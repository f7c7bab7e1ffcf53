"""Where each tensor of a model lies on disk: safetensors headers read by hand, with every number checked.

A safetensors file is: 8 bytes little-endian length N, N bytes of JSON, then the tensors' bytes. The JSON
gives each tensor's `dtype`, `shape` and `data_offsets` (begin, end; relative to the end of the header).
Format: https://github.com/huggingface/safetensors#format. Reading the header ourselves gives the byte ranges
that merging and converting work on without loading a model, and the files may come from anybody: a wrong
number must be an error with a hint, never a crash or a huge allocation.
"""

import json
import os
import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from luthier.core.errors import ModelError
from luthier.core.text import one_line

HEADER_LIMIT = 100_000_000
"""Longest header accepted, in bytes: the limit of the format's own library. A 1000-layer model needs 1 MB."""

INDEX_NAME = "model.safetensors.index.json"
SINGLE_NAME = "model.safetensors"

BITS = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 16),
    **dict.fromkeys(("U32", "I32", "F32"), 32),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 64),
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
}
"""Bits per value of each type the format knows."""

FLOATS: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype("<u2")}
"""Types we can compute with. numpy has no bfloat16: its bits are carried as uint16."""

Values = np.ndarray[Any, np.dtype[Any]]
Matrix = np.ndarray[Any, np.dtype[np.float32]]

UNTRUSTED_HINT = "download or save the model again; if it came from somebody else, don't trust it"


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor in a file.

    `begin` and `end` are byte positions from the start of the file, `end` exclusive.
    """

    name: str
    file: Path
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def broken(file: Path, problem: str) -> ModelError:
    """Return the error for a file that is not what it says."""
    return ModelError(f"not a usable safetensors file: {problem}", hint=UNTRUSTED_HINT, place=str(file))


def read_json(file: Path, *, limit: int = HEADER_LIMIT) -> dict[str, Any]:
    """Return the object in a JSON file of a model folder.

    Raises:
        ModelError: The file is missing, larger than `limit` bytes, not JSON, or not an object.
    """
    try:
        if file.stat().st_size > limit:
            raise ModelError(f"`{file.name}` is too large", hint=UNTRUSTED_HINT, place=str(file))
        return parse_object(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(
            f"can't read `{file.name}`: {one_line(str(error))}",
            hint="name a folder that holds a whole model, as `save_pretrained` writes it",
            place=str(file.parent),
        ) from error


def parse_object(content: bytes) -> dict[str, Any]:
    """Return the JSON object in `content`.

    Raises:
        ValueError: It is not JSON in UTF-8, names a key twice, or is not an object.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a key appears twice")
        return found

    value = json.loads(content.decode("utf-8"), object_pairs_hook=unique)
    if not isinstance(value, dict):
        raise ValueError("it holds no JSON object")
    return value


def whole(value: Any) -> bool:
    """Say whether a JSON value is a whole number of at least 0 (and not `true`)."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def parse_entry(file: Path, name: str, entry: Any, start: int, size: int) -> Tensor:
    """Return the tensor that one entry of a header describes, after checking it against the file.

    Args:
        file: The file, for messages.
        name: The tensor's name.
        entry: The value in the header.
        start: Where the tensors' bytes begin, in bytes from the start of the file.
        size: The file's size in bytes.
    """
    label = one_line(name, 80)
    if not isinstance(entry, dict) or not {"dtype", "shape", "data_offsets"} <= entry.keys():
        raise broken(file, f"the entry of `{label}` has no dtype, shape or data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BITS:
        raise broken(file, f"`{label}` has the unknown type {one_line(str(dtype), 40)}")
    if not isinstance(shape, list) or len(shape) > 16 or not all(whole(n) and n < 2**48 for n in shape):
        raise broken(file, f"`{label}` has an impossible shape")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(whole(n) for n in offsets):
        raise broken(file, f"`{label}` has impossible offsets")
    begin, end = start + offsets[0], start + offsets[1]
    if begin > end or end > size:
        raise broken(file, f"`{label}` lies outside the file, which may be cut short")
    if prod(shape) * BITS[dtype] != 8 * (end - begin):
        raise broken(file, f"the bytes of `{label}` don't fit its shape {shape} and type {dtype}")
    return Tensor(name=name, file=file, dtype=dtype, shape=tuple(shape), begin=begin, end=end)


def read_header(file: Path) -> tuple[list[Tensor], int]:
    """Return the tensors of a safetensors file in the order of their bytes, and where the first byte lies.

    Raises:
        ModelError: The file can't be read, or its header contradicts itself or the file's size.
    """
    try:
        with file.open("rb") as handle:
            size = os.fstat(handle.fileno()).st_size
            if size < 8:
                raise broken(file, "it is shorter than a header")
            (length,) = struct.unpack("<Q", handle.read(8))
            if length > HEADER_LIMIT or 8 + length > size:
                raise broken(file, f"its header claims {length:,} bytes, the file has {size:,}")
            content = handle.read(length)
    except OSError as error:
        raise ModelError(
            f"can't read the weights: {error.strerror}",
            hint="check the folder and its permissions",
            place=str(file),
        ) from error
    try:
        header = parse_object(content)
    except (ValueError, RecursionError) as error:
        raise broken(file, f"its header is damaged ({one_line(str(error), 60)})") from error
    start = 8 + length
    tensors = [parse_entry(file, k, v, start, size) for k, v in header.items() if k != "__metadata__"]
    tensors.sort(key=lambda tensor: (tensor.begin, tensor.end))
    end = start
    for tensor in tensors:
        # No overlap and no hole: the format forbids both, and a hole could hide anything.
        if tensor.begin != end:
            raise broken(file, f"the bytes of `{one_line(tensor.name, 80)}` overlap others or leave a gap")
        end = tensor.end
    if end != size:
        raise broken(file, f"{size - end:,} bytes at its end belong to no tensor")
    return tensors, start


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files of a model folder, in the order of their names.

    Raises:
        ModelError: There are none (or only pickled weights), or the index names a file outside the folder.
    """
    index = folder / INDEX_NAME
    if (folder / SINGLE_NAME).is_file():
        return [folder / SINGLE_NAME]
    if not index.is_file():
        pickled = any(folder.glob("*.bin")) or any(folder.glob("*.pt"))
        why = "only pickled weights, which luthier does not open" if pickled else f"no `{SINGLE_NAME}`"
        raise ModelError(
            f"the folder holds {why}",
            hint="save the model with transformers' `save_pretrained`, which writes safetensors",
            place=str(folder),
        )
    mapping = read_json(index).get("weight_map")
    if not isinstance(mapping, dict) or not mapping:
        raise ModelError(f"`{INDEX_NAME}` has no `weight_map`", hint=UNTRUSTED_HINT, place=str(folder))
    names = set()
    for name in mapping.values():
        if not isinstance(name, str) or Path(name).name != name or not name.endswith(".safetensors"):
            raise ModelError(
                f"`{INDEX_NAME}` names a file that can't be a shard: {one_line(str(name), 60)}",
                hint=UNTRUSTED_HINT,
                place=str(folder),
            )
        names.add(name)
    missing = sorted(name for name in names if not (folder / name).is_file())
    if missing:
        raise ModelError(
            f"the shard `{missing[0]}` is missing ({len(missing)} of {len(names)})",
            hint="download or copy the model again",
            place=str(folder),
        )
    return [folder / name for name in sorted(names)]


def model_tensors(folder: Path) -> dict[str, Tensor]:
    """Return every tensor of a model folder by name: one file, or shards with an index.

    Raises:
        ModelError: A file is broken, a name appears in two shards, or the index and the shards disagree.
    """
    found: dict[str, Tensor] = {}
    for file in weight_files(folder):
        for tensor in read_header(file)[0]:
            if tensor.name in found:
                raise broken(file, f"`{one_line(tensor.name, 80)}` is also in {found[tensor.name].file.name}")
            found[tensor.name] = tensor
    if not (folder / SINGLE_NAME).is_file():
        mapping = read_json(folder / INDEX_NAME)["weight_map"]
        for name, shard in mapping.items():
            if name not in found or found[name].file.name != shard:
                raise broken(folder / INDEX_NAME, f"`{one_line(name, 80)}` is not in the shard it names")
    return found


def read_exactly(handle: int, count: int, offset: int) -> bytearray:
    """Return `count` bytes at `offset`. A file that shrank meanwhile raises `OSError`."""
    buffer = bytearray(count)
    done = 0
    while done < count:
        got = os.preadv(handle, [memoryview(buffer)[done:]], offset + done)
        if got == 0:
            raise OSError("the file ended early")
        done += got
    return buffer


def to_float32(content: bytes | bytearray, dtype: str) -> Matrix:
    """Return little-endian values of a type in `FLOATS` as float32, exactly. Shape (values,)."""
    values: Values = np.frombuffer(content, dtype=FLOATS[dtype])
    if dtype == "BF16":
        return np.left_shift(values, 16, dtype=np.uint32).view(np.float32)
    return np.asarray(values, dtype=np.float32)


def read_rows(handle: int, tensor: Tensor, first: int, last: int) -> Matrix:
    """Return rows `first` to `last` (exclusive) of a tensor as float32. Shape (last - first, *shape[1:]).

    Args:
        handle: The open file of the tensor.
        tensor: A tensor of one of the types in `FLOATS`, with at least one dimension.
        first: Index of the first row.
        last: Index after the last row.
    """
    row = prod(tensor.shape[1:]) * BITS[tensor.dtype] // 8
    content = read_exactly(handle, (last - first) * row, tensor.begin + first * row)
    return to_float32(content, tensor.dtype).reshape(last - first, *tensor.shape[1:])


def read_tensor(tensor: Tensor) -> Matrix:
    """Return a whole tensor of one of the types in `FLOATS` as float32."""
    with tensor.file.open("rb") as handle:
        content = read_exactly(handle.fileno(), tensor.end - tensor.begin, tensor.begin)
    return to_float32(content, tensor.dtype).reshape(tensor.shape)


def to_bfloat16(
    values: Matrix,
) -> np.ndarray[Any, np.dtype[np.uint16]]:
    """Round float32 to the nearest bfloat16, ties to even, and return its bits. NaN stays NaN."""
    bits = values.view(np.uint32)
    # Adding half of the lowest kept bit, less one, plus that bit itself, rounds ties to even; the carry may
    # run into the exponent, which is what rounding up to the next power of two (or to infinity) means.
    rounded = (bits + (((bits >> 16) & 1) + np.uint32(0x7FFF))) >> 16
    quiet = (bits >> 16) | np.uint32(0x0040)
    return np.where(np.isnan(values), quiet, rounded).astype(np.uint16)


def to_stored(values: Matrix, dtype: str) -> bytes:
    """Round float32 once to a type in `FLOATS`, to nearest even, and return the little-endian bytes."""
    if dtype == "BF16":
        return to_bfloat16(values).astype("<u2", copy=False).tobytes()
    with np.errstate(over="ignore"):
        stored: Values = values.astype(FLOATS[dtype])
    return stored.tobytes()
