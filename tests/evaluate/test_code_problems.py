import gzip
import json
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luthier.core.errors import DataError, ModelError, RecipeError
from luthier.core.progress import Silent
from luthier.data.sources import find_files
from luthier.evaluate.benchmarks.code import Asked, Code, Solved, Written, pass_at
from luthier.evaluate.benchmarks.problems import COLLECTIONS, Problem, problems
from luthier.evaluate.reading import Reading
from luthier.evaluate.sandbox.runner import run
from luthier.evaluate.subject import Loaded, Setting
from luthier.model.load import load_model, stop_ids
from luthier.recipe.load import parse_recipe
from luthier.recipe.programs import Programs
from luthier.workflow.programs import programs

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
    options = Programs(problems="humaneval", file="x", samples=samples)
    short = replace(COLLECTIONS["humaneval"], longest=16)
    return Code([Asked(options, short, made, of=len(made))])


EASY = Problem("easy", "def f():\n", "", (), "assert True")
HARD = Problem("hard", "def g():\n", "def g():\n", ("g",), "assert g() == 42")


def test_a_model_in_memory_writes_programs_that_are_run(tiny_llama: Path) -> None:
    setting = Setting(capacity=512, precision="fp32", max_new_tokens=8)
    read = Reading(tiny_llama)
    read.stops |= {*stop_ids(tiny_llama)}
    subject = Loaded("base", load_model(tiny_llama), read, setting, Silent())
    part = asked(EASY, HARD, samples=2)
    first, again = part.measure(subject), part.measure(subject)
    assert first == again
    assert [[one.passed for one in written] for written in first.passed[0]] == [[True, True], [False, False]]
    entry = part.told(first, again).data["programs"][0]
    assert (entry["scores"][0]["base"]["value"], entry["scores"][0]["change"]["value"]) == (0.5, 0)


def test_problems_are_compared_one_by_one(tmp_path: Path) -> None:
    part = asked(*[HARD] * 40)
    right, wrong = [Written(True, "")], [Written(False, "AssertionError")]
    base, tuned = Solved([[wrong] * 30 + [right] * 10], 0), Solved([[right] * 30 + [wrong] * 10], 1)
    told = part.told(base, tuned)
    score = told.data["programs"][0]["scores"][0]
    assert (score["name"], score["base"]["value"], score["tuned"]["value"], score["verdict"]) == (
        "pass@1",
        0.25,
        0.75,
        "better",
    )
    assert told.values["humaneval/pass@1"].value == 0.75
    assert told.data["programs"][0]["problems"][0]["base"] == {"passed": 0, "why": "AssertionError"}
    assert [finding.level for finding in told.findings] == ["ok", "warning"]
    with pytest.raises(ModelError, match="answers in a chat"):
        part.measure(type("Remote", (), {"name": "tuned"})())


def test_a_recipe_names_problems_and_their_file(tmp_path: Path) -> None:
    (file,) = kept(tmp_path, [{**PLUS, "task_id": f"HumanEval/{n}"} for n in range(10)])

    def recipe(options: str) -> Code:
        text = f"model: m\ndata: {{sources: [x]}}\nevaluate: {{programs: [{{problems: humaneval, {options}}}]}}\n"
        (found,) = programs(parse_recipe(text, file="recipe.yaml"))
        return found

    (found,) = recipe(f"file: '{file.path}', limit: 5").asked
    assert ([one.name for one in found.problems], found.of) == ([f"HumanEval/{n}" for n in range(0, 10, 2)], 10)
    with pytest.raises(DataError, match="nowhere"):
        recipe(f"file: '{tmp_path / 'nowhere.jsonl'}'")
    with pytest.raises(RecipeError, match="the most likely one is taken"):
        recipe(f"file: '{file.path}', temperature: 0.8")
