"""Where people compare answers: a page of this machine, or the terminal."""

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from luthier.cli import show
from luthier.cli.options import Command
from luthier.core.errors import DataError, RecipeError

if TYPE_CHECKING:
    from luthier.evaluate.people.booth import Booth
    from luthier.recipe.people import People

Face = Callable[["Booth", "People"], None]
"""Shows a booth to people."""

KEYS = {"l": "left", "r": "right", "t": "tie", "s": "skip"}


def people_options(command: Command) -> Command:
    """Add `--human` and `--rater`; the command gets who shows the booth as `people`."""

    @wraps(command)
    def with_people(*, human: bool, rater: str | None, **rest: Any) -> Any:
        if rater is not None and not human:
            raise RecipeError("`--rater` says who compares answers, and nobody is asked", hint="add `--human`")
        face = on_page if rater is None else lambda booth, _: in_terminal(booth, rater)
        return command(people=face if human else None, **rest)

    for add in (
        click.option("--rater", metavar="NAME", help="With --human: ask in this terminal, under this name."),
        click.option("--human", is_flag=True, help="Let people compare the answers of RUN, blind, on a local page."),
    ):
        with_people = add(with_people)
    return with_people  # type: ignore[return-value]


def on_page(booth: "Booth", options: "People") -> None:
    """Serve the page until somebody ends it there, or with Ctrl-C here.

    Raises:
        DataError: The port is taken.
    """
    from luthier.evaluate.people.server import Server

    try:
        server = Server(booth, options.port)
    except OSError as error:
        problem = f"port {options.port} can't be listened on ({error.strerror})"
        raise DataError(problem, hint="name another in `evaluate.people.port`, or 0 for a free one") from error
    with server:
        show.say(f"Open {server.address} on this machine. Ctrl-C ends; every answer is saved as it is given.")
        try:
            while not server.finished.wait(0.5):
                pass
        except KeyboardInterrupt:
            show.say("Ended.")


def in_terminal(booth: "Booth", rater: str) -> None:
    """Ask one person until all is said, or they stop."""
    while "key" in (sheet := booth.sheet(rater)):
        _tell(sheet)
        try:
            choice = click.prompt(
                "l left, r right, t tie, s skip, u undo, q stop",
                type=click.Choice([*KEYS, "u", "q"], case_sensitive=False),
                show_choices=False,
                err=True,
            )
            if choice == "q":
                return
            if choice == "u":
                booth.take_back(rater)
                continue
            ratings = {} if choice == "s" else _ratings(sheet["rubric"])
        except click.Abort:  # Ctrl-C, or nobody types any more
            return
        booth.say(rater, sheet["key"], KEYS[choice], ratings)
    show.say(f"That was all: {sheet['of']} pairs.")


def _tell(sheet: dict[str, Any]) -> None:
    show.say(f"\n{sheet['done'] + 1} of {sheet['of']}")
    for name in ("prompt", "expected", "left", "right"):
        if sheet[name] is not None:
            show.say(f"\n--- {name} ---\n{sheet[name]}")


def _ratings(rubric: dict[str, str]) -> dict[str, dict[str, int]]:
    if not rubric:
        return {}
    number = click.IntRange(1, 5)
    return {
        side: {name: click.prompt(f"{side}: {name} ({rubric[name]}), 1 to 5", type=number, err=True) for name in rubric}
        for side in ("left", "right")
    }
