"""How a process learns where it stands, and how several are started and ended."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from luthier.core.errors import RunError
from luthier.core.processes import Place, place


def test_a_process_that_nobody_placed_is_alone() -> None:
    assert place({}) == Place()
    assert place({"WORLD_SIZE": "1", "RANK": "0"}) == Place()
    assert place({"LOCAL_RANK": "3"}) == Place()


def test_torchrun_accelerate_and_ray_are_understood() -> None:
    told = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}
    meeting = {"MASTER_ADDR": "node7", "MASTER_PORT": "1234"}
    assert place(told | meeting) == Place(5, 8, 1, 4, "node7:1234")


def test_srun_is_understood_though_it_names_no_meeting_point() -> None:
    told = {
        "SLURM_PROCID": "3",
        "SLURM_STEP_NUM_TASKS": "4",
        "SLURM_LOCALID": "1",
        "SLURM_STEP_TASKS_PER_NODE": "2(x2)",
        "SLURM_STEP_NODELIST": "gpu[017-018]",
        "SLURM_JOB_ID": "4401234",
    }
    assert place(told) == Place(3, 4, 1, 2, "gpu017:21234")


def test_a_batch_script_in_slurm_is_one_process_though_its_job_has_many_tasks() -> None:
    assert place({"SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_JOB_ID": "1"}) == Place()


def test_mpirun_on_one_machine_needs_no_address() -> None:
    told = {"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_LOCAL_SIZE": "2"}
    assert place(told) == Place(1, 2, 1, 2, "127.0.0.1:29500")


@pytest.mark.parametrize(
    ("told", "problem"),
    [
        ({"RANK": "2", "WORLD_SIZE": "2"}, "`RANK` is 2, and `WORLD_SIZE` is 2"),
        ({"RANK": "one", "WORLD_SIZE": "2"}, "`RANK` should be a whole number, got `one`"),
        ({"RANK": "1", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}, "nobody says where the first process is"),
    ],
)
def test_what_makes_no_sense_is_refused(told: dict[str, str], problem: str) -> None:
    with pytest.raises(RunError, match=problem):
        place(told)


PROCESS = """
import os, signal, sys, time
rank = int(os.environ["RANK"])
print(f"out {rank} of {os.environ['WORLD_SIZE']}", flush=True)
print(f"err {rank}", file=sys.stderr, flush=True)
"""

STARTER = """
import sys
from luthier.core import processes
processes.GRACE_SECONDS = 0.5
sys.exit(processes.start(2, sys.argv[1:]))
"""


def started(tmp_path: Path, body: str) -> subprocess.Popen[str]:
    """Start a command as two processes."""
    return subprocess.Popen(
        [sys.executable, "-c", STARTER, sys.executable, "-c", PROCESS + body],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_only_the_first_process_is_heard(tmp_path: Path) -> None:
    process = started(tmp_path, "")
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0
    assert (out, err) == ("out 0 of 2\n", "err 0\n")


def test_when_one_fails_all_end_with_its_code_and_it_is_heard(tmp_path: Path) -> None:
    process = started(tmp_path, "sys.exit(2) if rank else time.sleep(60)")
    _, err = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "err 1" in err


def test_when_one_is_killed_the_others_end_and_the_code_is_1(tmp_path: Path) -> None:
    process = started(tmp_path, "os.kill(os.getpid(), signal.SIGKILL) if rank else time.sleep(60)")
    process.communicate(timeout=30)
    assert process.returncode == 1


def test_a_signal_reaches_every_process_once(tmp_path: Path) -> None:
    body = """
signal.signal(signal.SIGTERM, lambda *_: open(f"got{rank}", "a").write("x"))
open(f"ready{rank}", "w").close()
while not os.path.exists(f"got{rank}"): time.sleep(0.01)
time.sleep(0.2)
sys.exit(130)
"""
    process = started(tmp_path, body)
    while not all((tmp_path / f"ready{rank}").exists() for rank in range(2)):
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert [(tmp_path / f"got{rank}").read_text() for rank in range(2)] == ["x", "x"]
