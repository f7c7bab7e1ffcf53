"""What a training does when a loss is no number, memory runs out, or the disk is full."""

import errno
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from luthier.core.errors import DiskFull, Failed
from luthier.core.example import Source
from luthier.core.progress import Silent
from luthier.core.run import Run
from luthier.model.adapters import lora
from luthier.model.load import load_model
from luthier.recipe.plan import Plan
from luthier.recipe.schema import Recipe
from luthier.tokens.render import Encoded
from luthier.train.history import History, lasting
from luthier.train.loop import train
from luthier.train.objectives.sft import Sft
from luthier.train.rescue import fitting
from luthier.train.state import State
from luthier.train.work import HeldOut, Work

BAD = 300
"""A token that stands in one row only."""

PLAN = Plan(
    technique="lora",
    learning_rate=5e-3,
    batch_size=4,
    epochs=0.0,
    steps=10,
    warmup_steps=0,
    max_length=128,
    pack_tokens=128,
    precision="fp32",
    threads=1,
    checkpoint_every=2,
    evaluate_every=5,
    gradient_checkpointing=False,
    trainable_parameters=0,
    memory_bytes=0,
    reasons={},
)


def rows() -> list[Encoded]:
    random = np.random.default_rng(0)
    made = []
    for i in range(8):
        length = int(random.integers(10, 30))
        ids = random.integers(4, 250, length).astype(np.int32)
        ids[0] = BAD if i == 7 else ids[0]
        made.append(Encoded(ids, np.arange(length) >= length // 2, Source("rows", i + 1)))
    return made


def job(model: Path, out: Path, plan: Plan = PLAN, **options: Any) -> Work:
    settings = {"model": "m", "data": {"sources": ["a"]}, "train": options}
    recipe = Recipe.model_validate(settings, strict=False)
    adapted = lora.attach(load_model(model), recipe.train.technique, base="m", seed=0)  # type: ignore[arg-type]
    return Work(recipe, plan, Run(out), "key", adapted, Sft(recipe.train.objective), rows(), None)  # type: ignore[arg-type]


def weights(work: Work) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in work.adapted.trainable.items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def steps(out: Path) -> list[tuple[int, float, float]]:
    return [(event["step"], event["loss"], event["learning_rate"]) for event in lasting(Run(out).events(), "step")]


def nan_where(work: Work, bad: Callable[[torch.Tensor], bool]) -> None:
    """Make the model's embeddings NaN for inputs that `bad` says yes to."""

    def hook(_module: Any, args: Any, output: torch.Tensor) -> torch.Tensor:
        return output * float("nan") if bad(args[0]) else output

    work.adapted.model.get_input_embeddings().register_forward_hook(hook)


def test_a_step_that_is_no_number_leaves_the_weights_and_names_its_rows(tiny_llama: Path, tmp_path: Path) -> None:
    # Two steps of four rows are an epoch of eight: the bad row is in one of them.
    whole = job(tiny_llama, tmp_path, replace(PLAN, steps=2))
    nan_where(whole, lambda ids: bool((ids == BAD).any()))
    train(whole, Silent())
    (warning,) = Run(tmp_path).events("warning")
    (told,) = steps(tmp_path)
    assert {told[0], warning["step"]} == {1, 2}
    assert "rows:8" in warning["rows"]
    assert len(warning["rows"]) == 4


@pytest.fixture
def broken_after(tiny_llama: Path) -> Callable[[Path], Work]:
    """Return a maker of trainings whose loss is no number once the weights have moved fast: at the first rate only."""

    def make(out: Path) -> Work:
        work = job(tiny_llama, out)
        start = weights(work)

        def far(_ids: torch.Tensor) -> bool:
            moved = max((value - start[name]).abs().max().item() for name, value in work.adapted.trainable.items())
            return moved > 4.6 * PLAN.learning_rate  # five steps of AdamW

        nan_where(work, far)
        return work

    return make


def test_three_in_a_row_go_back_to_the_last_checkpoint_once_at_a_lower_rate(
    broken_after: Callable[[Path], Work], tmp_path: Path
) -> None:
    work = broken_after(tmp_path)
    outcome = train(work, Silent())
    run = Run(tmp_path)
    (back,) = run.events("rollback")
    skipped = [event["step"] for event in run.events("warning") if event["about"] == "skipped"]
    assert len(skipped) == 3
    assert back["step"] < skipped[0]
    assert outcome.steps == 10
    told = steps(tmp_path)
    assert [step for step, _, _ in told] == [*range(1, 11)]
    assert all(isinstance(loss, float) for _, loss, _ in told)
    slow = [rate for step, _, rate in told if step == back["step"] + 1]
    first = [event["learning_rate"] for event in run.events("step") if event["step"] == back["step"] + 1]
    assert slow == [pytest.approx(0.3 * first[0])]


class Killed(BaseException):
    """Ends a process as a kill does: nothing is saved after it."""


class KillAfter(Silent):
    def __init__(self, updates: int) -> None:
        self.left = updates

    def update(self, done: int, note: str = "") -> None:
        self.left -= 1
        if self.left == 0:
            raise Killed


@pytest.mark.slow
def test_a_training_that_went_back_and_was_killed_ends_with_the_same_bits(
    broken_after: Callable[[Path], Work], tmp_path: Path
) -> None:
    whole = broken_after(tmp_path / "whole")
    train(whole, Silent())
    for updates in (4, 7, 9, 10, 12):
        out = tmp_path / f"cut{updates}"
        with pytest.raises(Killed):
            train(broken_after(out), KillAfter(updates))
        again = broken_after(out)
        train(again, Silent())
        assert same(weights(again), weights(whole)), updates
        assert steps(out) == steps(tmp_path / "whole"), updates
        assert len(Run(out).events("rollback")) == 1


def test_no_number_at_the_lower_rate_either_ends_the_run_with_the_rows_in_a_file(
    tiny_llama: Path, tmp_path: Path
) -> None:
    work = replace(job(tiny_llama, tmp_path), decode=lambda ids: f"{len(ids)} tokens")
    nan_where(work, lambda _ids: True)
    with pytest.raises(Failed, match=r"is not a number in steps 4 to 6, at 0\.3 times the learning rate too") as caught:
        train(work, Silent())
    assert "train.learning_rate=5e-04" in caught.value.hint
    dumped = [json.loads(line) for line in (tmp_path / "not_a_number.jsonl").read_text().splitlines()]
    assert [line["step"] for line in dumped] == [4] * 4 + [5] * 4 + [6] * 4
    assert all(line["text"] == f"{len(line['input_ids'])} tokens" for line in dumped)
    assert {line["row"] for line in dumped} == {f"rows:{i}" for i in range(1, 9)}


def limited_to(work: Work, tokens: int) -> None:
    """Let the model's forward pass fail as an allocator does when a pass has more tokens than that."""

    def hook(_module: Any, args: Any) -> None:
        if args[0].numel() > tokens:
            raise torch.OutOfMemoryError("tried to allocate 1 GiB")

    work.adapted.model.get_input_embeddings().register_forward_pre_hook(hook)


def test_where_memory_runs_out_passes_become_smaller_and_the_losses_stay(tiny_llama: Path, tmp_path: Path) -> None:
    train(job(tiny_llama, tmp_path / "roomy"), Silent())
    tight = job(tiny_llama, tmp_path / "tight")
    limited_to(tight, 64)
    train(tight, Silent())
    roomy, small = steps(tmp_path / "roomy"), steps(tmp_path / "tight")
    assert [step for step, _, _ in small] == [step for step, _, _ in roomy]
    assert [loss for _, loss, _ in small] == pytest.approx([loss for _, loss, _ in roomy], rel=1e-4)
    warnings = [event for event in Run(tmp_path / "tight").events("warning") if event["about"] == "memory"]
    assert "a forward pass has 64 tokens, not 128" in warnings[0]["text"]


def test_a_training_in_smaller_passes_resumes_to_the_same_bits(tiny_llama: Path, tmp_path: Path) -> None:
    whole = job(tiny_llama, tmp_path / "whole", technique={"kind": "lora", "dropout": 0.2})
    limited_to(whole, 64)
    train(whole, Silent())
    cut = job(tiny_llama, tmp_path / "cut", technique={"kind": "lora", "dropout": 0.2})
    limited_to(cut, 64)
    with pytest.raises(Killed):
        train(cut, KillAfter(6))
    again = job(tiny_llama, tmp_path / "cut", technique={"kind": "lora", "dropout": 0.2})
    train(again, Silent())  # with room enough now: the state remembers
    assert same(weights(again), weights(whole))
    assert Run(tmp_path / "cut").events("warning") == Run(tmp_path / "cut").events("warning")[:1]


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("tried to allocate 1 GiB"), RuntimeError("DefaultCPUAllocator: can't allocate memory")],
)
def test_a_step_whose_weights_have_moved_is_not_taken_again(
    error: RuntimeError, tiny_llama: Path, tmp_path: Path
) -> None:
    work = job(tiny_llama, tmp_path)

    class Full(torch.optim.SGD):
        def step(self, closure: Any = None) -> None:
            super().step(closure)
            raise error

    optimizer = Full([{"params": [*work.adapted.trainable.values()], "ratio": 1.0}], lr=0.1)
    with pytest.raises(Failed, match="memory ran out while step 1 changed the weights"):
        fitting(work, optimizer, State(), 0.1, History(work.run))


