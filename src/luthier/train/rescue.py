"""What keeps a training going when memory or the disk is full, or a loss is not a number.

Every decision here goes into the state that a checkpoint keeps, so a resumed run takes the same way.
"""

import json
import shutil
from dataclasses import replace

import torch

from luthier.core.errors import DiskFull, Failed
from luthier.core.files import write_text
from luthier.core.text import human_bytes
from luthier.recipe.plan import kept_bytes
from luthier.tokens.pack import lengths_of
from luthier.train import checkpoint
from luthier.train.history import History
from luthier.train.parallel import out_of_memory
from luthier.train.state import State
from luthier.train.step import examples_of, take
from luthier.train.work import HeldOut, StepResult, Work

IN_A_ROW = 3
"""Steps that may be skipped one after another."""

DUMP = "not_a_number.jsonl"


# The disk --------------------------------------------------------------------------------------------------


class Saver:
    """Writes checkpoints; where the disk is full, training goes on and the next step tries again."""

    def __init__(self, work: Work, optimizer: torch.optim.Optimizer, log: History) -> None:
        self.work, self.optimizer, self.log = work, optimizer, log
        self._owed = False

    def needs_room(self) -> None:
        """Make sure, before time is spent, that the checkpoints a run keeps and its model will fit on the disk.

        Raises:
            DiskFull: They won't.
        """
        work, options = self.work, self.work.recipe.train
        if not work.run.writes:
            return
        weights = sum(parameter.numel() for parameter in work.adapted.trainable.values())
        frozen = sum(parameter.numel() for parameter in work.adapted.frozen.values())
        saved = sum(parameter.numel() for parameter in work.adapted.saved.values())
        one = 4 * saved + kept_bytes(options.optimizer)[0] * weights
        count = options.checkpoints + 1 + (options.keep == "best")  # a new one is whole before an old one goes
        model = (weights + frozen) * work.adapted.stored_dtype.itemsize
        home = work.run / "checkpoints"
        there = sum(path.stat().st_size for path in home.rglob("*") if path.is_file()) if home.is_dir() else 0
        needed, free = count * one + model - there, shutil.disk_usage(work.run.path).free
        if needed > free:
            raise DiskFull(
                f"the disk has {human_bytes(free)} free, and this run needs {human_bytes(needed)}: {count} checkpoints "
                f"of {human_bytes(one)} and a model of {human_bytes(model)}",
                hint="free some space, choose another disk with `--out`, or `--set train.checkpoints=1`",
                place=str(work.run.path),
            )

    def owes(self) -> bool:
        """Return whether a checkpoint could not be written, and now there may be room for it."""
        if not self._owed:
            return False
        work = self.work
        one = checkpoint.size(work.adapted, self.optimizer)
        return bool(work.world.from_first(lambda: shutil.disk_usage(work.run.path).free > 1.1 * one))

    def save(self, state: State, *, must: bool) -> None:
        """Write a checkpoint.

        Args:
            state: Where the training stands.
            must: Whether the process ends after this.

        Raises:
            DiskFull: It can't be written, and it must.
        """
        work, full = self.work, None
        keep = work.recipe.train.checkpoints
        try:
            checkpoint.save(work.run, state, work.adapted, self.optimizer, key=work.key, keep=keep)
        except DiskFull as error:
            full = error
        self._owed = bool(work.world.from_first(lambda: full is not None))
        if full and must:
            raise full
        if self._owed:
            text = f"the disk is full: no checkpoint of step {state.step}; training goes on, and tries again"
            self.log.warn("disk", state.step, text, hint="free some space")
        else:
            self.log.saved(state.step)


# Memory ----------------------------------------------------------------------------------------------------


def fitting(
    work: Work, optimizer: torch.optim.Optimizer, state: State, rate: float, log: History
) -> tuple[State, StepResult]:
    """Take a step; where memory runs out, take it again from its beginning in passes of half as many tokens.

    The rows of the step and their weights stay the same, so its loss does, up to rounding.

    Raises:
        Failed: Passes can't become smaller, or other processes wait inside theirs for this one's part of the weights.
    """
    while True:
        try:
            result, scale = take(work, optimizer, state.step, rate, state.scale, state.pack_tokens)
            return replace(state, scale=scale), result
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
        # The error is gone here, and with it what its frames held.
        optimizer.zero_grad(set_to_none=True)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        state = _halved(work, state, log)


