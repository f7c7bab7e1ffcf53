"""People: they compare the answers an evaluation kept, on a page or in the terminal."""

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from luthier.core.report import Report
from luthier.core.run import Run
from luthier.recipe.people import People
from luthier.recipe.schema import Recipe
from luthier.workflow.additions import about, add, assembled, files_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from luthier.evaluate.people.booth import Booth


def ask_people(recipe: Recipe, run: Run, face: "Callable[[Booth, People], None]") -> Report:
    """Let people compare answers, and return the evaluation's report with what they said so far.

    Args:
        recipe: Says what they are shown.
        run: A run whose evaluation is finished.
        face: Shows the booth to people and returns when they are done, or stop.

    Raises:
        RunError: The evaluation kept no answers.
    """
    from luthier.evaluate.judge.agreement import by_criterion, mean_ratings
    from luthier.evaluate.pairs import chosen, read_pairs
    from luthier.evaluate.people.account import report, values
    from luthier.evaluate.people.book import Book
    from luthier.evaluate.people.booth import Booth
    from luthier.evaluate.people.opinion import opinion

    options = recipe.evaluate.people or People()
    pairs = chosen(read_pairs(run / "evaluate"), options.rows)
    book = Book(run / "people" / "ratings.jsonl")
    rubric = options.rubric if options.rate else {}
    face(Booth(pairs, rubric, book, reference=options.reference, seed=options.seed), options)
    ballots, judge = book.ballots(), _judge(run)
    found = opinion(pairs, ballots, {row["key"]: row["winner"] for row in judge if row["winner"]})
    if judge:
        of_judge = mean_ratings((row["key"], reply["scores"]) for row in judge for reply in row["replies"])
        of_people = mean_ratings((one.key, one.scores) for one in ballots)
        found = replace(found, ratings=by_criterion(of_judge, of_people))
    add(run, "people", report(found), values(found), about=about(options.model_dump(mode="json")))
    whole = assembled(run, recipe.evaluate.gate)
    run.amend("evaluate", report=whole.as_dict(), files=files_of(run))
    return whole


def _judge(run: Run) -> list[dict[str, Any]]:
    """Return what a judge said of each pair, nothing where none was asked."""
    path = run / "judge" / "pairs.jsonl"
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