def test_memory_that_runs_out_while_measuring_ends_the_run_with_advice(tiny_llama: Path, tmp_path: Path) -> None:
    def measure(_: Any) -> HeldOut:
        raise torch.OutOfMemoryError("tried to allocate 1 GiB")

    with pytest.raises(Failed, match="while the held-out rows were measured") as failed:
        train(replace(job(tiny_llama, tmp_path), measure=measure), Silent())
    assert "max_length" in failed.value.hint


def test_passes_that_cannot_become_smaller_end_the_run_with_advice(tiny_llama: Path, tmp_path: Path) -> None:
    work = job(tiny_llama, tmp_path)
    limited_to(work, 8)
    longest = max(row.length for row in rows())
    with pytest.raises(Failed, match=f"in step 1, in a forward pass of at most {longest} tokens") as caught:
        train(work, Silent())
    assert "gradient_checkpointing=on" in caught.value.hint


@contextmanager
def small_disk(place: Path, size: str) -> Iterator[Path]:
    """Mount a file system of `size` there, as only the administrator may."""
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a file system needs root")
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


ON_DISK = replace(PLAN, checkpoint_every=1, steps=6)


def test_a_disk_too_small_for_the_checkpoints_is_told_before_training(tiny_llama: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "1m") as disk:
        work = job(tiny_llama, disk / "run")
        with pytest.raises(DiskFull, match=r"has [\d.]+ (k|M)B free, and this run needs [\d.]+ MB: 3 checkpoints"):
            train(work, Silent())
        assert Run(disk / "run").events("step") == []


