"""The training loop: next rows, loss, backward, step, log, measure?, save? One loop, whatever is learned.

A run killed anywhere goes on to the same bits: order, packs and random numbers are functions of (seed, step), and
a checkpoint holds everything else. Steps that were logged before the kill are computed again, not logged again;
their losses must repeat, and a difference is told. What happens when something runs out or is no number is in
`train.rescue`.
"""

import time
from typing import NamedTuple

import torch

from luthier.core.errors import Interrupted
from luthier.core.hardware import peak_memory
from luthier.core.progress import Progress
from luthier.recipe.options import locate
from luthier.train import checkpoint
from luthier.train.history import History
from luthier.train.noise import noisy
from luthier.train.optim import optimizer_of
from luthier.train.rescue import IN_A_ROW, Saver, fitting, measured, roll_back, rows_of
from luthier.train.scale import NONE, Scale
from luthier.train.state import State
from luthier.train.step import finite
from luthier.train.watch import StopRequest
from luthier.train.work import Work


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
        Failed: The loss is not a number, memory or disk are full; the last checkpoint is kept.
        Interrupted: Ctrl-C or SIGTERM; the state is saved first.
    """
    plan, run = work.plan, work.run
    options = work.recipe.train
    optimizer = optimizer_of(
        options.optimizer, work.adapted, learning_rate=plan.learning_rate, weight_decay=options.weight_decay
    )
    restored = checkpoint.restore(run, work.adapted, optimizer, key=work.key, world=work.world)
    log = History(run)
    saver = Saver(work, optimizer, log)
    saver.needs_room()
    if restored:
        run.log("state", stage="train", state="resumed", step=restored.step)
        log.rolled_back(restored)
        log.saved(restored.step)
    elif work.measure is not None:
        log.measured(0, measured(work, 0))
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
            rate = _learning_rate(work, state)
            state, result = fitting(work, optimizer, state, rate, log)
            seconds = time.perf_counter() - began_step
            seen += result.tokens
            state = state.stepped(finite=finite(result))
            done = state.step
            if state.skipped:
                log.skipped(done, result, rows_of(work, done - 1))
                if state.skipped >= min(IN_A_ROW, plan.steps):
                    state = roll_back(work, optimizer, state, result, saver)
                    continue
            else:
                log.stepped(done, result, rate, seconds, every=options.log_every, last=plan.steps)
            progress.update(done, f"loss {result.loss:.3f} · {seen / (time.perf_counter() - began):,.0f} tokens/s")
            state = _looked(work, state, log)
            signal = work.world.asked(stop.signal or ("a callback" if run.stop_asked else None))
            last = state.stopped or done == plan.steps
            if last or signal or _due(work, state) or saver.owes():
                saver.save(state, must=bool(last or signal))
            if signal:
                raise _interrupted(work, done, signal)
    progress.end()
    return Outcome(start, _peak_memory(), state.step, _choose(work, state))


def _looked(work: Work, state: State, log: History) -> State:
    """Measure the held-out rows and ask for samples, where it is time for that; return what it changes."""
    plan, model = work.plan, work.adapted.model
    if state.step % plan.evaluate_every and state.step != plan.steps:
        return state
    if work.measure is not None:
        held_out = measured(work, state.step)
        log.measured(state.step, held_out)
        state = state.measured(held_out, work.recipe.train)
        model.train()
    if work.sample is not None:
        work.sample(model, state.step)
    return state


def _interrupted(work: Work, step: int, signal: str) -> Interrupted:
    work.run.log("state", stage="train", state="interrupted", step=step, signal=signal)
    return Interrupted(
        f"stopped by {signal} after step {step} of {work.plan.steps}; everything is saved",
        hint="type the same command again: it goes on from this step",
        place=str(work.run.path),
    )


def _due(work: Work, state: State) -> bool:
    """Return whether a checkpoint is to be written after a step."""
    best = work.recipe.train.keep == "best" and state.best_step == state.step
    return best or state.step % work.plan.checkpoint_every == 0


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


def _learning_rate(work: Work, state: State) -> float:
    schedule = work.recipe.train.schedule
    factor = locate(schedule)(schedule, state.step, steps=work.plan.steps, warmup_steps=work.plan.warmup_steps)
    return float(work.plan.learning_rate * factor * state.rate)


def _peak_memory() -> int:
    """Return the largest memory this process has held, in bytes: of the GPU where there is one."""
    return int(torch.cuda.max_memory_allocated()) if torch.cuda.is_available() else peak_memory()