def measured(work: Work, step: int) -> HeldOut:
    """Return what the model makes of the held-out rows.

    Raises:
        Failed: Memory runs out. A measurement needs less than a step, so smaller passes would not save the run.
    """
    assert work.measure is not None
    try:
        return work.measure(work.adapted.model)
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
    raise _too_little(work, f"memory ran out after step {step}, while the held-out rows were measured")


def _halved(work: Work, state: State, log: History) -> State:
    now = state.pack_tokens or work.plan.pack_tokens
    texts = work.objective.texts
    longest = int(lengths_of(work.rows).reshape(-1, texts).max(axis=1).max()) * texts
    half = max(now // 2, longest)
    step = state.step + 1
    if half >= now or work.world.spread:
        raise _too_little(work, f"memory ran out in step {step}, in a forward pass of at most {now:,} tokens")
    text = f"memory ran out in step {step}: from here on a forward pass has {half:,} tokens, not {now:,}"
    log.warn(
        "memory", step, text, hint=f"nothing needs doing; the next run can be planned so: max_length below {half:,}"
    )
    return replace(state, pack_tokens=half)


def _too_little(work: Work, problem: str) -> Failed:
    hint = (
        "`--set train.gradient_checkpointing=on`, a smaller `train.max_length`, `--technique qlora` or a smaller "
        "model, with another `--out`; the last checkpoint is kept"
    )
    return Failed(problem, hint=hint, place=str(work.run.path))


# Losses that are not numbers -------------------------------------------------------------------------------


def rows_of(work: Work, step: int) -> list[str]:
    """Return where the examples of a step, counted from 0, stand in the data."""
    return [str(work.rows[i * work.objective.texts].source) for i in examples_of(work, step)]


def roll_back(work: Work, optimizer: torch.optim.Optimizer, state: State, result: StepResult, saver: Saver) -> State:
    """Go back to the last checkpoint before steps were skipped, once, and on from there at a lower learning rate.

    Where there is none, training goes on from here: a step that is skipped leaves the weights as they are.

    Raises:
        Failed: That was done before. The rows of the skipped steps are in `not_a_number.jsonl`.
    """
    if state.rollbacks:
        raise _not_a_number(work, state, result)
    good = checkpoint.restore(work.run, work.adapted, optimizer, key=work.key, world=work.world, good=True)
    if good is None:
        state = state.slower()
    else:
        # One that was killed while it went back may find that the checkpoint knows already.
        state = replace(good if good.rollbacks else good.slower(), pack_tokens=state.pack_tokens)
        saver.save(state, must=False)
        checkpoint.forget_after(work.run, state.step, key=work.key)
    saver.log.rolled_back(state)
    work.adapted.model.train()
    return state


def _not_a_number(work: Work, state: State, result: StepResult) -> Failed:
    first, texts, lines = state.step - state.skipped, work.objective.texts, []
    for step in range(first, state.step):
        for row in (i * texts + text for i in examples_of(work, step) for text in range(texts)):
            ids = [int(token) for token in work.rows[row].input_ids]
            text = work.decode(ids) if work.decode else None
            about = {"step": step + 1, "row": str(work.rows[row].source), "text": text, "input_ids": ids}
            lines.append(json.dumps(about, ensure_ascii=False))
    if work.run.writes:
        write_text(work.run / DUMP, "".join(f"{line}\n" for line in lines))
    return Failed(
        f"the loss ({result.loss}) or its gradient ({result.grad_norm}) is not a number in steps {first + 1} to "
        f"{state.step}, at {state.rate:g} times the learning rate too; their rows are in {DUMP}",
        hint="look at these rows; then start a new run with a smaller rate: "
        f"`--set train.learning_rate={work.plan.learning_rate / 10:.0e}`",
        place=str(work.run.path),
    )
