"""A full disk: a clear error, exit code 1, nothing lost, and the same command goes on once there is room."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def run(out: Path, tickets: Path, model: Path, *, limit: int | None) -> subprocess.CompletedProcess[str]:
    """Train with files limited to `limit` bytes each: the system answers EFBIG, as it answers ENOSPC when full."""

    def limited() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return subprocess.run(
        [
            *(
                sys.executable,
                "-c",
                "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); import luthier.__main__",
            ),
            *("train", "--data", str(tickets), "--model", str(model), "--out", str(out), "-q", "--json"),
            *("--set", "train.max_steps=6", "--set", "train.batch_size=4", "--set", "train.max_length=256"),
        ],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=limited,
    )


@pytest.mark.parametrize("limit", [1_000, 6_000, 60_000])
def test_a_full_disk_is_told_and_the_run_goes_on_afterwards(
    limit: int, tickets: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    full = run(out, tickets, tiny_llama, limit=limit)
    assert full.returncode == 1, full.stderr
    assert full.stderr.startswith("error: ")
    assert "the disk is full" in full.stderr
    assert "Traceback" not in full.stderr
    assert not list(out.rglob("*.tmp"))
    again = run(out, tickets, tiny_llama, limit=None)
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["state"] == "done"
