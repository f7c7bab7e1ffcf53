"""What every tracker is: told a run's events with their numbers, it shows each once, however often it is told.

`events.jsonl` is the source. A tracker is told all of it when a training begins or goes on, and then what happens; so
a run that was killed has no gap and no step twice, and a view can be made of a run that never had one.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from luthier.core.errors import Failed
from luthier.core.files import digest
from luthier.core.run import Run
from luthier.recipe.options import Method, locate


@dataclass(frozen=True, slots=True)
class Tracked:
    """The run that is shown."""

    name: str
    """Of its folder."""
    identity: str
    """The same wherever the folder is moved to, and no other run's: made of its first event."""
    folder: Path
    """Where a tracker keeps what it keeps in the run."""
    config: Mapping[str, Any]
    """The recipe, as flat keys."""


class Tracker(Protocol):
    """Somebody who shows events. Made by `locate(options)(options, tracked)`."""

    look: str
    """What to type to look at it."""

    def tell(self, events: Sequence[tuple[int, Mapping[str, Any]]]) -> None:
        """Show events, each with its number in the run from 0; those shown before are left out."""
        ...

    def close(self) -> None:
        """Finish what was begun to be written."""
        ...


def metrics(event: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of an event under their usual names: `train/loss`, `eval/accuracy`; none of other kinds."""
    place = {"step": "train", "eval": "eval"}.get(event["kind"])
    if place is None:
        return {}
    return {
        f"{place}/{name}": float(value)
        for name, value in event.items()
        if name not in ("time", "step") and isinstance(value, int | float) and not isinstance(value, bool)
    }


def tracked(run: Run, config: Mapping[str, Any]) -> Tracked:
    """Return a run as trackers see it.

    Args:
        run: It has at least one event.
        config: Its recipe.
    """
    path = run.path.resolve()
    return Tracked(path.name, digest([run.events()[0]])[:16], path / "train", dict(_flat(config)))


def _flat(config: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


@contextmanager
def tracking(run: Run, config: Mapping[str, Any], trackers: Sequence[Method]) -> Iterator[None]:
    """Show the run in each of these, from its first event on, while this is open.

    Raises:
        Failed: A tracker can't begin.
    """
    if not (trackers and run.writes):
        yield
        return
    with ExitStack() as stack:
        for options in trackers:
            stack.enter_context(_following(run, config, options))
        yield


@contextmanager
def _following(run: Run, config: Mapping[str, Any], options: Method) -> Iterator[None]:
    number = len(run.events())
    tracker = shown(run, config, options)

    def follow(event: dict[str, Any]) -> None:
        nonlocal number
        tracker.tell([(number, event)])
        number += 1

    follow.__qualname__ = type(options).__name__
    try:
        with run.listening(follow):
            yield
    finally:
        try:
            tracker.close()
        except Exception as error:  # somebody else's package: it must not take the trained model with it
            run.log("warning", text=f"`{follow.__qualname__}` could not finish ({type(error).__name__}: {error})")


def shown(run: Run, config: Mapping[str, Any], options: Method) -> Tracker:
    """Return a tracker that shows the run so far.

    Raises:
        Failed: It can't begin, whatever its package says.
    """
    try:
        tracker: Tracker = locate(options)(options, tracked(run, config))
        tracker.tell([*enumerate(run.events())])
    except Exception as error:  # somebody else's package, server or account
        raise Failed(
            f"{type(options).__name__} can't begin ({type(error).__name__}: {error})",
            hint="mend that, or leave it out of `train.track`",
        ) from error
    return tracker
