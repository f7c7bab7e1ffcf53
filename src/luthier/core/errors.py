"""Problems a user can fix.

    LuthierError                  one problem: place, sentence, hint, exit code
    ├── RecipeError               the recipe asks for something that can't be (2)
    ├── DataError                 a source file can't be read or holds nothing usable (2)
    ├── ModelError                a model folder is missing, incomplete or of a kind we refuse (2)
    ├── RunError                  a run directory is missing, locked, or belongs to another recipe (2)
    ├── MissingExtra              a package of an optional extra is not installed (2)
    ├── Failed                    luthier tried and it failed: loss not a number, a tool that died, … (1)
    │   └── DiskFull              no space left (1)
    ├── Interrupted               Ctrl-C or SIGTERM; the run can be continued (130)
    └── Problems                  several of the above, told all at once

Everything else that is raised is a bug of ours and keeps its traceback.
"""

from collections.abc import Sequence
from typing import Any


class LuthierError(Exception):
    """A problem the user can fix.

    Args:
        problem: What is wrong, with the value. One sentence, no period.
        hint: What to type or change next. Required: if there is no hint, it is a bug report.
        place: Where: `file:line`, a folder, or a key. None when the command line itself is the place.
    """

    exit_code = 2
    word = "error"
    """What the line that tells the problem begins with."""

    def __init__(self, problem: str, *, hint: str, place: str | None = None) -> None:
        super().__init__(problem)
        self.problem = problem
        self.hint = hint
        self.place = place

    def lines(self) -> list[str]:
        """Return the problem as the terminal shows it: `error: place: problem` and `  hint: …`."""
        where = f"{self.place}: " if self.place else ""
        return [f"{self.word}: {where}{self.problem}", f"  hint: {self.hint}"]

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel from one process to another as what it is made of, not through the constructor."""
        return _again, (type(self), self.args), self.__dict__


def _again(kind: type[LuthierError], arguments: tuple[Any, ...]) -> LuthierError:
    return kind.__new__(kind, *arguments)


class RecipeError(LuthierError):
    """The recipe asks for something that can't be."""


class DataError(LuthierError):
    """A source can't be read, or holds nothing that can be learned from."""


class ModelError(LuthierError):
    """A model folder is missing, incomplete, or of a kind luthier refuses to load."""


class RunError(LuthierError):
    """A run directory is missing, in use, or belongs to another recipe."""


class MissingExtra(LuthierError):
    """A package that belongs to an optional extra is not installed."""

    def __init__(self, package: str, *, extra: str) -> None:
        super().__init__(
            f"this needs the package `{package}`, which is not installed",
            hint=f"type `pip install 'luthier[{extra}]'`",
        )


class Failed(LuthierError):
    """Asked rightly, and it failed: a full disk, a loss that is not a number."""

    exit_code = 1


class DiskFull(Failed):
    """No space is left, on the disk or of a quota."""


class Interrupted(LuthierError):
    """Stopped by Ctrl-C or SIGTERM after the state was saved; the same command continues."""

    exit_code = 130
    word = "stopped"


class Problems(LuthierError):
    """Several problems, told all at once. The exit code is the highest of theirs."""

    def __init__(self, problems: Sequence[LuthierError]) -> None:
        assert problems, "Problems needs at least one problem"
        first = problems[0]
        super().__init__(first.problem, hint=first.hint, place=first.place)
        self.problems = tuple(problems)
        self.exit_code = max(problem.exit_code for problem in problems)

    def lines(self) -> list[str]:
        """Return every problem, in the order given."""
        return [line for problem in self.problems for line in problem.lines()]


def disk_full(place: str) -> DiskFull:
    """Return the error for a full disk while writing below `place`."""
    return DiskFull(
        "the disk is full; what was finished before this is kept",
        hint="free some space and type the same command again: it continues where it stopped",
        place=place,
    )
