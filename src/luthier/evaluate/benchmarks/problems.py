"""Problems that a program solves: HumanEval (Chen 2021, arXiv:2107.03374) and MBPP (Austin 2021, arXiv:2108.07732).

Prompts, and the texts that end an answer, are those of lm-evaluation-harness' tasks of these names.
"""

import ast
import builtins
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from luthier.core.errors import DataError
from luthier.data.read import open_source, read
from luthier.data.rows import Unreadable
from luthier.data.sources import SourceFile, find_files
from luthier.evaluate.sandbox.runner import Trial
from luthier.recipe.benchmarks import Benchmark

SHOWN = (2, 3, 4)
"""Problems of MBPP that stand, solved, before each question."""

ASKED = range(11, 511)
"""Problems of MBPP that are asked, by their number; others were for training and examples."""


KS = (1, 10, 100)
"""How many tries pass@k gives, where there are as many programs."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem."""

    name: str
    prompt: str
    """What a model goes on from."""
    begins: str
    """What stands before its answer in the program."""
    names: tuple[str, ...]
    """What the tests use of the program."""
    tests: str
    given: str = ""
    """What the tests lean on."""

    def trial(self, answer: str) -> Trial:
        """Return an answer with its tests."""
        return Trial(self.begins + answer, self.names, self.tests, self.given)


class Row(NamedTuple):
    """A row of a file, and where it stands."""

    content: Mapping[str, Any]
    place: str


@dataclass(frozen=True, slots=True)
class Collection:
    """Problems that are published together."""

    files: tuple[str, ...]
    """Where below a folder they may be, the usual place first; also packed (`.gz`)."""
    dataset: str
    """Name on the Hugging Face hub."""
    part: str
    """Which part of that, where there are several."""
    shown: int
    """How many solved problems stand before each."""
    stops: tuple[str, ...]
    """An answer ends before one of these."""
    longest: int
    """Tokens of an answer."""
    made: Callable[[Sequence[Row]], Iterator[Problem]]


@dataclass(frozen=True, slots=True)
class Code:
    """Problems, and how programs are asked for."""

    name: str
    """What the report calls them."""
    asked: Benchmark
    collection: Collection
    problems: Sequence[Problem]
    """Those that are asked."""
    chosen: Sequence[int]
    """Which of all they are."""
    of: int
    """How many problems there are."""

    @property
    def shots(self) -> int:
        """Return how many solved problems stand before each."""
        return self.collection.shown

    @property
    def ks(self) -> tuple[int, ...]:
        """Return the tries that so many programs can tell of."""
        return tuple(k for k in KS if k <= self.asked.samples)

    def whole(self, _metric: str) -> Callable[[list[float]], float] | None:
        """Return how a score is made of all items; None for their mean, which it is."""
        return None

    def better(self, _metric: str) -> int:
        """Return that more is better."""
        return 1


def file_of(collection: Collection, home: Path) -> SourceFile:
    """Return the file with the problems, somewhere below a folder.

    Raises:
        DataError: It isn't there.
    """
    for name in collection.files:
        for path in (home / name, home / f"{name}.gz"):
            if path.is_file():
                return find_files([str(path)])[0]
    raise DataError(
        "the problems to write programs for are not here",
        hint=f"put `{collection.files[0]}` there, or the same packed (`.gz`), as its authors publish it",
        place=str(home),
    )


def problems(collection: Collection, file: SourceFile) -> list[Problem]:
    """Return the problems in a file.

    Raises:
        DataError: A row can't be read, or is none of these problems; or there are none.
    """
    rows = []
    for row in read(open_source(file)):
        if isinstance(row, Unreadable):
            raise _wrong(str(row.source), row.refusal.detail)
        rows.append(Row(row.row, str(row.source)))
    return made(collection, rows, file.name)


def made(collection: Collection, rows: Sequence[Row], place: str) -> list[Problem]:
    """Return the problems that rows hold.

    Raises:
        DataError: A row is none of these problems; or there are none.
    """
    found = [*collection.made(rows)]
    if not found:
        raise _wrong(place, "no problem is in it")
    return found


