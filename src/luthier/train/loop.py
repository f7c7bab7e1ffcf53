"""The training loop: next rows, loss, backward, step, log, measure?, save? One loop, whatever is learned.

A run killed anywhere goes on to the same bits: order, packs and random numbers are functions of (seed, step), and
a checkpoint holds everything else. Steps that were logged before the kill are computed again, not logged again;
their losses must repeat, and a difference is told.
"""

import resource
import time
from dataclasses import replace
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
from luthier.train.scale import NONE, Scale
from luthier.train.state import State
from luthier.train.step import examples_of, finite, take
from luthier.train.watch import StopRequest
from luthier.train.work import StepResult, Work


class Outcome(NamedTuple):
    """What a finished training gave beside its events."""

    resumed_from: int
    peak_memory_bytes: int
    steps: int
    """Steps done: fewer than planned where early stopping ended it."""
    kept: int
    """The step after which the model had the weights it has now: the last, or the best."""


def train(work: Work, progress: Progress) -> Outcome:
    """Train from the newest checkpoint, or from the start, to the end; leave the weights asked for in the model.

    Raises:
        Failed: The loss is not a number, or the disk is full; the last checkpoint is kept.
        Interrupted: Ctrl-C or SIGTERM; the state is saved first.
    """
    plan, run = work.plan, work.run
    options = work.recipe.train
    optimizer = optimizer_of(
        options.optimizer, work.adapted, learning_rate=plan.learning_rate, weight_decay=options.weight_decay
    )
    restored = checkpoint.restore(run, work.adapted, optimizer, key=work.key, world=work.world)
    log = History(run)
    if restored:
        run.log("state", stage="train", state="resumed", step=restored.step)
        log.saved(restored.step)
    elif work.measure is not None:
        log.measured(0, work.measure(work.adapted.model))
    if work.sample is not None and not restored:
        work.sample(work.adapted.model, 0)
    state = restored or State(scale=Scale() if plan.precision == "fp16" else NONE)
    start = state.step
    work.adapted.model.train()
    progress.start("train", plan.steps, "step")
    progress.update(start)
    seen, began = 0, time.perf_counter()
    with StopRequest() as stop, noisy(work.adapted.model, options.neftune):
        while state.step < plan.steps and not state.stopped:
            began_step = time.perf_counter()
            rate = _learning_rate(work, state.step)
            result, scale = take(work, optimizer, state.step, rate, state.scale)
            if not finite(result):
                _not_a_number(work, state.step, result)
            seconds = time.perf_counter() - began_step
            seen += result.tokens
            state = replace(state, step=state.step + 1, scale=scale)
            done = state.step
            log.stepped(done, result, rate, seconds, every=options.log_every, last=plan.steps)
            progress.update(done, f"loss {result.loss:.3f} · {seen / (time.perf_counter() - began):,.0f} tokens/s")
            measured = done % plan.evaluate_every == 0 or done == plan.steps
            if work.measure is not None and measured:
                held_out = work.measure(work.adapted.model)
                log.measured(done, held_out)
                state = state.measured(held_out, options)
                work.adapted.model.train()
            if work.sample is not None and measured:
                work.sample(work.adapted.model, done)
            signal = work.world.asked(stop.signal or ("a callback" if run.stop_asked else None))
            if _due(work, state) or signal:
                checkpoint.save(run, state, work.adapted, optimizer, key=work.key, keep=options.checkpoints)
                log.saved(done)
            if signal:
                run.log("state", stage="train", state="interrupted", step=done, signal=signal)
                raise Interrupted(
                    f"stopped by {signal} after step {done} of {plan.steps}; everything is saved",
                    hint="type the same command again: it goes on from this step",
                    place=str(run.path),
                )
    progress.end()
    return Outcome(start, peak_memory(), state.step, _choose(work, state))


def _due(work: Work, state: State) -> bool:
    """Return whether a checkpoint is to be written after a step."""
    last = state.stopped or state.step == work.plan.steps
    best = work.recipe.train.keep == "best" and state.best_step == state.step
    return last or best or state.step % work.plan.checkpoint_every == 0


def _choose(work: Work, state: State) -> int:
    """Put the weights the recipe asks for into the model, and return after which step it had them."""
    best = state.best_step
    if work.recipe.train.keep == "last" or best is None or best == state.step:
        return state.step
    if checkpoint.load_weights(work.run, best, work.adapted, key=work.key, world=work.world):
        return best
    text = f"the best checkpoint (step {best}) is missing or damaged, so the model has the last weights"
    work.run.log("warning", step=best, text=text)
    return state.step


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
