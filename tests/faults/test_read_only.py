"""A run directory that can no longer be written: told, exit code 1, and nothing lost."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conftest import Trial, result

pytestmark = pytest.mark.slow


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system, as only the administrator may."""
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", place], capture_output=True, check=False).returncode:
        pytest.skip("mounting a file system needs root")
    yield place
    subprocess.run(["umount", place], check=True)


def remount(disk: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", disk], check=True)


def test_a_read_only_run_is_told_and_goes_on_afterwards(trial: Callable[[str], Trial], disk: Path) -> None:
    packed, out = trial("packed"), disk / "run"
    assert packed.run(out, failpoint="step-# in place:2") == -9
    remount(disk, "ro")
    assert packed.run(out) == 1
    assert "the system refuses access" in packed.warm.errors
    assert "Traceback" not in packed.warm.errors
    remount(disk, "rw")
    assert packed.run(out) == 0
    assert result(out) == result(packed.whole)
