"""A full disk: a clear error, exit code 1, nothing lost, and the same command goes on once there is room."""

import json
from pathlib import Path

import pytest

from warm import Warm

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("limit", [1_000, 6_000, 60_000])
def test_a_full_disk_is_told_and_the_run_goes_on_afterwards(
    limit: int, tickets: Path, tiny_llama: Path, tmp_path: Path, warm: Warm
) -> None:
    """Where files are limited to so many bytes each, the system answers EFBIG, as it answers ENOSPC when full."""
    out = tmp_path / "run"
    command = [
        *("train", "--data", tickets, "--model", tiny_llama, "--out", out, "-q", "--json"),
        *("--set", "train.max_steps=6", "--set", "train.batch_size=4", "--set", "train.max_length=256"),
    ]
    assert warm.luthier(*command, limit=limit) == 1
    assert warm.errors.startswith("error: ")
    assert "the disk is full" in warm.errors
    assert "Traceback" not in warm.errors
    assert not list(out.rglob("*.tmp"))
    assert warm.luthier(*command) == 0, warm.errors
    assert json.loads(warm.output)["state"] == "done"
