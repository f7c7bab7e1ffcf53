"""A disk that is really full: one error or none, the last checkpoint kept, the same bits once there is room."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conftest import Trial, result

pytestmark = pytest.mark.slow

PAGE = 4096
ROOM = 2**26


class Disk:
    """A file system in memory, which only the administrator may mount."""

    def __init__(self, place: Path) -> None:
        self.place = place
        place.mkdir()
        asked = ["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", place]
        if subprocess.run(asked, capture_output=True, check=False).returncode:
            pytest.skip("mounting a file system needs root")

    def holds(self, size: int) -> None:
        subprocess.run(["mount", "-o", f"remount,size={size}", self.place], check=True)

    def used(self) -> int:
        return shutil.disk_usage(self.place).used


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    mounted = Disk(tmp_path / "disk")
    yield mounted
    subprocess.run(["umount", mounted.place], check=True)


KINDS = ["packed", pytest.param("full", marks=pytest.mark.exhaustive)]


def goes_on(training: Trial, out: Path) -> None:
    """Assert that the run said what was wrong, and ends as the one that had room."""
    assert training.warm.errors.startswith("error: ")
    assert "the disk" in training.warm.errors
    assert "Traceback" not in training.warm.errors
    assert training.run(out) == 0, training.warm.errors
    assert result(out) == result(training.whole)
    assert not list(out.rglob("*.tmp"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_disk_too_small_is_told_before_training(
    share: float, kind: str, trial: Callable[[str], Trial], disk: Disk
) -> None:
    training, out = trial(kind), disk.place / "run"
    shutil.copytree(training.tokenised, out)
    whole = sum(-(-path.stat().st_size // PAGE) * PAGE for path in training.whole.rglob("*") if path.is_file())
    disk.holds(disk.used() + int(share * (whole - disk.used())) // PAGE * PAGE + PAGE)
    assert training.run(out) == 1, training.warm.errors
    assert "this run needs" in training.warm.errors
    disk.holds(ROOM)
    goes_on(training, out)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "share", [0.0, 0.3, 0.6, *(pytest.param(n / 28, marks=pytest.mark.exhaustive) for n in range(1, 26))]
)
def test_a_disk_that_somebody_else_fills_during_training_costs_no_bit(
    share: float, kind: str, trial: Callable[[str], Trial], disk: Disk
) -> None:
    training, out, filler = trial(kind), disk.place / "run", disk.place / "filler"
    shutil.copytree(training.tokenised, out)
    still_written = sum(
        path.stat().st_size for name in ("model", "checkpoints") for path in (training.whole / name).rglob("*")
    )
    code = training.run(out, fill=("step-# in place", filler, int(share * still_written)))
    assert filler.exists()
    assert code == 1, training.warm.errors
    filler.unlink()
    goes_on(training, out)
