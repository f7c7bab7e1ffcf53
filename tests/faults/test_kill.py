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
    return [
        *(sys.executable, "-m", "luthier", "train", "--data", str(tickets), "--model", str(model)),
        *("--out", str(out), "-q", "--json", *sets, *more),
    ]


def finish(out: Path, tickets: Path, model: Path, *more: str) -> dict[str, object]:
    done = subprocess.run(command(out, tickets, model, *more), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report: dict[str, object] = json.loads(done.stdout)
    return report


def stop_at(step: int, how: signal.Signals, out: Path, tickets: Path, model: Path, *more: str) -> int:
    """Start training, send a signal when `step` was logged, and return the exit code."""
    process = subprocess.Popen(
        command(out, tickets, model, *more), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if out.is_dir() and len(Run(out).events("step")) >= step:
            break
        time.sleep(0.005)
    os.kill(process.pid, how)
    return process.wait(timeout=60)


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
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, kept_tickets: Path, tiny_llama: Path) -> Path:
    out = tmp_path_factory.mktemp("runs") / "whole"
    finish(out, kept_tickets, tiny_llama)
    return out


@pytest.mark.parametrize("step", [1, 7, 13, 22])
def test_a_run_killed_in_training_ends_with_the_same_bits(
    step: int, uninterrupted: Path, kept_tickets: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    assert stop_at(step, signal.SIGKILL, out, kept_tickets, tiny_llama) == -signal.SIGKILL
    finish(out, kept_tickets, tiny_llama)
    assert weights(out) == weights(uninterrupted)
    assert history(out) == history(uninterrupted)
    assert Run(out).events("warning") == []


def test_a_run_killed_again_and_again_ends_with_the_same_bits(
    uninterrupted: Path, kept_tickets: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    for step in (3, 8, 17):
        stop_at(step, signal.SIGKILL, out, kept_tickets, tiny_llama)
    finish(out, kept_tickets, tiny_llama)
    assert weights(out) == weights(uninterrupted)
    assert history(out) == history(uninterrupted)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_save_leave_130_and_go_on(
    how: signal.Signals, uninterrupted: Path, kept_tickets: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    assert stop_at(7, how, out, kept_tickets, tiny_llama) == 130
    (saved,) = [event for event in Run(out).events("state") if event["state"] == "interrupted"]
    assert (out / "checkpoints" / f"step-{saved['step']:06d}" / "manifest.json").is_file()
    report = finish(out, kept_tickets, tiny_llama)
    assert report["resumed_from"] == saved["step"]
    assert weights(out) == weights(uninterrupted)
    assert history(out) == history(uninterrupted)


def test_full_fine_tuning_and_dropout_resume_to_the_same_bits_too(
    kept_tickets: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    for more in (("--set", "train.technique=full"), ("--set", "train.technique={kind: lora, dropout: 0.2}")):
        whole, cut = tmp_path / f"whole{len(more[1])}", tmp_path / f"cut{len(more[1])}"
        finish(whole, kept_tickets, tiny_llama, *more)
        stop_at(12, signal.SIGKILL, cut, kept_tickets, tiny_llama, *more)
        finish(cut, kept_tickets, tiny_llama, *more)
        assert weights(cut) == weights(whole)
        assert history(cut) == history(whole)


@pytest.mark.parametrize(
    "sets",
    [
        ("train.technique={kind: lora, dora: true, dropout: 0.1}", "train.optimizer=lion"),
        ("train.technique=ia3", "train.optimizer=adafactor", "train.schedule=wsd"),
        ("train.technique={kind: full, freeze_layers: 1}", "train.optimizer=sgd", "train.learning_rate=0.1"),
    ],
    ids=["dora-lion", "ia3-adafactor", "frozen-sgd"],
)
def test_every_technique_and_optimizer_resumes_to_the_same_bits_too(
    sets: tuple[str, ...], kept_tickets: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    more = [part for each in sets for part in ("--set", each)]
    finish(tmp_path / "whole", kept_tickets, tiny_llama, *more)
    stop_at(12, signal.SIGKILL, tmp_path / "cut", kept_tickets, tiny_llama, *more)
    finish(tmp_path / "cut", kept_tickets, tiny_llama, *more)
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")
    assert history(tmp_path / "cut") == history(tmp_path / "whole")


def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_is_taken(
    uninterrupted: Path, kept_tickets: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    stop_at(17, signal.SIGKILL, out, kept_tickets, tiny_llama)
    newest = sorted((out / "checkpoints").glob("step-*"))[-1]
    with (newest / "adapter_model.safetensors").open("r+b") as handle:
        handle.seek(-3, os.SEEK_END)
        handle.write(b"\xff")
    finish(out, kept_tickets, tiny_llama)
    assert [path.name for path in (out / "checkpoints").glob(".corrupt-*")]
    (warning,) = Run(out).events("warning")
    assert newest.name in warning["text"]
    assert weights(out) == weights(uninterrupted)


def test_other_data_in_the_same_run_is_refused_and_put_back_goes_on(
    uninterrupted: Path, kept_tickets: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    out, data = tmp_path / "run", tmp_path / "mine.jsonl"
    data.write_bytes(kept_tickets.read_bytes())
    stop_at(8, signal.SIGKILL, out, data, tiny_llama)
    with data.open("a", encoding="utf-8") as handle:
        handle.write(json.dumps({"question": "One more?", "answer": "One more."}) + "\n")
    done = subprocess.run(command(out, data, tiny_llama), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "mine.jsonl` changed since this run was begun" in done.stderr
    assert "Traceback" not in done.stderr
    data.write_bytes(kept_tickets.read_bytes())
    finish(out, data, tiny_llama)
    assert weights(out) == weights(uninterrupted)


def second_of(process: "subprocess.Popen[str]") -> int:
    """Return the id of the second process that a launcher started."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="utf-8").split()
    (second,) = [int(child) for child in children if b"\0RANK=1\0" in Path(f"/proc/{child}/environ").read_bytes()]
    return second


def test_two_processes_save_on_sigterm_end_when_one_is_killed_and_one_goes_on_alone(
    uninterrupted: Path, kept_tickets: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    assert stop_at(3, signal.SIGTERM, out, kept_tickets, tiny_llama, "--nproc", "2") == 130
    assert Run(out).events("state")[-1]["signal"] == "SIGTERM"
    again = command(out, kept_tickets, tiny_llama, "--nproc", "2")
    process = subprocess.Popen(again, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and len(Run(out).events("step")) < 9:
        time.sleep(0.005)
    os.kill(second_of(process), signal.SIGKILL)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "error: another process of this training ended" in told
    assert "Traceback" not in told
    finish(out, kept_tickets, tiny_llama)
    # Steps after the checkpoint are summed again in another order; that their last digits differ is told.
    assert all("repeated step" in event["text"] for event in Run(out).events("warning"))
    # test_parallel.py holds them to 1e-5; here products may be bfloat16, which rounds another last digit far.
    losses, wanted = (
        {event["step"]: event["loss"] for event in Run(each).events("step")} for each in (out, uninterrupted)
    )
    assert losses == pytest.approx(wanted, rel=1e-3)
