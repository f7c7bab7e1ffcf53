"""People beside an evaluation that is there: asked by the command line, told on its page, looked at by the gate."""

import json
import threading
import urllib.request
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from luthier.cli.main import main
from luthier.cli.stages import evaluate
from luthier.core.errors import RecipeError, RunError
from luthier.core.report import Paragraph, Report, Section
from luthier.core.run import Run
from luthier.recipe.evaluate import Gate
from luthier.recipe.load import parse_recipe
from luthier.recipe.people import People
from luthier.workflow import additions, ask_people, reopen

EVIL = "<script>document.title='ran'</script> \x1b]0;ran\x07 \u202e"


def evaluated(folder: Path, more: str = "") -> Run:
    """Return a run whose evaluation is finished: twelve answers of both models, some hostile."""
    run = Run(folder)
    run.log("state", state="new")
    (folder / "recipe.yaml").write_text(f"model: bundled\ndata: {{sources: [x]}}\nevaluate: {{{more}}}\n")
    (run / "evaluate").mkdir()
    rows = [
        {
            "set": "held-out rows",
            "source": {"file": "f.csv", "line": number},
            "prompt": f"Why {number}? {EVIL}",
            "expected": "Because.",
            "base": EVIL,
            "tuned": f"Good {number}",
        }
        for number in range(12)
    ]
    (run / "evaluate" / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    whole = Section("How it was measured", (Paragraph("by hand"),))
    report = Report("Base against tuned", "Better.", {"verdict": "better", "gate": {"refused": []}}, (whole,))
    additions.keep(run, report)
    report = additions.assembled(run, Gate())
    run.finish("evaluate", key="k", report=report.as_dict(), files=additions.files_of(run))
    return run


def asked(folder: Path, *options: str, typed: str = "") -> Result:
    return CliRunner().invoke(evaluate, [str(folder), "--human", *options], input=typed, standalone_mode=False)


def test_in_the_terminal_every_answer_is_kept_and_whoever_stops_goes_on(tmp_path: Path) -> None:
    run = evaluated(tmp_path / "run")
    first = asked(run.path, "--rater", "Ada", typed="l\nr\nu\nt\nnonsense\ns\nq\n")
    assert first.exception is None, first.output
    assert "\x1b" not in first.stderr
    assert "\u202e" not in first.stderr
    said = [json.loads(line) for line in (run / "people" / "ratings.jsonl").read_text().splitlines()]
    assert len(said) == 5
    assert [one.get("winner") for one in said][2:] == [None, "tie", None]
    assert "1 of 12" in first.stderr
    second = asked(run.path, "--rater", "Ada", "--json", typed="t\n" * 9)
    assert "4 of 12" in second.stderr
    people = json.loads(second.stdout)["people"]
    assert (people["raters"], people["skipped"]) == ({"Ada": 11}, 1)
    assert people["win_rate"]["n"] == 11
    page = (run / "evaluate" / "report.html").read_text()
    assert "What people say" in page
    assert run.manifest()["stages"]["evaluate"]["report"]["people"] == people


def test_ratings_by_a_rubric_are_asked_for_where_the_recipe_says_so(tmp_path: Path) -> None:
    run = evaluated(tmp_path / "run", "people: {rate: true, rubric: {accuracy: 'is it true?'}, reference: true}")
    found = asked(run.path, "--rater", "Ada", "--json", typed="t\n4\n7\n2\nq\n")
    assert found.exception is None, found.output
    assert "--- expected ---" in found.stderr
    (one,) = json.loads(found.stdout)["people"]["criteria"]
    assert (one["name"], one["base"]["value"] + one["tuned"]["value"]) == ("accuracy", 6)


def test_the_page_is_served_until_somebody_ends_it_and_the_judge_is_compared(tmp_path: Path) -> None:
    run = evaluated(tmp_path / "run", "gate: {at_least: {people_win_rate: 0.9}}")
    keys = [json.loads(line) for line in (run / "evaluate" / "answers.jsonl").read_text().splitlines()]
    recipe, opened = reopen(run.path)

    def face(booth, options: People) -> None:
        from luthier.evaluate.people.server import Server

        with Server(booth, options.port) as server:

            def ask(what: str, **body: object) -> dict:
                origin = server.address.rpartition("/")[0].rpartition("/")[0]
                headers = {"Content-Type": "application/json", "Origin": origin}
                content = json.dumps({"rater": "Ada", **body}).encode()
                request = urllib.request.Request(server.address + what, content, headers, method="POST")
                with urllib.request.urlopen(request, timeout=30) as reply:
                    return json.loads(reply.read())

            def person() -> None:
                sheet = ask("sheet")
                while "key" in sheet:
                    better = "left" if sheet["left"].startswith("Good") else "right"
                    judge = run / "judge" / "pairs.jsonl"
                    judge.parent.mkdir(exist_ok=True)
                    with judge.open("a") as file:
                        file.write(json.dumps({"key": sheet["key"], "winner": "tuned", "replies": []}) + "\n")
                    sheet = ask("say", key=sheet["key"], choice=better, ratings={})
                ask("end")

            threading.Thread(target=person).start()
            assert server.finished.wait(60)

    report = ask_people(recipe, opened, face)
    people = report.data["people"]
    assert len(keys) == people["pairs"] == 12
    assert (people["win_rate"]["value"], people["verdict"]) == (1, "better")
    assert people["judge"]["share"]["value"] == 1
    assert report.data["gate"]["refused"] == []
    assert EVIL not in (run / "evaluate" / "report.html").read_text()


def test_what_makes_no_sense_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RecipeError, match="is false"):
        parse_recipe("model: m\ndata: {sources: [x]}\nevaluate: {people: {rubric: {a: b}}}\n", file="recipe.yaml")
    with pytest.raises(RecipeError, match="`answers` is 0"):
        parse_recipe("model: m\ndata: {sources: [x]}\nevaluate: {answers: 0, people: {rows: 3}}\n", file="recipe.yaml")
    for options, hint in (["--human"], "name its RUN"), ([str(tmp_path), "--rater", "Ada"], "add `--human`"):
        with pytest.raises(SystemExit, match="2"):
            main(["evaluate", *options])
        assert hint in capsys.readouterr().err
    run = evaluated(tmp_path / "run")
    (run / "evaluate" / "answers.jsonl").unlink()
    with pytest.raises(RunError, match="can't be read"):
        ask_people(reopen(run.path)[0], run, lambda *_: None)
