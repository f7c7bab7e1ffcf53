import zlib
from itertools import pairwise

import pytest

pytest.importorskip("lm_eval")

from hypothesis import given
from hypothesis import strategies as st
from lm_eval.api.model import LM
from lm_eval.evaluator import evaluate

from luthier.core.errors import DataError, RecipeError
from luthier.evaluate.benchmarks.catalog import Catalog
from luthier.evaluate.benchmarks.compared import scored
from luthier.evaluate.benchmarks.files import Folder
from luthier.evaluate.benchmarks.run import answers
from luthier.evaluate.benchmarks.tasks import quiet, spread, suite
from luthier.evaluate.contrast import holm
from luthier.recipe.benchmarks import Benchmark


class Guess(LM):
    """A model that finds texts as likely as their checksum says."""

    def __init__(self, salt):
        super().__init__()
        self.salt = salt

    def _number(self, request):
        return zlib.crc32(f"{self.salt}{request.args[0]}{request.args[1]}".encode())

    def loglikelihood(self, requests):
        return [(-(self._number(request) % 1000) / 100, False) for request in requests]

    def loglikelihood_rolling(self, requests):
        return [-float(len(request.args[0])) for request in requests]

    def generate_until(self, requests):
        said = ("So the answer is Yes.", "So the answer is No.", "#### 4", "#### 6", "4")
        return [said[self._number(request) % len(said)] for request in requests]


@pytest.fixture
def made(released, tmp_path):
    def make(name, **asked):
        return suite(Benchmark(task=name, **asked), Catalog(), Folder(released), tmp_path / "cache")

    return make


def of_the_harness(suites, model):
    """Return what the harness itself scores."""
    tasks = {ready.leaf.name: ready.task for one in suites for ready in one.tasks}
    groups = {one.group.name: one.group for one in suites if one.group}
    for ready in (ready for one in suites for ready in one.tasks):
        ready.task.set_fewshot_seed(ready.asked.seed)
    with quiet():
        found = evaluate(model, {"tasks": tasks, "groups": groups}, bootstrap_iters=0)
    return {
        (task, metric.removesuffix(",none")): value
        for task, metrics in found["results"].items()
        for metric, value in metrics.items()
        if "," in metric and "stderr" not in metric
    }


def test_scores_are_those_of_the_harness(made):
    tasks = ("gsm8k", "mmlu_anatomy", "hellaswag", "truthfulqa_mc1", "truthfulqa_mc2", "arc_easy", "winogrande")
    suites = [made(name) for name in (*tasks, "mgsm_direct_de")]
    base, tuned = (answers(Guess(salt), [ready for one in suites for ready in one.tasks]) for salt in "ab")
    [found] = scored(suites, base, [tuned])
    for which, salt in (("base", "a"), ("tuned", "b")):
        ours = {(measure.task, measure.metric): getattr(measure.found, which).value for measure in found}
        assert ours == pytest.approx(of_the_harness(suites, Guess(salt)), abs=1e-12)
    assert len(found) == 12


GROUP = """
group: two
task:
  - bbh_cot_fewshot_navigate
  - task: bbh_cot_fewshot_snarks
aggregate_metric_list:
  - {metric: exact_match, aggregation: mean, weight_by_size: %s, filter_list: get-answer}
"""


@pytest.mark.parametrize("by_size", ["true", "false"])
def test_a_group_scores_as_in_the_harness_and_is_followed_by_its_tasks(released, tmp_path, by_size):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "two.yaml").write_text(GROUP % by_size)
    snarks = released / "bbh" / "snarks.json"
    snarks.write_text(snarks.read_text().replace('{"input": "snarks 1 3?", "target": "Yes"}, ', ""))
    one = suite(Benchmark(task="two"), Catalog([str(tmp_path / "own")]), Folder(released), tmp_path)
    [found] = scored([one], answers(Guess("a"), one.tasks), [answers(Guess("b"), one.tasks)])
    assert [(entry.task, entry.part_of, entry.items) for entry in found] == [
        ("two", "", 29),
        ("bbh_cot_fewshot_navigate", "two", 15),
        ("bbh_cot_fewshot_snarks", "two", 14),
    ]
    theirs = of_the_harness([one], Guess("b"))
    assert [entry.found.tuned.value for entry in found] == pytest.approx(
        [theirs[entry.task, "exact_match,get-answer"] for entry in found]
    )


def test_a_model_beside_itself_is_never_better(made):
    one = made("hellaswag", limit=10)
    same = answers(Guess("a"), one.tasks)
    [found] = scored([one], same, [answers(Guess("a"), one.tasks)])
    assert [(entry.found.change.value, entry.p) for entry in found] == [(0, 1), (0, 1)]
    assert all(entry.verdict in ("same", "undecided") and not entry.found.change.low > 0 for entry in found)


def test_a_prompt_holds_the_examples_asked_for_and_both_models_see_the_same(made):
    prompts = []

    class Spy(Guess):
        def generate_until(self, requests):
            prompts.append([request.args[0] for request in requests])
            return super().generate_until(requests)

    one = made("gsm8k", shots=3, limit=5, seed=7)
    for _ in range(2):
        answers(Spy("a"), one.tasks)
    assert prompts[0] == prompts[1]
    assert len(prompts[0]) == 5
    assert all(prompt.count("Question:") == 4 and prompt.endswith("?\nAnswer:") for prompt in prompts[0])


def test_more_examples_than_there_are_is_an_error(made):
    with pytest.raises(DataError, match="shows 9 examples before each question, and there are 8"):
        made("gsm8k", shots=9)


def test_a_task_that_brings_its_own_examples_takes_no_others(made):
    with pytest.raises(RecipeError, match="`truthfulqa_mc1` is asked without examples"):
        made("truthfulqa_mc1", shots=5)


def test_examples_are_not_needed_where_none_are_shown(made, released):
    (released / "gsm8k" / "train.jsonl").unlink()
    assert made("gsm8k", shots=0).tasks[0].of == 15
    with pytest.raises(DataError, match="there are 0") as error:
        made("gsm8k")
    assert "gsm8k/train.jsonl" in error.value.hint


def test_rows_the_harness_can_make_nothing_of_are_an_error_without_a_traceback(made, released):
    path = released / "winogrande_1.1" / "dev.jsonl"
    path.write_text(path.read_text().replace("_ was", "she was"))
    with pytest.raises(DataError, match="the harness can't make `winogrande` of these rows"):
        made("winogrande")


@given(st.integers(1, 3000), st.integers(1, 400), st.integers(0, 5))
def test_items_are_spread_evenly_and_the_same_for_a_seed(count, limit, seed):
    chosen = spread(count, limit, seed=seed)
    assert chosen == spread(count, limit, seed=seed)
    assert len(chosen) == min(count, limit)
    ends = [place * count // len(chosen) for place in range(len(chosen) + 1)]
    assert all(first <= item < last for item, (first, last) in zip(chosen, pairwise(ends), strict=True))
    assert chosen == sorted({*chosen})


def test_verdicts_count_the_benchmarks_of_all_models_together(made):
    suites = [made(name) for name in ("hellaswag", "arc_easy")]
    base, first, second = (answers(Guess(salt), [task for one in suites for task in one.tasks]) for salt in "abc")
    alone = [found for other in (first, second) for found in scored(suites, base, [other])[0]]
    together = [found for model in scored(suites, base, [first, second]) for found in model]
    assert [one.found for one in together] == [one.found for one in alone]
    assert [one.p for one in together] == holm([one.found.p for one in alone])
