"""Writing an adapter into its base model: a standalone model, streamed byte by byte, with numpy only.

The merged file has the names, shapes, types and therefore the header of the base file, but where new tokens make
tensors longer. So everything but the adapted tensors is copied inside the kernel, and an adapted tensor goes through
memory in blocks of rows:
stored type -> float32 -> changed (LoRA: + scale * B @ A) -> rounded once to the stored type -> written in its place.
Memory does not grow with the model. Of an adapter that was trained in a quantised base, every tensor that was quantised
is first rounded as it was then, whole: one tensor more is in memory, and torch and bitsandbytes are needed.
"""

import errno
import json
import os
import shutil
import struct
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from math import prod
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors.numpy import save_file

from luthier.core.errors import Failed, ModelError
from luthier.core.files import publish_folder, write_json
from luthier.core.progress import Progress, Silent
from luthier.core.text import one_line
from luthier.export.adapter import (
    CONFIG_NAME,
    HEAD,
    Change,
    Replacement,
    Scaling,
    TokenRows,
    Update,
    changes_of,
    head_of,
    read_config,
    refused,
)
from luthier.export.safetensors_file import (
    BITS,
    FLOATS,
    INDEX_NAME,
    SINGLE_NAME,
    Matrix,
    Tensor,
    model_tensors,
    read_header,
    read_json,
    read_rows,
    read_tensor,
    to_stored,
    weight_files,
)
from luthier.model.companions import TEMPLATE_FILES, TEMPLATE_FOLDER, TOKENIZER_FILES, copy_templates
from luthier.model.load import device
from luthier.model.quantised import Quantised, modules_of, rounded

BLOCK = 1 << 20
"""Values of a target tensor in memory at once, per worker: 4 MB as float32, small enough for the cache."""

BODY_NAME, HEAD_NAME = "model-body.safetensors", "model-score.safetensors"
"""Files of a model whose base was one file, and got a head beside it: readers take `model.safetensors` for all."""

COPY = 1 << 26
"""Bytes asked from the kernel in one copy; also how often progress moves."""

NO_COPY_INSIDE_KERNEL = (errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM)
"""What the system says where `copy_file_range` doesn't work between two places."""


@dataclass(frozen=True, slots=True)
class MergeSummary:
    """What a merge did. `how` is `copied` for a model that was trained whole and needed no merging."""

    how: Literal["merged", "copied"]
    targets: int
    """Tensors the adapter changed."""
    tensors: int
    shards: int
    bytes: int
    """Size of all weight files."""
    dtypes: tuple[str, ...]
    """Stored types, as safetensors names them; the base model's."""
    kept: str | None = None
    """How the base was kept in training, where that was in fewer bits."""

    def as_dict(self) -> dict[str, Any]:
        """Return the summary as JSON-like values."""
        return {**asdict(self), "dtypes": list(self.dtypes)}


def copy_range(source: int, target: int, begin: int, end: int, there: int) -> Iterator[int]:
    """Copy bytes to an offset of another open file, in the kernel if it can; yield each part's size."""
    at, shift = begin, there - begin
    while at < end:
        count = min(COPY, end - at)
        try:
            done = os.copy_file_range(source, target, count, at, at + shift)
        except OSError as error:
            if error.errno not in NO_COPY_INSIDE_KERNEL:
                raise
            done = os.pwrite(target, os.pread(source, min(count, 1 << 22), at), at + shift)
        if done == 0:
            raise OSError("the file ended early")
        at += done
        yield done


def write_all(handle: int, content: bytes, offset: int) -> None:
    """Write every byte at `offset`; the system may take fewer at a time."""
    view = memoryview(content)
    while view:
        done = os.pwrite(handle, view, offset)
        view, offset = view[done:], offset + done


@dataclass(frozen=True, slots=True)
class Job:
    """What becomes of one tensor of the base."""

    target: Tensor
    change: Change | None
    """What the adapter does to it."""
    kept: Quantised | None
    """How it was kept in training, where that was in fewer bits."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the merged tensor's shape: new tokens add rows."""
        height = self.change.height if isinstance(self.change, TokenRows) else self.target.shape[0]
        return height, *self.target.shape[1:]

    @property
    def size(self) -> int:
        """Return the merged tensor's size in bytes."""
        return prod(self.shape) * BITS[self.target.dtype] // 8

    @property
    def growth(self) -> int:
        """Return by how many bytes the tensor grows."""
        return self.size - (self.target.end - self.target.begin)


Rows = Callable[[Matrix, int, int], Matrix]
"""Takes some rows of a base tensor, the first's number and the one after the last's, and returns them changed."""


