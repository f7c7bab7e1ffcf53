"""What a training takes of the machine while it runs: memory and processor, cheap enough for every step."""

import os
import time
from pathlib import Path

import torch


class Meter:
    """Tells what was taken since it was last read."""

    def __init__(self) -> None:
        self._clock = self._now()

    @staticmethod
    def _now() -> tuple[float, float]:
        return time.perf_counter(), time.process_time()

    def read(self) -> dict[str, float]:
        """Return `memory_bytes`, held now (of the GPU where there is one), and `cores`, busy on average since."""
        before, self._clock = self._clock, self._now()
        wall, busy = (now - then for now, then in zip(self._clock, before, strict=True))
        return {"memory_bytes": held_memory(), "cores": round(busy / wall, 2) if wall > 0 else 0.0}


def held_memory() -> int:
    """Return the memory that training holds now, in bytes: of the GPU where there is one, else of this process."""
    # Asking whether it is available takes longer than all the rest.
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return int(torch.cuda.memory_allocated())
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
