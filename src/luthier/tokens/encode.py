"""Prepared rows to tokens on disk, once: parallel, and continued where it was interrupted."""

import gc
import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import orjson

from luthier.core.example import Example, Source
from luthier.core.files import digest
from luthier.core.progress import Progress
from luthier.tokens.fit import fit_all
from luthier.tokens.render import Refused, Renderer, Result, class_name
from luthier.tokens.store import Shard, Stored, shard_name
from luthier.tokens.worker import Workers

ROWS, SIZE = 8192, 64_000_000
"""Examples of a shard, and bytes of their lines. What is lost when the machine dies is less than one."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a text may be, and what happens to one that is longer."""

    max_length: int
    too_long: str = "drop"


def read_examples(path: Path) -> Iterator[Example]:
    """Yield the examples of a prepared file, one line at a time."""
    with path.open("rb") as handle:
        for line in handle:
            yield Example.from_dict(orjson.loads(line))


def encode(
    path: Path, out: Path, renderer: Renderer, limits: Limits, *, key: str, processes: int, progress: Progress
) -> Stored:
    """Return the tokens of a prepared file, from `out` where they are there already.

    A text is left out when the template can't render it faithfully, when it is too long, or when nothing in it is
    learned. Left out and named, never changed in silence.

    Args:
        path: `data/train.jsonl` and the like.
        out: Folder of its shards.
        renderer: Template and tokenizer.
        limits: Lengths.
        key: Hash over all but the rows that decides a token.
        processes: In how many the template runs.
        progress: Hears rows.

    Raises:
        DiffersError: tiktoken gave other ids than the tokenizer. Nothing it encoded may stay; the next call goes the
            sure way.
    """
    total = _lines(path)
    progress.start("tokens", total, "row")
    shards = done = 0
    with path.open("rb") as handle, ExitStack() as till_the_end:
        gc.freeze()  # else the libraries' million objects are looked through again and again while ours come and go
        till_the_end.callback(gc.unfreeze)
        workers: Workers | None = None
        while lines := list(_of_one_shard(handle)):
            folder = out / shard_name(shards)
            own = digest([key, hashlib.sha256(b"".join(lines)).hexdigest()])
            if not _written(folder, own):
                if workers is None and renderer.rows != "text":
                    workers = till_the_end.enter_context(renderer.workers(processes))
                _shard(lines, renderer, workers, limits, progress, done).write(folder, own)
            shards += 1
            done += len(lines)
            progress.update(done)
    for stale in [*sorted(out.glob("[0-9]*"))[shards:], *out.glob(".*.tmp")]:
        shutil.rmtree(stale)
    progress.end()
    return Stored(out, shards)


def _of_one_shard(handle: BinaryIO) -> Iterator[bytes]:
    size = 0
    for line in islice(handle, ROWS):
        yield line
        size += len(line)
        if size > SIZE:
            return


def _lines(path: Path) -> int:
    with path.open("rb") as handle:
        return sum(block.count(b"\n") for block in iter(lambda: handle.read(1 << 20), b""))


def _written(folder: Path, key: str) -> bool:
    try:
        account = json.loads((folder / "shard.json").read_text(encoding="utf-8"))
        whole = all((folder / name).stat().st_size == size for name, size in account["sizes"].items())
        return bool(account["key"] == key and whole)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _shard(
    lines: list[bytes], renderer: Renderer, workers: Workers | None, limits: Limits, progress: Progress, done: int
) -> Shard:
    shard = _empty(renderer)
    requests = ((Source(**orjson.loads(line)["source"]), line.rstrip()) for line in lines)
    for source, result in renderer.encode_all(requests, workers=workers, fast=True):
        take_in(shard, source, result, renderer, limits)
        if shard.examples % 256 == 0:
            progress.update(done + shard.examples)
    return shard


def take_in(shard: Shard, source: Source, result: Result, renderer: Renderer, limits: Limits) -> None:
    """Add an example to a shard, or the reason why it is left out."""
    shard.examples += 1
    if isinstance(result, Refused):
        shard.left_out.append((source, result.reason))
        return
    for trait in {trait for encoded in result for trait in encoded.traits}:
        shard.traits[trait] += 1
        shard.first.setdefault(trait, source)
    start = renderer.tokenizer.bos_token_id
    all_fitted = fit_all(
        result, rows=renderer.rows, max_length=limits.max_length, too_long=limits.too_long, start_id=start
    )
    kept = [fitted for fitted in all_fitted if not isinstance(fitted, str)]
    lost = [(source, fitted) for fitted in all_fitted if isinstance(fitted, str)]
    shard.expanded += len(all_fitted) > shard.texts
    shard.rows += kept
    shard.without_stop += sum(not renderer.learns_to_stop(fitted) for fitted in kept)
    if kept:
        shard.partly += lost
    else:
        shard.left_out.append(lost[0] if lost else (source, "no token is learned"))


def _empty(renderer: Renderer) -> Shard:
    return Shard(texts=2 if renderer.rows == "pair" else 1, classes=renderer.classes)


def class_names(path: Path) -> tuple[str, ...]:
    """Return the names of the classes in a prepared file, sorted: their places are their numbers."""
    with path.open("rb") as handle:
        labels = (orjson.loads(line).get("label") for line in handle)
        return tuple(sorted({class_name(label) for label in labels if label is not None}))


def in_memory(examples: Iterable[Example], renderer: Renderer, limits: Limits, *, processes: int) -> Shard:
    """Return the tokens of examples that are not to be kept, with the same account."""
    shard = _empty(renderer)
    for source, result in renderer.encode_all(renderer.requests(examples), processes=processes):
        take_in(shard, source, result, renderer, limits)
    return shard
