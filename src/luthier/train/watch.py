"""What a training is watched for: signals from outside, and trouble that shows in what it tells.

Trouble is told with its cause and a remedy, and never changes the training. It is a function of the events told, so
a resumed run finds the same.
"""

import signal
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from types import FrameType
from typing import Any, NamedTuple

WINDOW = 20
"""Steps that stand for the present: those a new one is compared with."""


class StopRequest:
    """Listens for Ctrl-C and SIGTERM while it is open. The first asks, the second ends the process at once.

    Only the main thread can listen: in another, what called luthier has the signals.
    """

    def __init__(self) -> None:
        self.signal: str | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "StopRequest":
        for number in (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ():
            self._before[number] = signal.signal(number, self._asked)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _asked(self, number: int, _frame: FrameType | None) -> None:
        if self.signal is not None:
            raise KeyboardInterrupt
        self.signal = signal.Signals(number).name


class Trouble(NamedTuple):
    """Something a person should look at."""

    about: str
    text: str
    hint: str


class Watch:
    """Looks at `step` and `eval` events in their order. Each kind of trouble is told at most once in `WINDOW` steps."""

    def __init__(self) -> None:
        self._losses: deque[float] = deque(maxlen=WINDOW)
        self._speeds: deque[float] = deque(maxlen=2 * WINDOW)
        self._waits: deque[tuple[float, float]] = deque(maxlen=WINDOW)
        self._evals: deque[float] = deque(maxlen=3)
        self._first: float | None = None
        self._lowest = float("inf")
        self._best = float("inf")
        self._at_best: list[float] = []
        """The training losses before the lowest held-out loss."""
        self._before: float | None = None
        """The first held-out loss."""
        self._seen = 0
        self._quiet: dict[str, int] = {}

    def look(self, event: Mapping[str, Any]) -> Iterator[Trouble]:
        """Yield what an event shows."""
        self._seen += event["kind"] == "step"
        found = self._step(event) if event["kind"] == "step" else self._eval(event)
        for trouble in found:
            if self._quiet.get(trouble.about, -WINDOW) + WINDOW <= self._seen:
                self._quiet[trouble.about] = self._seen
                yield trouble

    def _step(self, event: Mapping[str, Any]) -> Iterator[Trouble]:
        loss, full = float(event["loss"]), len(self._losses) == WINDOW
        if full:
            yield from self._spike(loss, event["step"])
        self._losses.append(loss)
        self._at_best = self._at_best or [loss]
        if full:
            yield from self._trend()
        if event.get("seconds"):
            yield from self._stalled(event.get("waited", 0.0), event["seconds"])
            yield from self._slow(event["tokens"] / event["seconds"])

    def _spike(self, loss: float, step: int) -> Iterator[Trouble]:
        """A robust z-score: the distance from the median in median absolute deviations (Iglewicz & Hoaglin 1993)."""
        middle = median(self._losses)
        spread = 1.4826 * median(abs(other - middle) for other in self._losses)
        if loss > middle + max(8 * spread, 0.5 * abs(middle)):
            text = f"the loss jumped to {loss:.3f} at step {step}, from {middle:.3f} in the {WINDOW} steps before"
            yield Trouble("spike", text, "look at the rows of that step; if it stays up, lower `train.learning_rate`")

    def _trend(self) -> Iterator[Trouble]:
        middle = median(self._losses)
        self._first = middle if self._first is None else self._first
        if middle > self._lowest + max(0.2 * abs(self._lowest), 0.05):
            text = (
                f"training diverges: the loss has risen from {self._lowest:.3f} to {middle:.3f} ({WINDOW} steps each)"
            )
            yield Trouble("divergence", text, "lower `train.learning_rate`, or give it a longer warm-up")
        elif self._seen >= 5 * WINDOW and self._lowest > 0.99 * self._first and self._first > 0.05:
            text = f"the loss has not fallen in {self._seen} steps: {self._first:.3f} first, {middle:.3f} now"
            hint = "raise `train.learning_rate` or the rank, and look at the rows with `luthier inspect`"
            yield Trouble("plateau", text, hint)
        self._lowest = min(self._lowest, middle)

    def _stalled(self, waited: float, seconds: float) -> Iterator[Trouble]:
        self._waits.append((waited, seconds))
        waits, all_seconds = (sum(column) for column in zip(*self._waits, strict=True))
        if len(self._waits) == WINDOW and waits > all_seconds / 2:
            text = f"training waits for its rows: {waits / all_seconds:.0%} of the time of the last {WINDOW} steps"
            hint = "is the disk that holds the run slow, far away or busy? copy the run to a local one"
            yield Trouble("stalled", text, hint)

    def _slow(self, speed: float) -> Iterator[Trouble]:
        self._speeds.append(speed)
        before, now = [*self._speeds][:WINDOW], [*self._speeds][WINDOW:]
        if len(now) == WINDOW and median(now) < 0.4 * median(before):
            text = f"training has slowed down to {median(now):,.0f} tokens/s, from {median(before):,.0f}"
            hint = "is the machine busy, hot or out of memory, or the disk that holds the rows slow? see `top` and `df`"
            yield Trouble("slow", text, hint)

    def _eval(self, event: Mapping[str, Any]) -> Iterator[Trouble]:
        loss = float(event["loss"])
        self._evals.append(loss)
        self._before = first = loss if self._before is None else self._before
        lowest = min(self._best, loss)
        if (
            len(self._evals) == 3
            and all(risen(other, lowest=lowest, first=first) for other in [*self._evals][1:])
            and loss > self._evals[0]
        ):
            told = f"the held-out loss rises: {lowest:.3f} at its lowest, {loss:.3f} now"
            if memorising(self._at_best, self._losses):
                hint = "set `train.early_stopping` or fewer `train.epochs`; more data helps most"
                yield Trouble("overfitting", f"{told}; the model begins to memorise", hint)
            else:
                text = f"{told}, and the training loss with it: the steps are too large"
                yield Trouble("overshooting", text, "lower `train.learning_rate`")
        if loss <= lowest:
            self._at_best = [*self._losses]
        self._best = lowest


def memorising(at_best: Sequence[float], now: Sequence[float]) -> bool:
    """Say whether the training loss has not risen since the held-out loss was lowest.

    If it has, rows are not learned by heart: the steps overshoot. Where no step was told, it is taken not to have.
    """
    return not at_best or not now or median(now) <= median(at_best)


def risen(loss: float, *, lowest: float, first: float) -> bool:
    """Return whether a loss is above the lowest by 2 % of that, or of how far it had fallen, if that is more.

    Losses of preferences fall to next to nothing, and below zero: there a share of the lowest alone says nothing.
    """
    return loss - lowest > 0.02 * max(abs(lowest), first - lowest)