def added(update: Update) -> Rows:
    """Return LoRA's change of rows, and DoRA's: W + scale * B @ A, each row then given its length (equation 5)."""
    down = read_tensor(update.down)
    up = read_tensor(update.up) * np.float32(update.scale)
    lengths = None if update.lengths is None else read_tensor(update.lengths).reshape(-1, 1)

    def change(values: Matrix, first: int, last: int) -> Matrix:
        values += (down[:, first:last].T @ up.T) if update.transposed else (up[first:last] @ down)
        if lengths is not None:
            values *= lengths[first:last] / np.linalg.norm(values, axis=1, keepdims=True)
        return values

    return change


def multiplied(scaling: Scaling) -> Rows:
    """Return (IA)3's change of rows: each times its factor, or each column times its own."""
    factors = read_tensor(scaling.factors)

    def change(values: Matrix, first: int, last: int) -> Matrix:
        values *= factors[first:last].reshape(-1, *[1] * (values.ndim - 1)) if scaling.by_row else factors
        return values

    return change


def replaced(replacement: Replacement) -> Rows:
    """Return the rows that learned whole, whatever the base's were."""
    learned = read_tensor(replacement.values)

    def change(_values: Matrix, first: int, last: int) -> Matrix:
        return learned[first:last]

    return change


def placed(rows: TokenRows) -> Rows:
    """Return the rows with those of tokens that learned in their places."""
    learned, ids = read_tensor(rows.values), np.array(rows.ids)

    def change(values: Matrix, first: int, last: int) -> Matrix:
        here = (first <= ids) & (ids < last)
        values[ids[here] - first] = learned[here]
        return values

    return change


def changing(change: Change) -> Rows:
    """Return what a change makes of rows."""
    match change:
        case Update():
            return added(change)
        case Scaling():
            return multiplied(change)
        case Replacement():
            return replaced(change)
        case TokenRows():
            return placed(change)


def unchanged(values: Matrix, _first: int, _last: int) -> Matrix:
    """Return rows as they are."""
    return values


Read = Callable[[int, int], Matrix]
"""Returns rows of a base tensor: the first's number, and the one after the last's."""


def as_trained(tensor: Tensor, kind: Quantised) -> Read:
    """Return how to read a tensor as it was when the adapter was trained: in fewer bits."""
    # On the device that training took, if it is here: kernels may break ties differently.
    stored = torch.from_numpy(read_tensor(tensor).copy()).to(device())
    whole: Matrix = rounded(stored, kind).cpu().numpy()

    def read(first: int, last: int) -> Matrix:
        return whole[first:last]

    return read


def longer(read: Read, tensor: Tensor) -> Read:
    """Return how to read a tensor and rows after its last, which are zero."""

    def both(first: int, last: int) -> Matrix:
        values = np.zeros((last - first, *tensor.shape[1:]), dtype=np.float32)
        end = min(last, tensor.shape[0])
        if first < end:
            values[: end - first] = read(first, end)
        return values

    return both


def merge_rows(read: Read, target: int, tensor: Tensor, change: Rows, rows: tuple[int, int]) -> int:
    """Merge rows of one tensor and write them; return the bytes written.

    Args:
        read: Gives the base's.
        target: The open merged file.
        tensor: What the rows are of, as it lies there.
        change: What becomes of them.
        rows: First row and the one after the last.

    Raises:
        Failed: A merged value is not a finite number of the stored type.
    """
    first, last = rows
    with np.errstate(all="ignore"):
        values = change(read(first, last), first, last)
    content = to_stored(values, tensor.dtype)
    finite = np.isfinite(values).all()
    if not finite or (tensor.dtype == "F16" and np.abs(values).max(initial=0) >= 65520):
        raise Failed(
            f"merging gives values in `{tensor.name}` that are no finite numbers in {tensor.dtype}",
            hint="train again with a lower learning rate, and look at the loss curve of this run",
        )
    row = (tensor.end - tensor.begin) // tensor.shape[0]
    write_all(target, content, tensor.begin + first * row)
    return len(content)


