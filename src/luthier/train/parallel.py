"""Several processes that train one model: who they are, and the few words they exchange.

The loop doesn't know how many there are. Every process collates the whole optimizer step and takes its share of the
packs; losses, figures and gradients are shares of the step (`train.objectives`), so their sums are the step's.

Every operation is free where there is one process.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import distributed
from torch.distributed.tensor import DTensor, distribute_tensor

from luthier.core.errors import Failed, RunError
from luthier.core.processes import Place
from luthier.core.text import human_bytes
from luthier.model.adapters.adapted import Adapted
from luthier.recipe.deepspeed import accepted
from luthier.recipe.methods import Automatic, Ddp, DeepSpeed, Fsdp2
from luthier.recipe.schema import Train

PATIENCE = timedelta(minutes=30)
"""How long a process waits for the others' gradients before it takes them for dead."""

PREPARING = timedelta(days=7)
"""How long it waits for words: the first process may tokenise for hours."""

BUCKET = 2**25
"""Numbers summed over processes in one message."""


def shares(costs: Sequence[int], size: int) -> list[list[int]]:
    """Return which pieces each of `size` processes computes: longest first, each to whom has least so far.

    At most 4/3 of the best there is (Graham 1969, doi:10.1137/0117039). Ties go by number, so every process finds the
    same; the first has the longest piece, and pieces keep their order within a share.

    Args:
        costs: Of each piece, such as its tokens.
        size: How many processes.
    """
    loads, taken = [0] * size, [list[int]() for _ in range(size)]
    for piece in sorted(range(len(costs)), key=lambda i: (-costs[i], i)):
        least = loads.index(min(loads))
        loads[least] += costs[piece]
        taken[least].append(piece)
    return [sorted(pieces) for pieces in taken]


@dataclass(frozen=True, slots=True)
class World:
    """The processes of one training, seen from one of them."""

    rank: int = 0
    """This one's number; 0 leads, and is the only one that writes."""
    size: int = 1
    local_size: int = 1
    """How many share this machine."""
    words: Any = None
    """The group they exchange words in, apart from gradients."""
    parent: int = 0
    """The process that started this one; when it is gone, nobody waits for the result."""
    spread: bool = False
    """Whether each holds a part of every weight (`train.fsdp2`): every forward pass takes all of them."""

    @property
    def first(self) -> bool:
        """Return whether this process leads."""
        return self.rank == 0

    def tell(self, value: Any) -> list[Any]:
        """Exchange a JSON value, and return everybody's, by rank. All must call it."""
        if self.size == 1:
            return [value]
        mine = json.dumps(value).encode()
        lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(self.size)]
        distributed.all_gather(lengths, torch.tensor([len(mine)]), group=self.words)
        longest = max(int(length) for length in lengths)
        room = [torch.zeros(longest, dtype=torch.uint8) for _ in range(self.size)]
        padded = torch.frombuffer(bytearray(mine.ljust(longest)), dtype=torch.uint8)
        distributed.all_gather(room, padded, group=self.words)
        return [json.loads(bytes(text.tolist())) for text in room]

    def from_first(self, make: Callable[[], Any]) -> Any:
        """Return a JSON value that the first process makes while the others wait."""
        return self.tell(make() if self.first else None)[0]

    def same(self, value: Any, what: str) -> None:
        """Make sure that every process has the same JSON value.

        Raises:
            Failed: One has another.
        """
        told = self.tell(value)
        odd = [rank for rank, other in enumerate(told) if other != told[0]]
        if odd:
            raise Failed(
                f"process {odd[0]} has another {what} than the first: {told[odd[0]]!r}, not {told[0]!r}",
                hint="all must see the same files and run the same versions",
            )

    def asked(self, signal: str | None) -> str | None:
        """Return the signal that any process got, so that all stop after the same step."""
        if self.size == 1:
            return signal
        gone = None if os.getppid() == self.parent else "SIGHUP"
        return next((told for told in self.tell(signal or gone) if told), None)

    def sums(self, numbers: Mapping[str, float]) -> dict[str, float]:
        """Return sums over processes, by name, added by rank: the same bits everywhere. A name may be missing."""
        found: dict[str, float] = {}
        for told in self.tell(dict(numbers)):
            for name, number in told.items():
                found[name] = found[name] + number if name in found else number
        return found

    @contextmanager
    def fitting(self) -> Iterator[None]:
        """Raise in every process what one meets inside for want of memory, so that nobody waits for its part.

        Where a forward pass takes all processes, the others are inside it and can't hear: there the error ends the run.

        Raises:
            torch.OutOfMemoryError: Memory ran out in another process.
        """
        if self.size == 1 or self.spread:
            yield
            return
        full: RuntimeError | None = None
        try:
            yield
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            full = error
        if any(self.tell(full is not None)):
            raise full or torch.OutOfMemoryError("memory ran out in another process")

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return a tensor summed over processes; of the same shape in each."""
        if self.size == 1:
            return tensor
        total = tensor.detach().clone()
        distributed.all_reduce(total)
        return total

    def turns(self, costs: Sequence[int]) -> list[tuple[int, bool]]:
        """Return which pieces this process computes, see `shares`, and whether each counts.

        Where a forward pass takes all processes, those with fewer pieces compute the cheapest again, for nothing.
        """
        taken = shares(costs, self.size)
        turns = [(piece, True) for piece in taken[self.rank]]
        if self.spread:
            cheapest = min(range(len(costs)), key=lambda piece: costs[piece])
            turns += [(cheapest, False)] * (max(map(len, taken)) - len(turns))
        return turns

    def capacity(self, lengths: Sequence[int], most: int) -> int:
        """Return the tokens of a forward pass, so that a step of few tokens still gives everybody something to do.

        Args:
            lengths: Tokens of each example of the step.
            most: Tokens of a forward pass that memory allows.
        """
        return most if self.size == 1 else min(most, max(max(lengths), -(-sum(lengths) // self.size)))

    def add_gradients(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Replace gradients by their sums over processes. One that no process has stays away."""
        if self.size == 1 or self.spread:  # parts of weights got the sums in the backward pass
            return
        there = torch.tensor([parameter.grad is not None for parameter in parameters], dtype=torch.uint8)
        distributed.all_reduce(there, op=distributed.ReduceOp.MAX, group=self.words)
        found = [parameter for parameter, has in zip(parameters, there.tolist(), strict=True) if has]
        for parameter in found:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        for bucket in _buckets(found):
            flat = torch.cat([gradient.flatten() for gradient in bucket])
            distributed.all_reduce(flat)
            parts = torch.split(flat, [gradient.numel() for gradient in bucket])
            for gradient, part in zip(bucket, parts, strict=True):
                gradient.copy_(part.view_as(gradient))


