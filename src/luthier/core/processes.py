"""Which of several processes this one is, told by what started it; and a starter for one machine.

Nothing heavy is imported: the first process prepares data long before torch is needed.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import IO, Any

from luthier.core.errors import RunError

STARTERS = (
    ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"),
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "SLURM_STEP_TASKS_PER_NODE"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"),
)
"""Names under which starters tell rank, size, and both within the machine: torchrun, accelerate, Ray Train and
`--nproc`; srun; mpirun. A shell within a Slurm job is no step of several tasks, so it is one process."""

GRACE_SECONDS = 20.0
"""How long the others may take to end by themselves once one process has failed."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a process stands among those of one training."""

    rank: int = 0
    """Its number, from 0; 0 leads."""
    size: int = 1
    local_rank: int = 0
    """Its number on this machine."""
    local_size: int = 1
    meeting: str = ""
    """`host:port` at which they find each other; empty where there is one process."""


def place(environment: Mapping[str, str] = os.environ) -> Place:
    """Return where this process stands, from the environment its starter gave it; alone where nothing is said.

    Raises:
        RunError: What the starter says makes no sense, or not where the first process is.
    """
    for rank, size, local_rank, local_size in STARTERS:
        if rank in environment and size in environment:
            number, count = _whole(environment, rank), _whole(environment, size)
            if number >= max(1, count):
                raise RunError(
                    f"`{rank}` is {number}, and `{size}` is {count}: ranks count from 0",
                    hint="look at how the processes are started, or unset both",
                )
            if count <= 1:
                return Place()
            here = _whole(environment, local_size, default=count)
            inside = _whole(environment, local_rank, default=number % here)
            return Place(number, count, inside, here, _meeting(environment, alone=here == count))
    return Place()


def _whole(environment: Mapping[str, str], name: str, *, default: int | None = None) -> int:
    """Return a variable's number; of Slurm's `4(x2),1` the first."""
    text = environment.get(name, "")
    if not text and default is not None:
        return default
    found = re.match(r"\d+", text)
    if found is None:
        raise RunError(f"`{name}` should be a whole number, got `{text}`", hint="unset it, or mend what started this")
    return int(found[0])


def _meeting(environment: Mapping[str, str], *, alone: bool) -> str:
    port = environment.get("MASTER_PORT") or str(20_000 + _whole(environment, "SLURM_JOB_ID", default=9500) % 10_000)
    host = environment.get("MASTER_ADDR") or ("127.0.0.1" if alone else _first_host(environment))
    if not host:
        raise RunError(
            "nobody says where the first process is",
            hint="set `MASTER_ADDR` to its machine and `MASTER_PORT` to a free port there, the same for all",
        )
    return f"{host}:{port}"


def _first_host(environment: Mapping[str, str]) -> str:
    """Return the first machine of a Slurm step: of `node[03-05,9],other` node03."""
    found = re.match(r"([^,\[]+)(?:\[(\w+))?", environment.get("SLURM_STEP_NODELIST", ""))
    return found[1] + (found[2] or "") if found else ""


def start(count: int, command: Sequence[str]) -> int:
    """Run a command as `count` processes of this machine that know their places; return the exit code.

    The first writes what it writes to this process's output, the others write nothing unless they fail alone. A signal
    is handed on to all. When one fails, the others are given time to end, and ended; its code is returned, or 1 when
    it was killed.
    """
    shared = {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count), **_rendezvous()}
    with ExitStack() as stack:
        troubles = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(count)]
        processes = [
            subprocess.Popen(
                command,
                env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                stdout=None if rank == 0 else subprocess.DEVNULL,
                stderr=None if rank == 0 else troubles[rank],
                start_new_session=True,  # Ctrl-C at a terminal reaches this process alone, and is handed on once
            )
            for rank in range(count)
        ]
        stack.callback(_end, processes)
        with _handed_on(processes):
            failed = _first_failure(processes)
            if failed is None:
                return 0
            _wait(processes, GRACE_SECONDS)
        code, leader = processes[failed].returncode, processes[0].poll()
        if failed and leader != code:
            _show(troubles[failed])
        return code if code > 0 else 1


def _rendezvous() -> dict[str, str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}


@contextmanager
def _handed_on(processes: Sequence[subprocess.Popen[bytes]]) -> Iterator[None]:
    """Hand signals on to processes as long as this is open."""

    def hand_on(number: int, _frame: FrameType | None) -> None:
        for process in processes:
            if process.poll() is None:
                process.send_signal(number)

    before: dict[int, Any] = {
        number: signal.signal(number, hand_on) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _first_failure(processes: Sequence[subprocess.Popen[bytes]]) -> int | None:
    """Wait until one process fails, and return its rank; None when all end well."""
    while True:
        codes = [process.poll() for process in processes]
        failed = [rank for rank, code in enumerate(codes) if code]
        if failed or None not in codes:
            return min(failed, default=None)
        time.sleep(0.05)


def _wait(processes: Sequence[subprocess.Popen[bytes]], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and any(process.poll() is None for process in processes):
        time.sleep(0.05)


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Leave no process behind."""
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.wait()


def _show(trouble: IO[bytes]) -> None:
    trouble.seek(0)
    sys.stderr.write(trouble.read().decode("utf-8", errors="replace"))
