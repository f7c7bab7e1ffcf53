"""The events of a training: told once, also over kills and restarts."""

from luthier.core.run import Run
from luthier.train import checkpoint
from luthier.train.resources import Meter
from luthier.train.work import HeldOut, StepResult


class History:
    """The events of one training: told once, also over kills and restarts."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.meter = Meter()
        self.steps = {event["step"]: event["loss"] for event in run.events("step")}
        self.evals = {event["step"] for event in run.events("eval")}
        self.saves = {event["step"] for event in run.events("checkpoint")}

    def stepped(self, step: int, result: StepResult, rate: float, seconds: float, *, every: int, last: int) -> None:
        """Tell a step, unless it was told before the process died; then its loss must be the same."""
        if step in self.steps:
            if self.steps[step] != result.loss:
                text = f"repeated step {step} gave loss {result.loss!r}, before {self.steps[step]!r}"
                self.run.log("warning", step=step, text=f"{text}: machine, threads, processes or software changed")
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
                **self.meter.read(),
                **result.figures,
            )

    def measured(self, step: int, held_out: HeldOut) -> None:
        """Tell a held-out loss once."""
        if step not in self.evals:
            self.run.log("eval", step=step, loss=held_out.loss, tokens=held_out.tokens, **held_out.figures)

    def saved(self, step: int) -> None:
        """Tell a checkpoint once."""
        if step not in self.saves:
            self.run.log("checkpoint", step=step, path=f"checkpoints/{checkpoint.folder_name(step)}")
