"""The events of a training: told once, also over kills and restarts."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from luthier.core.run import Run
from luthier.train import checkpoint
from luthier.train.resources import Meter
from luthier.train.state import State
from luthier.train.watch import Watch
from luthier.train.work import HeldOut, StepResult


def lasting(events: Iterable[Mapping[str, Any]], *kinds: str) -> list[Mapping[str, Any]]:
    """Return the events of some kinds, oldest first, without those that a `rollback` undid."""
    found: list[Mapping[str, Any]] = []
    for event in events:
        if event["kind"] == "rollback":
            found = [earlier for earlier in found if earlier.get("step", 0) <= event["step"]]
        elif event["kind"] in kinds:
            found.append(event)
    return found


class History:
    """The events of one training: told once, also over kills and restarts."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.meter = Meter()
        self._remember()

    def _remember(self) -> None:
        """Take in what was told so far."""
        events = self.run.events()
        self.steps = {event["step"]: event["loss"] for event in lasting(events, "step")}
        self.evals = {event["step"] for event in lasting(events, "eval")}
        self.saves = {event["step"] for event in lasting(events, "checkpoint")}
        self.rollbacks = sum(event["kind"] == "rollback" for event in events)
        self.warned = {(event.get("about"), event.get("step")) for event in lasting(events, "warning")}
        self.watch = Watch()
        for event in lasting(events, "step", "eval"):
            self._look(event)

    def stepped(self, step: int, result: StepResult, rate: float, seconds: float, *, every: int, last: int) -> None:
        """Tell a step, unless it was told before the process died; then its loss must be the same."""
        if step in self.steps:
            if self.steps[step] != result.loss:
                text = f"repeated step {step} gave loss {result.loss!r}, before {self.steps[step]!r}"
                self.run.log("warning", step=step, text=f"{text}: machine, threads, processes or software changed")
            return
        if step % every == 0 or step == last or not self.steps:
            self.steps[step] = result.loss
            self._tell(
                "step",
                step=step,
                loss=result.loss,
                learning_rate=rate,
                grad_norm=result.grad_norm,
                tokens=result.tokens,
                supervised_tokens=result.supervised_tokens,
                seconds=round(seconds, 4),
                waited=round(result.waited, 4),
                **self.meter.read(),
                **result.figures,
            )

    def measured(self, step: int, held_out: HeldOut) -> None:
        """Tell a held-out loss once."""
        if step not in self.evals:
            self.evals.add(step)
            self._tell("eval", step=step, loss=held_out.loss, tokens=held_out.tokens, **held_out.figures)

    def saved(self, step: int) -> None:
        """Tell a checkpoint once."""
        if step not in self.saves:
            self.saves.add(step)
            self.run.log("checkpoint", step=step, path=f"checkpoints/{checkpoint.folder_name(step)}")

    def rolled_back(self, state: State) -> None:
        """Tell that training went back to the step of `state`; what was told of later ones no longer counts."""
        if state.rollbacks > self.rollbacks:
            self.run.log("rollback", step=state.step, rate=state.rate)
            self._remember()

    def warn(self, about: str, step: int, text: str, **more: Any) -> None:
        """Tell a warning once."""
        if (about, step) not in self.warned:
            self.warned.add((about, step))
            self.run.log("warning", about=about, step=step, text=text, **more)

    def skipped(self, step: int, result: StepResult, rows: Sequence[str]) -> None:
        """Tell a step that left the weights as they were."""
        found = f"its loss ({result.loss:.4g}) or gradient ({result.grad_norm:.4g})"
        text = f"step {step} was skipped: {found} is not a number"
        self.warn("skipped", step, text, rows=rows)

    def _tell(self, kind: str, **fields: Any) -> None:
        self.run.log(kind, **fields)
        self._look({"kind": kind, **fields})

    def _look(self, event: Mapping[str, Any]) -> None:
        for found in self.watch.look(event):
            self.warn(found.about, event["step"], found.text, hint=found.hint)
