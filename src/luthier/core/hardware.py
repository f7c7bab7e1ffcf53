"""What this machine has, found without importing anything heavy."""

import os
import platform
import resource
import shutil
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Hardware:
    """Facts about the machine that a plan rests on."""

    cores: int
    """Processor cores this process may use."""
    memory_bytes: int
    """Main memory that is free to take."""
    bf16: bool
    """Whether the arithmetic unit multiplies bfloat16 natively."""
    gpu: str | None
    """Name of the first CUDA device."""
    gpu_memory_bytes: int
    """Its memory; 0 without one."""
    system: str

    def as_dict(self) -> dict[str, Any]:
        """Return the facts as JSON."""
        return asdict(self)


def hardware() -> Hardware:
    """Return what this machine has."""
    gpu, gpu_memory, capability = _first_gpu()
    flags = _read("/proc/cpuinfo")
    return Hardware(
        cores=_cores(),
        memory_bytes=_available_memory(),
        bf16=capability >= 8.0 if gpu else "avx512_bf16" in flags or "amx_bf16" in flags,
        gpu=gpu,
        gpu_memory_bytes=gpu_memory,
        system=f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
    )


def _cores() -> int:
    """Return the cores this process may use; fewer when OMP_NUM_THREADS, which torch obeys, says so."""
    allowed = len(os.sched_getaffinity(0))
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return min(allowed, int(asked)) if asked.isdigit() and int(asked) > 0 else allowed


def _read(path: str) -> str:
    file = Path(path)
    return file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""


def _available_memory() -> int:
    """Return free memory in bytes: the kernel's estimate, cut to the control group's limit."""
    available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for line in _read("/proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            available = int(line.split()[1]) * 1024
    limit = _read("/sys/fs/cgroup/memory.max").strip()
    used = _read("/sys/fs/cgroup/memory.current").strip()
    if limit.isdigit() and used.isdigit():
        available = min(available, int(limit) - int(used))
    return available


def _first_gpu() -> tuple[str | None, int, float]:
    """Return name, memory in bytes and compute capability of the first CUDA device the driver shows."""
    none = (None, 0, 0.0)
    program = shutil.which("nvidia-smi")
    if program is None:
        return none
    query = [program, "--query-gpu=name,memory.total,compute_cap", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, check=True, timeout=20)
        name, mebibytes, capability = answer.stdout.splitlines()[0].rsplit(",", 2)
        return name.strip(), int(mebibytes) * 2**20, float(capability)
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return none  # a driver that doesn't answer is no GPU to plan with


def peak_memory(process: int | Literal["self"] = "self") -> int:
    """Return the most main memory a process has held so far, in bytes; 0 where it is gone."""
    for line in _read(f"/proc/{process}/status").splitlines():
        if line.startswith("VmHWM:"):  # of this process alone; getrusage carries a parent's over
            return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 if process == "self" else 0
