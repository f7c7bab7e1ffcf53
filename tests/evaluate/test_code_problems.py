import gzip
import json
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest

pytest.importorskip("lm_eval")

from hypothesis import given
from hypothesis import strategies as st

from luthier.core.errors import DataError, RecipeError
from luthier.core.progress import Silent
from luthier.data.sources import find_files
from luthier.evaluate.benchmarks.catalog import Catalog
from luthier.evaluate.benchmarks.code import pass_at, written
from luthier.evaluate.benchmarks.compared import scored
from luthier.evaluate.benchmarks.files import Folder
from luthier.evaluate.benchmarks.problems import COLLECTIONS, Code, Problem, problems
from luthier.evaluate.benchmarks.run import Answer
from luthier.evaluate.benchmarks.tasks import Suite, suite
from luthier.evaluate.reading import Reading
from luthier.evaluate.sandbox.runner import run
from luthier.evaluate.subject import Loaded, Setting
from luthier.model.load import load_model, stop_ids
from luthier.recipe.benchmarks import Benchmark
from luthier.recipe.evaluate import Evaluate
from luthier.recipe.load import parse_recipe

PLUS = {
    "task_id": "HumanEval/0",
    "prompt": "def plus(a, b):\n    '''Add.'''\n",
    "entry_point": "plus",
    "canonical_solution": "    return a + b\n",
    "test": "def check(candidate):\n    assert candidate(1, 2) == 3\n",
}


def mbpp(number: int, name: str, code: str, *tests: str, setup: str = "") -> dict[str, object]:
    return {"task_id": number, "text": f"Write {name}.", "code": code, "test_list": [*tests], "test_setup_code": setup}


SHOWN = [mbpp(n, f"f{n}", f"def f{n}(): return {n}", *[f"assert f{n}() == {n}"] * 3) for n in (2, 3, 4)]
ROOT = mbpp(
    11,
    "a root",
    "import math\ndef root(x): return math.sqrt(x)",
    "assert math.isclose(root(4), 2)",
    "assert root(9) == 3",
    "assert max([root(x) for x in (1, 4)]) == 2",
)
TREE = mbpp(
    12,
    "a tree",
    "class Node:\n    def __init__(self, v): self.v, self.left = v, None\n"
    "def height(n): return 1 + height(n.left) if n else 0",
    *["assert height(top) == 2"] * 3,
    setup="top = Node(1)\ntop.left = Node(2)",
)


def kept(folder: Path, rows: list[dict[str, object]], *, packed: bool = False) -> list:
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path = folder / ("problems.jsonl.gz" if packed else "problems.jsonl")
    path.write_bytes(gzip.compress(content) if packed else content)
    return find_files([str(path)])


@pytest.mark.parametrize("packed", [False, True])
def test_humaneval_goes_on_from_its_prompt(tmp_path: Path, packed: bool) -> None:
    (file,) = kept(tmp_path, [PLUS], packed=packed)
    (problem,) = problems(COLLECTIONS["humaneval"], file)
    assert (problem.name, problem.prompt) == ("HumanEval/0", PLUS["prompt"])
    right, wrong = run([problem.trial(str(PLUS["canonical_solution"])), problem.trial("    return a - b\n")])
    assert (right.passed, wrong.passed, wrong.why) == (True, False, "AssertionError")


def test_mbpp_shows_three_solved_problems_and_asks_the_test_part(tmp_path: Path) -> None:
    (file,) = kept(tmp_path, [*SHOWN, ROOT, TREE, mbpp(600, "later", "", "assert f()", "assert f()", "assert f()")])
    found = problems(COLLECTIONS["mbpp"], file)
    assert [problem.name for problem in found] == ["MBPP/11", "MBPP/12"]
    assert found[0].prompt.count("[DONE]") == 3
    assert found[0].prompt.endswith("assert max([root(x) for x in (1, 4)]) == 2\n[BEGIN]\n")
    assert (found[0].names, found[0].given) == (("root",), "import math\n")
    assert found[1].names == ("Node", "height")
    outcomes = run([problem.trial(str(row["code"])) for problem, row in zip(found, (ROOT, TREE), strict=True)])
    assert [outcome.why for outcome in outcomes] == ["", ""]


