"""`kill -9` anywhere in training, the same command again: the same adapter and the same loss history, bit for bit."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from luthier.core.run import Run
from warm import Warm

STEPS = 24

pytestmark = pytest.mark.slow


def command(out: Path, tickets: Path, model: Path, *more: str) -> list[str]:
    settings = {
        "train.max_steps": STEPS,
        "train.batch_size": 4,
        "train.checkpoint_every": 5,
        "train.evaluate_every": 6,
        "train.max_length": 256,
    }
    sets = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    return ["train", "--data", str(tickets), "--model", str(model), "--out", str(out), "-q", "--json", *sets, *more]


def launched(arguments: list[str], stderr: int = subprocess.DEVNULL) -> "subprocess.Popen[str]":
    """Start a command line in a process of its own, from nothing."""
    started = [sys.executable, "-m", "luthier", *arguments]
    return subprocess.Popen(started, stdout=subprocess.DEVNULL, stderr=stderr, text=True)


class Training:
    """Trainings of one model on one file, in `luthier train`s that start warm."""

    def __init__(self, warm: Warm, data: Path, model: Path) -> None:
        self.warm, self.data, self.model = warm, data, model

    def finish(self, out: Path, *more: str) -> dict[str, object]:
        assert self.warm.luthier(*command(out, self.data, self.model, *more)) == 0, self.warm.errors
        report: dict[str, object] = json.loads(self.warm.output)
        return report

    def stop_at(self, step: int, how: signal.Signals, out: Path, *more: str) -> int:
        """Start training, send a signal when `step` was logged, and return the exit code."""
        process = self.warm.start(*command(out, self.data, self.model, *more))
        deadline = time.monotonic() + 120
        while not process.ended(0.005) and time.monotonic() < deadline and logged(out) < step:
            pass
        process.kill(how)
        return process.wait()


def logged(out: Path) -> int:
    return len(Run(out).events("step")) if out.is_dir() else 0


def history(out: Path) -> list[tuple[object, ...]]:
    run = Run(out)
    steps = [
        ("step", e["step"], e["loss"], e["grad_norm"], e["learning_rate"], e["tokens"]) for e in run.events("step")
    ]
    evals = [("eval", e["step"], e["loss"]) for e in run.events("eval")]
    return steps + evals


def weights(out: Path) -> bytes:
    (file,) = (out / "model").glob("*.safetensors")
    return file.read_bytes()


@pytest.fixture(scope="module")
def kept_tickets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "tickets.jsonl"
    rows = ({"question": f"What about peg number {i}?", "answer": f"Peg {i} needs {i * 3} turns."} for i in range(40))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def training(warm: Warm, kept_tickets: Path, tiny_llama: Path) -> Training:
    return Training(warm, kept_tickets, tiny_llama)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, training: Training) -> Path:
    out = tmp_path_factory.mktemp("runs") / "whole"
    training.finish(out)
    return out


def assert_same(out: Path, whole: Path) -> None:
    assert weights(out) == weights(whole)
    assert history(out) == history(whole)


def test_a_process_of_its_own_killed_in_training_ends_with_the_same_bits(
    uninterrupted: Path, kept_tickets: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    process = launched(command(out, kept_tickets, tiny_llama))
    while process.poll() is None and logged(out) < 7:
        time.sleep(0.005)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert launched(command(out, kept_tickets, tiny_llama)).wait() == 0
    assert_same(out, uninterrupted)


@pytest.mark.parametrize("step", [1, 7, 13, 22])
def test_a_run_killed_in_training_ends_with_the_same_bits(
    step: int, uninterrupted: Path, training: Training, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    assert training.stop_at(step, signal.SIGKILL, out) == -signal.SIGKILL
    training.finish(out)
    assert_same(out, uninterrupted)
    assert Run(out).events("warning") == []


def test_a_run_killed_again_and_again_ends_with_the_same_bits(
    uninterrupted: Path, training: Training, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    for step in (3, 8, 17):
        training.stop_at(step, signal.SIGKILL, out)
    training.finish(out)
    assert_same(out, uninterrupted)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_save_leave_130_and_go_on(
    how: signal.Signals, uninterrupted: Path, training: Training, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    assert training.stop_at(7, how, out) == 130
    (saved,) = [event for event in Run(out).events("state") if event["state"] == "interrupted"]
    assert (out / "checkpoints" / f"step-{saved['step']:06d}" / "manifest.json").is_file()
    report = training.finish(out)
    assert report["resumed_from"] == saved["step"]
    assert_same(out, uninterrupted)


@pytest.mark.parametrize(
    "sets",
    [
        ("train.technique=full",),
        ("train.technique={kind: lora, dropout: 0.2}",),
        ("train.technique={kind: lora, dora: true, dropout: 0.1}", "train.optimizer=lion"),
        ("train.technique=ia3", "train.optimizer=adafactor", "train.schedule=wsd"),
        ("train.technique={kind: full, freeze_layers: 1}", "train.optimizer=sgd", "train.learning_rate=0.1"),
    ],
    ids=["full", "dropout", "dora-lion", "ia3-adafactor", "frozen-sgd"],
)
def test_every_technique_and_optimizer_resumes_to_the_same_bits_too(
    sets: tuple[str, ...], training: Training, tmp_path: Path
) -> None:
    more = [part for each in sets for part in ("--set", each)]
    training.finish(tmp_path / "whole", *more)
    assert training.stop_at(12, signal.SIGKILL, tmp_path / "cut", *more) == -signal.SIGKILL
    training.finish(tmp_path / "cut", *more)
    assert_same(tmp_path / "cut", tmp_path / "whole")


def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_is_taken(
    uninterrupted: Path, training: Training, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    training.stop_at(17, signal.SIGKILL, out)
    newest = sorted((out / "checkpoints").glob("step-*"))[-1]
    with (newest / "adapter_model.safetensors").open("r+b") as handle:
        handle.seek(-3, os.SEEK_END)
        handle.write(b"\xff")
    training.finish(out)
    assert [path.name for path in (out / "checkpoints").glob(".corrupt-*")]
    (warning,) = Run(out).events("warning")
    assert newest.name in warning["text"]
    assert weights(out) == weights(uninterrupted)


def test_other_data_in_the_same_run_is_refused_and_put_back_goes_on(
    uninterrupted: Path, kept_tickets: Path, tiny_llama: Path, warm: Warm, tmp_path: Path
) -> None:
    out, data = tmp_path / "run", tmp_path / "mine.jsonl"
    data.write_bytes(kept_tickets.read_bytes())
    mine = Training(warm, data, tiny_llama)
    mine.stop_at(8, signal.SIGKILL, out)
    with data.open("a", encoding="utf-8") as handle:
        handle.write(json.dumps({"question": "One more?", "answer": "One more."}) + "\n")
    assert warm.luthier(*command(out, data, tiny_llama)) == 2
    assert "mine.jsonl` changed since this run was begun" in warm.errors
    assert "Traceback" not in warm.errors
    data.write_bytes(kept_tickets.read_bytes())
    mine.finish(out)
    assert weights(out) == weights(uninterrupted)


def second_of(process: "subprocess.Popen[str]") -> int:
    """Return the id of the second process that a launcher started."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="utf-8").split()
    (second,) = [int(child) for child in children if b"\0RANK=1\0" in Path(f"/proc/{child}/environ").read_bytes()]
    return second


def test_two_processes_save_on_sigterm_end_when_one_is_killed_and_one_goes_on_alone(
    uninterrupted: Path, training: Training, kept_tickets: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    both = command(out, kept_tickets, tiny_llama, "--nproc", "2")
    process = launched(both)
    while process.poll() is None and logged(out) < 3:
        time.sleep(0.005)
    process.terminate()
    assert process.wait(timeout=60) == 130
    assert Run(out).events("state")[-1]["signal"] == "SIGTERM"
    process = launched(both, subprocess.PIPE)
    while process.poll() is None and logged(out) < 9:
        time.sleep(0.005)
    os.kill(second_of(process), signal.SIGKILL)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "error: another process of this training ended" in told
    assert "Traceback" not in told
    training.finish(out)
    # Steps after the checkpoint are summed again in another order; that their last digits differ is told.
    assert all("repeated step" in event["text"] for event in Run(out).events("warning"))
    # test_parallel.py holds them to 1e-5; here products may be bfloat16, which rounds another last digit far.
    losses, wanted = (
        {event["step"]: event["loss"] for event in Run(each).events("step")} for each in (out, uninterrupted)
    )
    assert losses == pytest.approx(wanted, rel=1e-3)
