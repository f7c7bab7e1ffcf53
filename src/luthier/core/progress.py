"""How a stage tells how far it is, without knowing who watches."""

from typing import Protocol


class Progress(Protocol):
    """Somebody who watches. A stage gets one and calls start, update, …, end; stages follow one another."""

    def start(self, stage: str, total: int, unit: str) -> None:
        """Begin a stage of `total` steps (0 when nobody can know), each called `unit`, in the singular."""
        ...

    def update(self, done: int, note: str = "") -> None:
        """Tell that `done` steps, counted from the stage's start, are done. May be called at any rate."""
        ...

    def end(self, note: str = "") -> None:
        """Tell that the stage is finished."""
        ...


class Silent:
    """Nobody watches: the default wherever a stage takes a `Progress`."""

    def start(self, stage: str, total: int, unit: str) -> None:
        """Do nothing."""

    def update(self, done: int, note: str = "") -> None:
        """Do nothing."""

    def end(self, note: str = "") -> None:
        """Do nothing."""
