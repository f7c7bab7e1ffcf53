"""The training loop: next rows, loss, backward, step, log, measure?, save? One loop, whatever is learned.

A run killed anywhere goes on to the same bits: order, packs and random numbers are functions of (seed, step), and
a checkpoint holds everything else. Steps that were logged before the kill are computed again, not logged again;
their losses must repeat, and a difference is told.
"""

import resource
import time
from pathlib import Path
from typing import NamedTuple

import torch

from luthier.core.errors import Failed, Interrupted
from luthier.core.progress import Progress
from luthier.recipe.options import locate
from luthier.train import checkpoint
from luthier.train.history import History
from luthier.train.noise import noisy
from luthier.train.optim import optimizer_of
from luthier.train.step import examples_of, finite, take
from luthier.train.watch import StopRequest
from luthier.train.work import StepResult, Work


class Outcome(NamedTuple):
    """What a finished training gave beside its events."""

    resumed_from: int
    peak_memory_bytes: int


def train(work: Work, progress: Progress) -> Outcome:
    """Train from the newest checkpoint, or from the start, to the end of the plan.

    Raises:
        Failed: The loss is not a number, or the disk is full; the last checkpoint is kept.
        Interrupted: Ctrl-C or SIGTERM; the state is saved first.
    """
    plan, run = work.plan, work.run
    options = work.recipe.train
    optimizer = optimizer_of(
        options.optimizer, work.adapted, learning_rate=plan.learning_rate, weight_decay=options.weight_decay
    )
    start = checkpoint.restore(run, work.adapted, optimizer, key=work.key)
    work.world.same(start, "checkpoint")
    log = History(run)
    if start:
        run.log("state", stage="train", state="resumed", step=start)
        log.saved(start)
    elif work.measure is not None:
        log.measured(0, work.measure(work.adapted.model))
    work.adapted.model.train()
    progress.start("train", plan.steps, "step")
    progress.update(start)
    seen, began = 0, time.perf_counter()
    with StopRequest() as stop, noisy(work.adapted.model, options.neftune):
        for step in range(start, plan.steps):
            began_step = time.perf_counter()
            rate = _learning_rate(work, step)
            result = take(work, optimizer, step, rate)
            signal = work.world.asked(stop.signal)
            if not finite(result):
                _not_a_number(work, step, result)
            seconds = time.perf_counter() - began_step
            seen += result.tokens
            done = step + 1
            log.stepped(done, result, rate, seconds, every=work.recipe.train.log_every, last=plan.steps)
            progress.update(done, f"loss {result.loss:.3f} · {seen / (time.perf_counter() - began):,.0f} tokens/s")
            if work.measure is not None and (done % plan.evaluate_every == 0 or done == plan.steps):
                log.measured(done, work.measure(work.adapted.model))
                work.adapted.model.train()
            if done % plan.checkpoint_every == 0 or done == plan.steps or signal:
                checkpoint.save(run, done, work.adapted, optimizer, key=work.key)
                log.saved(done)
            if signal:
                run.log("state", stage="train", state="interrupted", step=done, signal=signal)
                raise Interrupted(
                    f"stopped by {signal} after step {done} of {plan.steps}; everything is saved",
                    hint="type the same command again: it goes on from this step",
                    place=str(run.path),
                )
    progress.end()
    return Outcome(start, peak_memory())


def _learning_rate(work: Work, step: int) -> float:
    schedule = work.recipe.train.schedule
    factor = locate(schedule)(schedule, step, steps=work.plan.steps, warmup_steps=work.plan.warmup_steps)
    return float(work.plan.learning_rate * factor)


def _not_a_number(work: Work, step: int, result: StepResult) -> None:
    texts = work.objective.texts
    rows = [str(work.rows[i * texts].source) for i in examples_of(work, step)]
    work.run.log("warning", text="loss or gradient is not a number", step=step + 1, rows=rows)
    raise Failed(
        f"the loss ({result.loss}) or its gradient ({result.grad_norm}) is not a number at step {step + 1}; its rows "
        "are in events.jsonl",
        hint=f"start a new run with a smaller rate: `--set train.learning_rate={work.plan.learning_rate / 3:.0e}`",
        place=str(work.run.path),
    )


def peak_memory() -> int:
    """Return the largest memory this process has held, in bytes: of the GPU where there is one."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):  # of this process alone; getrusage carries a parent's over
            return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
