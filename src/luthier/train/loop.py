"""The training loop: next rows, loss, backward, step, log, measure?, save? One loop, whatever is learned.

A run killed anywhere goes on to the same bits: order, packs and random numbers are functions of (seed, step), and
a checkpoint holds everything else. Steps that were logged before the kill are computed again, not logged again;
their losses must repeat, and a difference is told.
"""

import math
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from luthier.core.errors import Failed, Interrupted
from luthier.core.progress import Progress
from luthier.core.run import Run
from luthier.model.adapters.adapted import Adapted
from luthier.model.forward import batching, precise
from luthier.recipe.options import locate
from luthier.recipe.plan import Plan
from luthier.recipe.schema import Recipe
from luthier.tokens.batch import members
from luthier.tokens.render import Encoded
from luthier.train import checkpoint
from luthier.train.noise import noisy
from luthier.train.optim import optimizer_of, set_rate
from luthier.train.watch import StopRequest


class HeldOut(NamedTuple):
    """A measurement on rows that are not learned from."""

    loss: float
    """Nats per learned token."""
    tokens: int
    """Learned tokens it rests on."""


Measure = Callable[[Any], HeldOut]
"""Takes the model in training, returns the held-out loss. The workflow brings it, from the evaluation stage."""


class StepResult(NamedTuple):
    """What one optimizer step gave."""

    loss: float
    grad_norm: float
    tokens: int
    supervised_tokens: int


class Outcome(NamedTuple):
    """What a finished training gave beside its events."""

    resumed_from: int
    peak_memory_bytes: int


@dataclass(frozen=True, slots=True)
class Work:
    """Everything one training needs, put together by the workflow."""

    recipe: Recipe
    plan: Plan
    run: Run
    key: str
    """Hash of all that the weights depend on; a checkpoint with another is refused."""
    adapted: Adapted
    rows: Sequence[Encoded]
    measure: Measure | None
    """None when no row was held out."""


def train(work: Work, progress: Progress) -> Outcome:
    """Train from the newest checkpoint, or from the start, to the end of the plan.

    Raises:
        Failed: The loss is not a number, or the disk is full; the last checkpoint is kept.
        Interrupted: Ctrl-C or SIGTERM; the state is saved first.
    """
    plan, run = work.plan, work.run
    objective = locate(work.recipe.train.objective)
    options = work.recipe.train
    optimizer = optimizer_of(
        options.optimizer, work.adapted, learning_rate=plan.learning_rate, weight_decay=options.weight_decay
    )
    start = checkpoint.restore(run, work.adapted, optimizer, key=work.key)
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
            result = _step(work, objective, optimizer, step, rate)
            seconds = time.perf_counter() - began_step
            seen += result.tokens
            done = step + 1
            log.stepped(done, result, rate, seconds, every=work.recipe.train.log_every, last=plan.steps)
            progress.update(done, f"loss {result.loss:.3f} · {seen / (time.perf_counter() - began):,.0f} tokens/s")
            if work.measure is not None and (done % plan.evaluate_every == 0 or done == plan.steps):
                log.measured(done, work.measure(work.adapted.model))
                work.adapted.model.train()
            if done % plan.checkpoint_every == 0 or done == plan.steps or stop.signal:
                checkpoint.save(run, done, work.adapted, optimizer, key=work.key)
                log.saved(done)
            if stop.signal:
                run.log("state", stage="train", state="interrupted", step=done, signal=stop.signal)
                raise Interrupted(
                    f"stopped by {stop.signal} after step {done} of {plan.steps}; everything is saved",
                    hint="type the same command again: it goes on from this step",
                    place=str(run.path),
                )
    progress.end()
    return Outcome(start, peak_memory())


def _learning_rate(work: Work, step: int) -> float:
    schedule = work.recipe.train.schedule
    factor = locate(schedule)(schedule, step, steps=work.plan.steps, warmup_steps=work.plan.warmup_steps)
    return float(work.plan.learning_rate * factor)


def _step(work: Work, objective: Any, optimizer: torch.optim.Optimizer, step: int, rate: float) -> StepResult:
    """Take one optimizer step and return what it gave; `step` counts from 0."""
    plan, adapted = work.plan, work.adapted
    seed = work.recipe.train.seed
    torch.manual_seed(seed * 1_000_003 + step)
    chosen = members(step, len(work.rows), batch_size=plan.batch_size, seed=seed)
    padded = batching(work.adapted.model).way == "padded"
    batch = objective.collate(work.rows, chosen, plan.pack_tokens, padded=padded)
    supervised = sum(len(pack.targets) for pack in batch)
    parameters = list(adapted.trainable.values())
    total = torch.zeros((), dtype=torch.float64, device=parameters[0].device)
    for pack in batch:
        with precise(adapted.model, plan.precision):
            loss = objective.loss(adapted.model, pack)
        (loss / supervised).backward()
        total += loss.detach().double()
    norm = torch.nn.utils.clip_grad_norm_(parameters, work.recipe.train.clip)
    mean, length = (total / supervised).item(), norm.item()
    if not (math.isfinite(mean) and math.isfinite(length)):
        _not_a_number(work, step, chosen, mean, length)
    set_rate(optimizer, rate)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return StepResult(mean, length, sum(pack.tokens for pack in batch), supervised)


def _not_a_number(work: Work, step: int, chosen: Sequence[int], loss: float, norm: float) -> None:
    rows = [str(work.rows[i].source) for i in chosen]
    work.run.log("warning", text="loss or gradient is not a number", step=step + 1, rows=rows)
    raise Failed(
        f"the loss ({loss}) or its gradient ({norm}) is not a number at step {step + 1}; its rows are in events.jsonl",
        hint=f"start a new run with a smaller rate: `--set train.learning_rate={work.plan.learning_rate / 3:.0e}`",
        place=str(work.run.path),
    )


class History:
    """The events of one training: told once, also over kills and restarts."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.steps = {event["step"]: event["loss"] for event in run.events("step")}
        self.evals = {event["step"] for event in run.events("eval")}
        self.saves = {event["step"] for event in run.events("checkpoint")}

    def stepped(self, step: int, result: StepResult, rate: float, seconds: float, *, every: int, last: int) -> None:
        """Tell a step, unless it was told before the process died; then its loss must be the same."""
        if step in self.steps:
            if self.steps[step] != result.loss:
                text = f"repeated step {step} gave loss {result.loss!r}, before {self.steps[step]!r}"
                self.run.log("warning", step=step, text=f"{text}: machine, threads or software changed")
            return
        if step % every == 0 or step in (1, last):
            self.run.log(
                "step",
                step=step,
                loss=result.loss,
                learning_rate=rate,
                grad_norm=result.grad_norm,
                tokens=result.tokens,
                supervised_tokens=result.supervised_tokens,
                seconds=round(seconds, 4),
            )

    def measured(self, step: int, held_out: HeldOut) -> None:
        """Tell a held-out loss once."""
        if step not in self.evals:
            self.run.log("eval", step=step, loss=held_out.loss, tokens=held_out.tokens)

    def saved(self, step: int) -> None:
        """Tell a checkpoint once."""
        if step not in self.saves:
            self.run.log("checkpoint", step=step, path=f"checkpoints/{checkpoint.folder_name(step)}")


def peak_memory() -> int:
    """Return the largest memory this process has held, in bytes: of the GPU where there is one."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):  # of this process alone; getrusage carries a parent's over
            return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
