"""Rows that gained and lost most are found, counted and shown."""

import numpy as np

from luthier.core.example import Example, Message, Source
from luthier.core.html import to_html
from luthier.core.report import Report
from luthier.evaluate.answers import score
from luthier.evaluate.held_out import Question, questions
from luthier.evaluate.likelihood import RowNll
from luthier.evaluate.metrics.metric import Expected
from luthier.evaluate.wins import SHOWN, ranked, wins

HOSTILE = "<script>alert(1)</script>"


def asked(count: int) -> tuple[tuple[Source, ...], list[Question]]:
    rows = [
        Example((Message("user", f"{HOSTILE} {n}?"), Message("assistant", f"{n}")), Source("a.jsonl", n + 1))
        for n in range(count)
    ]
    sources = tuple(row.source for row in rows)
    return sources, questions(lambda: rows, sources, count)


def test_rows_are_ranked_by_what_they_gained_and_equals_are_ties() -> None:
    found = ranked(np.array([0.0, 2.0, -1.0, 0.5, -3.0]))
    assert (found.won.tolist(), found.lost.tolist()) == ([1, 3], [4, 2])
    assert found.counts == {"won": 2, "lost": 2, "tied": 1}


def test_the_page_shows_what_was_won_and_lost_and_runs_nothing_of_it() -> None:
    rows, every = asked(12)
    base = ["0", "1", *["wrong"] * 10]
    tuned = [HOSTILE, *[f"{n}" for n in range(1, 11)], "wrong"]  # 0 lost, 1 kept, 2 to 10 won, 11 wrong in both
    answered = score([Expected(one.expected) for one in every], base, tuned, ())
    likelihood = RowNll(np.full(12, 10.0), np.full(12, 5)), RowNll(np.linspace(5, 15, 12), np.full(12, 5))
    told = wins(rows, every, likelihood, answered, {"base": base, "tuned": tuned})
    data = told.data["wins"]
    assert {name: data["answers"][name] for name in ("won", "lost", "tied")} == {"won": 9, "lost": 1, "tied": 2}
    assert [entry["source"]["line"] for entry in data["answers"]["worst"]] == [1]
    assert len(data["answers"]["best"]) == SHOWN
    assert data["likelihood"]["won"] == data["likelihood"]["lost"] == 6
    assert data["likelihood"]["rows"][0]["source"] == "a.jsonl:1"
    page = to_html(Report("Wins", "", {}, told.sections))
    assert HOSTILE not in page
    assert "&lt;script&gt;" in page


def test_without_answers_likelihood_is_ranked_alone() -> None:
    rows, every = asked(3)
    same = RowNll(np.full(3, 10.0), np.array([5, 5, 0]))
    nothing: dict[str, tuple[str, ...]] = {"base": (), "tuned": ()}
    told = wins(rows, every, (same, same), None, nothing)
    untold = wins(rows, every, None, None, nothing)
    assert (untold.data["wins"], untold.sections) == ({"likelihood": None}, ())
    assert told.data["wins"] == {"likelihood": {"won": 0, "lost": 0, "tied": 2, "rows": []}}