def _wrong(place: str, why: str) -> DataError:
    return DataError(
        f"these are no problems for a program: {why}", hint="take the file as its authors publish it", place=place
    )


def _humaneval(rows: Sequence[Row]) -> Iterator[Problem]:
    for row in rows:
        name, prompt, entry, test = _texts(row, "task_id", "prompt", "entry_point", "test")
        yield Problem(name, prompt, prompt, (entry,), f"{test}\ncheck({entry})\n", prompt)


def _mbpp(rows: Sequence[Row]) -> Iterator[Problem]:
    numbered = {row.content.get("task_id"): row for row in rows}
    shown = [numbered[number] for number in SHOWN if number in numbered]
    if len(shown) < len(SHOWN):
        raise _wrong(
            rows[0].place if rows else "", "the solved problems 2, 3 and 4 that prompts begin with are missing"
        )
    before = "".join(f"{_mbpp_prompt(row)}{_texts(row, 'code')[0]}\n[DONE]\n\n" for row in shown)
    for row in (numbered[number] for number in ASKED if number in numbered):
        setup = row.content.get("test_setup_code") or ""
        tests = "\n".join([str(setup), *_tests(row)])
        try:
            names, modules = _needs(tests)
        except SyntaxError as error:
            raise _wrong(row.place, f"its tests are no Python ({error.msg})") from error
        given = "".join(f"import {name}\n" for name in modules)
        yield Problem(f"MBPP/{row.content['task_id']}", before + _mbpp_prompt(row), "", names, tests, given)


def _mbpp_prompt(row: Row) -> str:
    (text,), (first, second, third, *_) = _texts(row, "text"), _tests(row)
    return (
        f"You are an expert Python programmer, and here is your task: {text} Your code should pass these tests:"
        f"\n\n{first}\n{second}\n{third}\n[BEGIN]\n"
    )


def _tests(row: Row) -> list[str]:
    tests = row.content.get("test_list")
    if not isinstance(tests, list) or len(tests) < 3 or not all(isinstance(test, str) for test in tests):
        raise _wrong(row.place, "`test_list` should be three texts or more")
    return tests


def _texts(row: Row, *names: str) -> list[str]:
    found = [row.content.get(name) for name in names]
    for name, value in zip(names, found, strict=True):
        if not isinstance(value, str):
            raise _wrong(row.place, f"`{name}` should be a text, got {type(value).__name__}")
    return [str(value) for value in found]


def _needs(tests: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what tests take from the program, and modules that they use as if somebody had imported them.

    Raises:
        SyntaxError: They are no Python.
    """
    nodes = [*ast.walk(ast.parse(tests))]
    names = [node for node in nodes if isinstance(node, ast.Name)]
    made = {node.id for node in names if not isinstance(node.ctx, ast.Load)}
    made |= {node.arg for node in nodes if isinstance(node, ast.arg)}
    made |= {(node.asname or node.name).partition(".")[0] for node in nodes if isinstance(node, ast.alias)}
    used = {node.id for node in names} - made - {*dir(builtins)}
    called = {node.func.id for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    modules = (used - called) & sys.stdlib_module_names
    return tuple(sorted(used - modules)), tuple(sorted(modules))


COLLECTIONS: Mapping[str, Collection] = {
    "humaneval": Collection(
        ("humaneval/HumanEval.jsonl", "human-eval/data/HumanEval.jsonl", "data/HumanEval.jsonl", "HumanEval.jsonl"),
        "openai/openai_humaneval",
        "",
        0,
        ("\nclass", "\ndef", "\n#", "\nif", "\nprint"),
        1024,
        _humaneval,
    ),
    "mbpp": Collection(
        ("mbpp/mbpp.jsonl", "mbpp.jsonl"),
        "google-research-datasets/mbpp",
        "full",
        len(SHOWN),
        ("[DONE]",),
        256,
        _mbpp,
    ),
}
"""By the names of the harness' tasks."""