@pytest.mark.parametrize(
    ("name", "rows", "told"),
    [
        ("mbpp", SHOWN, "no problem is in it"),
        ("humaneval", [{**PLUS, "test": 1}], "`test` should be a text"),
        ("mbpp", [ROOT], "2, 3 and 4"),
        ("mbpp", [*SHOWN, {**ROOT, "test_list": ["x"]}], "three texts"),
        ("mbpp", [*SHOWN, {**ROOT, "test_list": ["assert ("] * 3}], "no Python"),
    ],
)
def test_what_is_no_problem_is_told_with_its_place(
    tmp_path: Path, name: str, rows: list[dict[str, object]], told: str
) -> None:
    (file,) = kept(tmp_path, rows)
    with pytest.raises(DataError, match=told) as error:
        problems(COLLECTIONS[name], file)
    assert "problems.jsonl" in str(error.value.place)


@given(st.integers(1, 8).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_pass_at_k_is_the_share_of_draws_that_hold_one_that_passes(drawn: tuple[int, int, int]) -> None:
    count, passed, k = drawn
    draws = [any(place < passed for place in draw) for draw in combinations(range(count), k)]
    assert pass_at(k, count, passed) == pytest.approx(sum(draws) / len(draws))


def asked(*made: Problem, samples: int = 1) -> Code:
    options = Benchmark(task="humaneval", samples=samples)
    short = replace(COLLECTIONS["humaneval"], longest=16)
    return Code("humaneval", options, short, made, range(len(made)), of=len(made))


EASY = Problem("easy", "def f():\n", "", (), "assert True")
HARD = Problem("hard", "def g():\n", "def g():\n", ("g",), "assert g() == 42")


def test_a_model_in_memory_writes_programs_that_are_run(tiny_llama: Path) -> None:
    setting = Setting(capacity=512, precision="fp32", max_new_tokens=8)
    read = Reading(tiny_llama)
    read.stops |= {*stop_ids(tiny_llama)}
    subject = Loaded("base", load_model(tiny_llama), read, setting, Silent())
    code = asked(EASY, HARD, samples=2)
    (first, clipped), (again, _) = written(subject, code), written(subject, code)
    assert first == again
    assert clipped == 0
    assert [answer.scores for answer in first] == [{"pass@1": 1.0}, {"pass@1": 0.0}]
    assert [bool(why) for answer in first for why in answer.failed] == [False, False, True, True]


def test_problems_are_compared_one_by_one() -> None:
    code = asked(*[HARD] * 40)
    right, wrong = (Answer("", (), "", ("",), {"pass@1": score}) for score in (1.0, 0.0))
    both = {"humaneval": [wrong] * 30 + [right] * 10}, {"humaneval": [right] * 30 + [wrong] * 10}
    ((score,),) = scored([Suite(code.asked, (code,), None)], both[0], both[1:])
    assert (score.metric, score.found.base.value, score.found.tuned.value, score.verdict, score.percent) == (
        "pass@1",
        0.25,
        0.75,
        "better",
        True,
    )


def test_a_recipe_asks_for_programs_as_for_any_benchmark(tmp_path: Path) -> None:
    (tmp_path / "humaneval").mkdir()
    rows = [{**PLUS, "task_id": f"HumanEval/{n}"} for n in range(10)]
    (file,) = kept(tmp_path, rows, packed=True)
    Path(file.path).rename(tmp_path / "humaneval" / "HumanEval.jsonl.gz")

    def recipe(options: str) -> Evaluate:
        text = f"model: m\ndata: {{sources: [x]}}\nevaluate: {{benchmarks: [{options}]}}\n"
        return parse_recipe(text, file="recipe.yaml").evaluate

    (half,) = recipe("{task: humaneval, limit: 5, name: half}").benchmarks
    (code,) = suite(half, Catalog(), Folder(tmp_path), tmp_path).tasks
    assert isinstance(code, Code)
    assert (code.name, len(code.problems), code.of, code.shots) == ("half", 5, 10, 0)
    with pytest.raises(DataError, match="not here") as error:
        suite(Benchmark(task="mbpp"), Catalog(), Folder(tmp_path), tmp_path)
    assert "mbpp/mbpp.jsonl" in str(error.value.hint)
    for wrong, why in (
        ("{task: humaneval, temperature: 0.8}", "the most likely one is taken"),
        ("{task: humaneval, shots: 3}", "the beginnings of programs"),
        ("{task: gsm8k, samples: 3}", "`gsm8k` has none"),
    ):
        with pytest.raises(RecipeError, match=why):
            recipe(wrong)
