"""One optimizer step: examples to packs, packs to gradients, gradients to weights.

Of several processes each computes its share of the packs; the sums are the same step.
"""

import math
import time
from collections.abc import Sequence

import numpy as np
import torch

from luthier.core.errors import Failed
from luthier.model.forward import batching, precise
from luthier.model.generate import without_dropout
from luthier.tokens.batch import members
from luthier.tokens.pack import Pack
from luthier.train.objectives.objective import Looks, Totals
from luthier.train.optim import set_rate
from luthier.train.parallel import out_of_memory, whole
from luthier.train.scale import NONE, Scale
from luthier.train.work import StepResult, Work


def examples_of(work: Work, step: int) -> Sequence[int]:
    """Return the examples of an optimizer step, counted from 0: a pure function of the plan."""
    return members(step, work.examples, batch_size=work.plan.batch_size, seed=work.recipe.train.seed)


def take(
    work: Work,
    optimizer: torch.optim.Optimizer,
    step: int,
    rate: float,
    scale: Scale = NONE,
    pack_tokens: int | None = None,
) -> tuple[StepResult, Scale]:
    """Take one optimizer step, counted from 0, and return what it gave, and the loss scale for the next.

    Weights stay as they are when the loss or the gradient is not a number: see `finite`.

    Args:
        work: The training.
        optimizer: Its optimizer.
        step: Which step.
        rate: Its learning rate.
        scale: Factor on the loss in the backward pass; other than 1 in fp16 only.
        pack_tokens: Tokens of a forward pass; None for those of the plan.

    Raises:
        torch.OutOfMemoryError: Weights and the optimizer's state are as they were.
        Failed: Memory ran out while weights were changed.
    """
    while True:
        result = _gradients(work, step, scale.factor, pack_tokens or work.plan.pack_tokens)
        overflow = math.isfinite(result.loss) and not math.isfinite(result.grad_norm)
        if not (overflow and scale.factor > 1):
            break
        scale = scale.lowered()
        optimizer.zero_grad(set_to_none=True)
    if finite(result):
        set_rate(optimizer, rate)
        _move(work, optimizer, step)
    optimizer.zero_grad(set_to_none=True)
    return result, scale.stepped() if work.plan.precision == "fp16" else scale


def _gradients(work: Work, step: int, factor: float, pack_tokens: int) -> StepResult:
    """Leave the clipped gradients of a step in the parameters, and return what it gives."""
    adapted, objective = work.adapted, work.objective
    began = time.perf_counter()
    world, examples = work.world, examples_of(work, step)
    padded = batching(adapted.model).way == "padded"
    capacity = world.capacity(_lengths(work, examples), pack_tokens)
    batch = objective.collate(work.rows, examples, capacity, padded=padded)
    waited = time.perf_counter() - began
    totals = objective.totals(batch)
    turns = world.turns([pack.tokens for pack in batch])
    if isinstance(objective, Looks):
        totals = totals._replace(seen=_seen(work, objective, batch, [number for number, _ in turns]))
    parameters = list(adapted.trainable.values())
    with world.fitting():
        loss, figures = _backward(work, step, batch, turns, totals, factor)
    _add_gradients(work, parameters, step)
    if factor != 1:
        torch._foreach_div_([parameter.grad for parameter in parameters if parameter.grad is not None], factor)
    norm = whole(torch.nn.utils.clip_grad_norm_(parameters, work.recipe.train.clip))
    told = world.sums({"loss": loss.item()} | {name: figure.item() for name, figure in figures.items()})
    tokens = sum(pack.tokens for pack in batch)
    return StepResult(told.pop("loss"), norm.item(), tokens, totals.supervised, told, waited)


def _add_gradients(work: Work, parameters: Sequence[torch.nn.Parameter], step: int) -> None:
    """Replace gradients by their sums over processes; a process that can't must not try again: the others wait."""
    try:
        work.world.add_gradients(parameters)
    except torch.OutOfMemoryError as error:
        raise Failed(
            f"memory ran out while gradients of step {step + 1} were summed; the last checkpoint is whole",
            hint="a smaller `train.max_length`, or fewer trained weights, in a new run with another `--out`",
            place=str(work.run.path),
        ) from error


def _backward(
    work: Work, step: int, batch: Sequence[Pack], turns: Sequence[tuple[int, bool]], totals: Totals, factor: float
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Leave the gradients of this process's packs in the parameters, and return their loss and figures."""
    adapted = work.adapted
    loss = torch.zeros((), dtype=torch.float64, device=next(iter(adapted.trainable.values())).device)
    figures: dict[str, torch.Tensor] = {}
    for number, counts in turns:
        seed_pack(work, step, number)
        with precise(adapted.model, work.plan.precision):
            share = work.objective.loss(adapted.model, batch[number], totals)
        if not counts:
            (0 * share.loss).backward()  # type: ignore[no-untyped-call]
            continue
        (factor * share.loss).backward()  # type: ignore[no-untyped-call]
        loss += share.loss.detach().double()
        for name, figure in share.figures.items():
            figures[name] = figures.get(name, 0) + figure.double()
    return loss, figures


def _seen(work: Work, objective: Looks, batch: Sequence[Pack], mine: Sequence[int]) -> float:
    """Return what an objective sees in all packs of a step before the loss of any.

    Without dropout and noise, as `train.reference` saw the base: it draws no random number.
    """
    model, world = work.adapted.model, work.world
    with torch.no_grad(), without_dropout(model), precise(model, work.plan.precision):
        if world.spread:  # each look may take another number of passes, and all processes must take part in each
            return sum(objective.look(model, pack).item() for pack in batch)
        with world.fitting():
            seen = sum(objective.look(model, batch[number]).item() for number in mine)
        return world.sums({"seen": seen})["seen"]


def _move(work: Work, optimizer: torch.optim.Optimizer, step: int) -> None:
    try:
        optimizer.step()
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        # Some weights have moved: the step can't be taken again from here.
        raise Failed(
            f"memory ran out while step {step + 1} changed the weights; the last checkpoint is whole",
            hint="`--set train.optimizer=adafactor` keeps less; a new run needs another `--out`",
            place=str(work.run.path),
        ) from error


def seed_pack(work: Work, step: int, number: int) -> None:
    """Start the random numbers of one pack anew: whoever computes it, after whatever, draws the same."""
    seed = np.random.SeedSequence([work.recipe.train.seed, step, number]).generate_state(1)[0]
    torch.manual_seed(int(seed))


def _lengths(work: Work, examples: Sequence[int]) -> list[int]:
    """Return the tokens each example may take in a pack: all its texts, as wide as the longest."""
    texts = work.objective.texts
    return [texts * max(work.rows[i * texts + text].length for text in range(texts)) for i in examples]


def finite(result: StepResult) -> bool:
    """Return whether loss and gradient are numbers."""
    return math.isfinite(result.loss) and math.isfinite(result.grad_norm)