def merge_tensor(source: int, target: int, begin: int, job: Job, pool: ThreadPoolExecutor) -> Iterator[int]:
    """Merge one tensor in blocks of rows, to `begin` in the target; yield the bytes of each block as it is written."""
    tensor, change = job.target, job.change
    read: Read = partial(read_rows, source, tensor) if job.kept is None else as_trained(tensor, job.kept)
    rows: Rows = unchanged
    if change is not None:
        rows = changing(change)
    merged = replace(tensor, shape=job.shape, begin=begin, end=begin + job.size)
    height = job.shape[0]
    if job.growth:
        read = longer(read, tensor)
    step = max(1, BLOCK // max(1, prod(tensor.shape[1:])))
    blocks = [(first, min(first + step, height)) for first in range(0, height, step)]
    yield from pool.map(partial(merge_rows, read, target, merged, rows), blocks)


def merged_header(file: Path, jobs: list[Job]) -> tuple[int, bytes]:
    """Return where the base file's header ends, and what stands in its place: the same, unless tensors grow."""
    tensors, start = read_header(file)
    with file.open("rb") as reader:
        content = reader.read(start)
    if not any(job.growth for job in jobs):
        return start, content
    header, jobs_of, at = json.loads(content[8:]), {job.target.name: job for job in jobs}, 0
    for tensor in tensors:
        job = jobs_of.get(tensor.name)
        end = at + (tensor.end - tensor.begin if job is None else job.size)
        header[tensor.name] |= {"shape": list(tensor.shape if job is None else job.shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # as the format's own library pads it
    return start, struct.pack("<Q", len(text)) + text


def merge_file(file: Path, out: Path, jobs: list[Job], pool: ThreadPoolExecutor) -> Iterator[int]:
    """Write the merged copy of one weight file; yield bytes as they are written.

    Args:
        file: A safetensors file of the base model.
        out: Where to write.
        jobs: Those whose target lies in this file.
        pool: Workers for the blocks of rows.
    """
    with file.open("rb") as reader, out.open("xb") as writer:
        source, target = reader.fileno(), writer.fileno()
        size = os.fstat(source).st_size
        at, header = merged_header(file, jobs)
        os.ftruncate(target, size - at + len(header) + sum(job.growth for job in jobs))
        write_all(target, header, 0)
        yield len(header)
        there = len(header)
        for job in sorted(jobs, key=lambda each: each.target.begin):
            yield from copy_range(source, target, at, job.target.begin, there)
            there += job.target.begin - at
            yield from merge_tensor(source, target, there, job, pool)
            at, there = job.target.end, there + job.size
        yield from copy_range(source, target, at, size, there)


def link_file(file: Path, out: Path) -> Iterator[int]:
    """Give a weight file a second name, which costs no space; copy it where the file system can't."""
    try:
        os.link(file.resolve(), out)
    except OSError:
        with file.open("rb") as reader, out.open("xb") as writer:
            yield from copy_range(reader.fileno(), writer.fileno(), 0, os.fstat(reader.fileno()).st_size, 0)
    else:
        yield file.stat().st_size


def write_head(head: Tensor, others: Iterable[Tensor], folder: Path) -> None:
    """Write a head that the base doesn't have as a shard of its own, float32 as it was trained, and an index of all."""
    save_file({HEAD: read_tensor(head)}, folder / HEAD_NAME, {"format": "pt"})
    places = {tensor.name: BODY_NAME if tensor.file.name == SINGLE_NAME else tensor.file.name for tensor in others}
    size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    write_json(folder / INDEX_NAME, {"metadata": {"total_size": size}, "weight_map": {**places, HEAD: HEAD_NAME}})


def copy_companions(base: Path, trained: Path, out: Path) -> None:
    """Copy what stands beside the weights: config, tokenizer, chat template, generation config, licence.

    The trained folder's own files win: training may have set a template, a stop token or a padding token. Of the
    templates all come from one folder.
    """
    has_tokenizer = any((trained / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json"))
    has_template = any((trained / name).exists() for name in (*TEMPLATE_FILES, TEMPLATE_FOLDER))
    chosen = dict.fromkeys(TOKENIZER_FILES, trained if has_tokenizer else base)
    templates = trained if has_tokenizer or has_template else base
    chosen.update(dict.fromkeys(TEMPLATE_FILES, templates))
    for name in ("config.json", "generation_config.json"):
        chosen[name] = trained if (trained / name).is_file() else base
    for pattern in ("LICENSE*", "NOTICE*", "USE_POLICY*"):
        chosen.update(dict.fromkeys((path.name for path in base.glob(pattern) if path.is_file()), base))
    for name, folder in chosen.items():
        if (folder / name).is_file():
            shutil.copyfile(folder / name, out / name)
    copy_templates(templates, out)


def tell_of_growth(folder: Path, vocabulary: int, growth: int) -> None:
    """Write into a model folder for how many tokens it has rows, and how many bytes of weights more."""
    config = read_json(folder / "config.json")
    (config if "vocab_size" in config else config["text_config"])["vocab_size"] = vocabulary
    write_json(folder / "config.json", config)
    if (folder / INDEX_NAME).is_file():
        index = read_json(folder / INDEX_NAME)
        index["metadata"]["total_size"] += growth
        write_json(folder / INDEX_NAME, index)


def check_out(base: Path, adapter: Path, out: Path) -> None:
    """Refuse an output folder whose replacement would destroy something.

    Raises:
        ModelError: `out` is, or holds, one of the inputs, or holds files that are no model.
    """
    place = out.resolve()
    for folder in (base.resolve(), adapter.resolve()):
        if place == folder or place in folder.parents:
            raise ModelError(
                "the merged model would replace its own input",
                hint="choose another output folder",
                place=str(out),
            )
    if out.exists() and not (out.is_dir() and ((out / "config.json").is_file() or not any(out.iterdir()))):
        raise ModelError(
            "the output folder holds other files, which would be lost",
            hint="choose a new or empty folder",
            place=str(out),
        )


def plan_merge(base: Path, adapter: Path, tensors: dict[str, Tensor]) -> list[Job]:
    """Return what becomes of each tensor that doesn't stay; raise `ModelError` for what can't be merged."""
    settings = read_config(adapter)
    config = read_json(base / "config.json")
    if config.get("quantization_config"):
        raise refused(adapter, "its base model is stored quantised; name the 16-bit base model instead")
    changes = changes_of(adapter, settings, tensors, tied=bool(config.get("tie_word_embeddings")))
    head = head_of(adapter)
    if head is not None and HEAD in tensors:
        changes[HEAD] = Replacement(tensors[HEAD], head)
    kind = Quantised.of(adapter)
    fewer = {f"{module}.weight" for module in modules_of(adapter)}
    strange = sorted(name for name in fewer if name not in tensors or tensors[name].dtype not in FLOATS)
    if strange:
        raise refused(adapter, f"`{one_line(strange[0], 120)}` was quantised in training, and the base has no such")
    return [
        Job(tensors[name], changes.get(name), kind if name in fewer else None) for name in sorted({*changes, *fewer})
    ]


def merge(base: Path, adapter: Path, out: Path, *, progress: Progress | None = None) -> MergeSummary:
    """Write base + adapter as a standalone model folder; it appears whole or not at all.

    Args:
        base: A Hugging Face model folder with safetensors weights in float32, float16 or bfloat16.
        adapter: A PEFT folder with LoRA, DoRA or (IA)3, or a whole model (a full fine-tune), which is linked or copied
            to `out`.
        out: The folder to write. An earlier merged model there is replaced.
        progress: Where to tell how far it is, in bytes.

    Returns:
        What was done. Merged values differ from exact arithmetic by at most one rounding to the stored type
        plus float32 summing error.

    Raises:
        ModelError: A folder can't be read, the adapter can't be merged exactly, or `out` holds something
        else. Failed: The disk is full, or merging overflows the stored type.
    """
    progress = progress or Silent()
    check_out(base, adapter, out)
    is_adapter = (adapter / CONFIG_NAME).is_file()
    source = base if is_adapter else adapter
    tensors = model_tensors(source)
    jobs = plan_merge(base, adapter, tensors) if is_adapter else []
    kind = Quantised.of(adapter)
    files = weight_files(source)
    head = head_of(adapter) if is_adapter and HEAD not in tensors else None
    growth = sum(job.growth for job in jobs)
    total = sum(file.stat().st_size for file in files) + growth
    progress.start("merge" if is_adapter else "copy", total, "byte")
    workers = min(4, len(os.sched_getaffinity(0)))
    with publish_folder(out) as folder, ThreadPoolExecutor(workers) as pool:
        written = 0
        for file in files:
            here = [job for job in jobs if job.target.file == file]
            name = file.name if head is None or file.name != SINGLE_NAME else BODY_NAME
            parts: Callable[[], Iterator[int]] = (
                partial(merge_file, file, folder / name, here, pool)
                if is_adapter
                else partial(link_file, file, folder / name)
            )
            for count in parts():
                written += count
                progress.update(written)
        if head is not None:
            write_head(head, tensors.values(), folder)
        elif files != [source / SINGLE_NAME]:
            shutil.copyfile(source / INDEX_NAME, folder / INDEX_NAME)
        copy_companions(base, adapter, folder)
        if growth:
            tell_of_growth(folder, max(job.shape[0] for job in jobs if job.growth), growth)
    progress.end()
    return MergeSummary(
        how="merged" if is_adapter else "copied",
        targets=sum(job.change is not None for job in jobs),
        kept=None if kind is None else kind.words,
        tensors=len(tensors),
        shards=len(files),
        bytes=total,
        dtypes=tuple(sorted({tensor.dtype for tensor in tensors.values()})),
    )