def out_of_memory(error: RuntimeError) -> bool:
    """Return whether an error is of too little memory; of the processor's, torch tells by its text alone."""
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator: can't allocate" in str(error)


def gathered(tensors: Mapping[str, torch.Tensor], *, keep: bool) -> dict[str, torch.Tensor]:
    """Return whole tensors, in main memory, of those that may be spread over processes.

    Args:
        tensors: The same names in every process.
        keep: Whether this process wants them; one that doesn't takes part and gets nothing.
    """
    found = {}
    for name, tensor in tensors.items():
        complete = whole(tensor.detach())
        if keep:
            found[name] = complete.cpu()
    return found


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor put together from all processes, where it is spread; all must call it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def part(complete: torch.Tensor, *, like: torch.Tensor) -> torch.Tensor:
    """Return this process's part of a tensor, where `like` is spread over processes and of the same shape."""
    if not isinstance(like, DTensor) or complete.shape != like.shape:
        return complete
    return distribute_tensor(complete.to(like.device), like.device_mesh, like.placements)


def _buckets(parameters: Sequence[torch.nn.Parameter]) -> Iterator[list[torch.Tensor]]:
    """Yield gradients of one type in groups that fit into a message."""
    bucket: list[torch.Tensor] = []
    room = BUCKET
    for gradient in (parameter.grad for parameter in parameters):
        assert gradient is not None
        if bucket and (gradient.numel() > room or gradient.dtype != bucket[0].dtype):
            yield bucket
            bucket, room = [], BUCKET
        bucket.append(gradient)
        room -= gradient.numel()
    if bucket:
        yield bucket


def settled(train: Train, *, needed: int, gpu_memory: int) -> tuple[Ddp | Fsdp2, str]:
    """Return how several processes share the work, and why; `auto` is decided here.

    Args:
        train: What the recipe asks for.
        needed: Bytes that training takes in one process, as planned.
        gpu_memory: Bytes of the GPU each process has; 0 without one.
    """
    if isinstance(train.parallel, DeepSpeed):
        way, reason, ignored = accepted(train.parallel, train)
        return way, reason + (f"; without meaning here: {', '.join(ignored)}" if ignored else "")
    if not isinstance(train.parallel, Automatic):
        return train.parallel, "the recipe says so"
    need = f"training takes about {human_bytes(needed)}"
    if not gpu_memory or needed <= gpu_memory:
        return Ddp(), f"{need}, which each process holds: nothing is faster"
    if train.undivided is None:
        return Fsdp2(), f"{need}, a GPU has {human_bytes(gpu_memory)}: each process holds a part"
    return Ddp(), f"{need}, a GPU has {human_bytes(gpu_memory)}, but {train.undivided}"


def copied(adapted: Adapted, _options: Ddp, world: World) -> World:
    """Give every process the first one's weights to begin with; from then on all take the same steps."""
    for parameter in adapted.saved.values():
        distributed.broadcast(parameter.data, src=0)
    return world


@contextmanager
def joined(place: Place) -> Iterator[World]:
    """Join the other processes of a training, and leave them in the end, however it comes.

    Where a framework has joined them before (Ray Train), its group is used and left alone.

    Raises:
        Failed: Another process ended in between.
        RunError: There are more processes than GPUs on this machine.
    """
    if place.size == 1:
        yield World()
        return
    given = distributed.is_initialized()
    if not given:
        host, _, port = place.meeting.rpartition(":")
        os.environ |= {"MASTER_ADDR": host, "MASTER_PORT": port}  # torchrun keeps a store there, which env:// knows
        distributed.init_process_group(
            _backend(place), init_method="env://", rank=place.rank, world_size=place.size, timeout=PATIENCE
        )
    try:
        words = distributed.new_group(backend="gloo", timeout=PREPARING)
        yield World(place.rank, place.size, place.local_size, words, os.getppid())
    except RuntimeError as error:
        if not _lost(error):
            raise
        raise Failed(
            "another process of this training ended or can't be reached",
            hint="see what it said; type the same command again: it goes on from the last checkpoint",
        ) from error
    finally:
        if not given:
            distributed.destroy_process_group()


def _backend(place: Place) -> str:
    if not torch.cuda.is_available():
        return "gloo"
    count = torch.cuda.device_count()
    if place.local_size > count:
        raise RunError(
            f"{place.local_size} processes were started on a machine with {count} GPUs, and each needs its own",
            hint=f"start {count}",
        )
    torch.cuda.set_device(place.local_rank)
    return "cpu:gloo,cuda:nccl"


def _lost(error: RuntimeError) -> bool:
    """Return whether an error means that another process is gone."""
    text = str(error)
    return isinstance(error, distributed.DistError) or "gloo" in text or "Connection closed by peer" in text
