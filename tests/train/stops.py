"""Somebody who ends a training in its middle, as a person or a scheduler does."""

import os
import signal

from luthier.core.progress import Silent


class StopsAt(Silent):
    """Watches, and asks the process to end after a step."""

    def __init__(self, step: int) -> None:
        self.step = step
        self.stage = ""

    def start(self, stage: str, total: int, unit: str) -> None:
        self.stage = stage

    def update(self, done: int, note: str = "") -> None:
        if self.stage == "train" and done == self.step:
            os.kill(os.getpid(), signal.SIGTERM)