class Fill(Silent):
    """Fills a disk after some steps, and frees it after some more."""

    def __init__(self, disk: Path, full: int, free: int) -> None:
        self.file, self.full, self.free = disk / "filler", full, free

    def update(self, done: int, note: str = "") -> None:
        if done == self.full:
            self.fill()
        if done == self.free:
            self.file.unlink()

    def fill(self) -> None:
        handle = os.open(self.file, os.O_WRONLY | os.O_CREAT)
        try:
            while True:
                os.write(handle, b"x" * 4096)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
        finally:
            os.close(handle)


def left(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "checkpoints").iterdir())


def test_a_disk_that_is_full_for_a_while_costs_no_step_and_no_event(tiny_llama: Path, tmp_path: Path) -> None:
    train(job(tiny_llama, tmp_path / "roomy", ON_DISK), Silent())
    with small_disk(tmp_path / "disk", "16m") as disk:
        train(job(tiny_llama, disk / "run", ON_DISK), Fill(disk, full=2, free=5))
        run = Run(disk / "run")
        assert steps(disk / "run") == steps(tmp_path / "roomy")
        assert [event["step"] for event in run.events("checkpoint")] == [1, 5, 6]
        assert [event["step"] for event in run.events("warning") if event["about"] == "disk"] == [2, 3, 4]
        assert left(disk / "run") == ["step-000005", "step-000006"]


def test_a_disk_that_stays_full_ends_the_run_with_the_last_checkpoint_and_the_rest_follows(
    tiny_llama: Path, tmp_path: Path
) -> None:
    whole = job(tiny_llama, tmp_path / "roomy", ON_DISK)
    train(whole, Silent())
    with small_disk(tmp_path / "disk", "16m") as disk:
        with pytest.raises(DiskFull, match="the disk is full"):
            train(job(tiny_llama, disk / "run", ON_DISK), Fill(disk, full=3, free=99))
        assert left(disk / "run") == ["step-000001", "step-000002"]
        (disk / "filler").unlink()
        again = job(tiny_llama, disk / "run", ON_DISK)
        assert train(again, Silent()).resumed_from == 2
        assert same(weights(again), weights(whole))
        assert steps(disk / "run") == steps(tmp_path / "roomy")


def test_a_measurement_is_not_repeated_after_training_went_back(
    broken_after: Callable[[Path], Work], tmp_path: Path
) -> None:
    work = replace(broken_after(tmp_path), measure=lambda _model: HeldOut(1.0, 10))
    train(work, Silent())
    assert [event["step"] for event in lasting(Run(tmp_path).events(), "eval")] == [0, 5, 10]
