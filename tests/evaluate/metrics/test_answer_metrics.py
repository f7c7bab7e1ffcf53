"""Metrics equal those of the programs people know, and say nothing where they know nothing."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from luthier.core.errors import Failed, RecipeError
from luthier.evaluate.contrast import contrast
from luthier.evaluate.metrics.choose import chosen
from luthier.evaluate.metrics.metric import Expected, Metric
from luthier.evaluate.metrics.structure import calls_in
from luthier.recipe.metrics import (
    Bleu,
    Chrf,
    Classes,
    Custom,
    ExactMatch,
    Json,
    LastNumber,
    Regex,
    Repetition,
    Rouge,
    TokenF1,
    ToolCalls,
)
from luthier.recipe.options import Method, locate

WANTED = [
    "The bridge of the violin is ready; come by on Monday.",
    "We close at six.\nOn Sunday we stay at home.",
    "A new bow costs 240 euros, a used one less.",
    "Das Griffbrett ist abgenutzt.",
]
GOT = [
    "The bridge is ready, come by on Tuesday.",
    "At six we close.\nWe are at home on Sunday.",
    "A new bow costs 240 euros, a used one less.",
    "",
]


def made(options: Method) -> dict[str, Metric]:
    return {metric.name: metric for metric in locate(options)(options)}


def value(metric: Metric, wanted: list[str], got: list[str]) -> float:
    figures = metric.figures([Expected(text) for text in wanted], got)
    return float(metric.score(figures.sum(axis=0, keepdims=True))[0])


def of(options: Method, wanted: str, got: str) -> float:
    (metric, *_) = made(options).values()
    return value(metric, [wanted], [got])


@pytest.mark.parametrize("options", [Bleu(), Bleu(tokenize="char"), Chrf(), Chrf(word_order=2)])
def test_bleu_and_chrf_are_sacrebleu_s_of_the_corpus(options: Bleu | Chrf) -> None:
    from sacrebleu.metrics import BLEU, CHRF

    theirs = BLEU(tokenize=options.tokenize) if isinstance(options, Bleu) else CHRF(word_order=options.word_order)
    (metric,) = made(options).values()
    for rows in (WANTED, WANTED[:3]):
        got = GOT[: len(rows)]
        assert value(metric, rows, got) == pytest.approx(theirs.corpus_score(got, [rows]).score, abs=1e-9)


@pytest.mark.parametrize("options", [Bleu(), Chrf()])
def test_scores_of_a_corpus_have_an_interval(options: Bleu | Chrf) -> None:
    (metric,) = locate(options)(options)
    expected = [Expected(f"the peg of violin {n} slips, so turn it {n} times") for n in range(30)]
    answers = [f"the peg of violin {n} slips" + ", so turn it" * (n % 3) for n in range(30)]
    found = contrast(metric, metric.figures(expected, answers), metric.figures(expected, answers[1:] + answers[:1]))
    assert found is not None
    for number in (found.base, found.tuned, found.change):
        assert number.low < number.value - 0.5
        assert number.high > number.value + 0.5


def test_rouge_is_the_mean_of_rouge_score() -> None:
    from rouge_score.rouge_scorer import RougeScorer

    metrics = made(Rouge())
    scorer = RougeScorer([*metrics], use_stemmer=False)
    theirs = [scorer.score(want, got) for want, got in zip(WANTED, GOT, strict=True)]
    for name, metric in metrics.items():
        assert value(metric, WANTED, GOT) == pytest.approx(np.mean([score[name].fmeasure for score in theirs]))


@pytest.mark.parametrize(
    ("wanted", "got", "exact", "f1"),
    [
        ("The Bow", "bow.", 1, 1),
        ("Broadway musical", "a musical on Broadway", 0, 0.8),  # 2 of 2 and 2 of 3 words
        ("(A)", "a", 1, 1),  # SQuAD leaves nothing of the article, and would take any other for it
        ("(A)", "", 0, 0),
        ("(A)", "the", 0, 0),
        (") ]", ") ]", 1, 1),
        (") ]", "] )", 0, 1),
        ("", "", 1, 1),
        ("one two two", "two two two three", 0, 4 / 7),
        ("yes", "", 0, 0),
    ],
)
def test_exact_match_and_f1_are_squad_s(wanted: str, got: str, exact: float, f1: float) -> None:
    assert of(ExactMatch(), wanted, got) == exact
    assert of(TokenF1(), wanted, got) == pytest.approx(f1)


@pytest.mark.parametrize(
    ("wanted", "got", "right"),
    [
        ("… so 1,240 in all.\n#### 1,240", "That makes $1240.00.", 1),
        ("#### 7", "7 apples, no, 8", 0),
        ("#### -3", "It is -3", 1),
        ("#### 12", "I don't know.", 0),
        ("#### -3", "So it is −3.", 1),
        ("#### -3.5", "He owes -$3.50", 1),
        ("#### 5", "between 3-5", 1),
        ("#### 3", "the pegs 1,2,3", 1),
        ("#### 123", "the pegs 1,2,3", 0),
    ],
)
def test_the_last_number_decides(wanted: str, got: str, right: float) -> None:
    assert of(LastNumber(), wanted, got) == right


def test_rows_without_a_number_do_not_count() -> None:
    (metric,) = made(LastNumber()).values()
    assert value(metric, ["none", "#### 5"], ["3", "5"]) == 1.0


def test_a_pattern_must_find_what_it_finds_in_the_expected_answer() -> None:
    pattern = Regex(pattern=r"ticket (\d+)")
    assert of(pattern, "It is ticket 12.", "ticket 12 it is") == 1
    assert of(pattern, "It is ticket 12.", "ticket 13") == 0
    assert of(Regex(pattern="^Dear"), "", "Dear Ann") == 1


def test_an_answer_that_loops_repeats_itself() -> None:
    assert of(Repetition(), "", "the peg is in the box") == 0
    assert of(Repetition(), "", "no no no no no no no no") == pytest.approx(0.8)
    assert of(Repetition(), "", "too short") == 0


CLASSES = st.sampled_from(["cards", "fees", "Fraud.", "other"])


@given(st.lists(st.tuples(CLASSES.filter(lambda name: name != "other"), CLASSES), min_size=1, max_size=30))
def test_macro_f1_is_the_mean_over_the_classes_there_are(rows: list[tuple[str, str]]) -> None:
    wanted, got = ([*column] for column in zip(*rows, strict=True))
    names = {*wanted}
    f1 = []
    for name in names:
        right = sum(a == b == name for a, b in rows)
        f1.append(2 * right / (wanted.count(name) + got.count(name)))
    metrics = made(Classes())
    assert value(metrics["macro_f1"], wanted, got) == pytest.approx(np.mean(f1))
    assert value(metrics["accuracy"], wanted, got) == pytest.approx(np.mean([a == b for a, b in rows]))


def test_classes_are_told_one_by_one_with_what_they_are_taken_for() -> None:
    details = made(Classes())["accuracy"].details
    assert details is not None
    expected = [Expected(text) for text in ("fees", "fees", "cards")]
    table, taken = details(expected, ["fees", "x", "cards"], ["fees", "cards", "?"])
    assert table.rows[0] == ("fees", "2", "100%", "50%", "67%", "100%", "50%", "67%")
    assert set(taken.rows) == {("fees", "cards", "1"), ("cards", "(none of the classes)", "1")}


@pytest.mark.parametrize("names", [["(A)", "(B)", "(C)"], ["+", "-"], ["-1", "0", "1"], ["C", "C++", "C#"], [")", "]"]])
def test_classes_stay_apart_however_they_are_written(names: list[str]) -> None:
    wanted, other = names * 6, [*names[1:], names[0]] * 6
    metrics = made(Classes())
    for name in ("accuracy", "macro_f1"):
        assert value(metrics[name], wanted, wanted) == 1
        assert value(metrics[name], wanted, other) == 0
        assert value(metrics[name], wanted, [""] * len(wanted)) == 0
    assert [metric.kind for metric in chosen([Expected(text) for text in wanted])[0]] == ["classes", "repetition"]


def test_json_is_read_in_a_fence_too_and_compared_by_value(tmp_path: Path) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text(json.dumps({"type": "object", "required": ["a"]}), encoding="utf-8")
    metrics = made(Json(json_schema=str(schema)))
    wanted = ['{"a": 1, "b": 2}'] * 4
    got = ['```json\n{"b": 2, "a": 1}\n```', '{"b": 2}', '{"a": 1', 'Sure! {"a": 1}']
    assert {name: value(metric, wanted, got) for name, metric in metrics.items()} == {
        "json_valid": 0.5,
        "json_equal": 0.25,
        "json_schema": 0.25,
    }


@pytest.mark.parametrize(
    ("wanted", "got", "valid", "equal"),
    [
        ('{"a": 1}', '{"a": 1.0}', 1, 1),
        ('{"a": 1}', '{"a": true}', 1, 0),
        ('{"a": [0, {"b": 0}]}', '{"a": [0, {"b": false}]}', 1, 0),
        ('{"a": [1, 2]}', '{"a": [2, 1]}', 1, 0),
        ('{"a": null}', "{}", 1, 0),
        ('{"a": 1}', '{"a": NaN}', 0, 0),
        ('{"a": 1}', "-Infinity", 0, 0),
    ],
)
def test_values_are_json_s_not_python_s(wanted: str, got: str, valid: float, equal: float) -> None:
    metrics = made(Json())
    assert value(metrics["json_valid"], [wanted], [got]) == valid
    assert value(metrics["json_equal"], [wanted], [got]) == equal


def test_a_schema_fetches_nothing(tmp_path: Path) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text('{"$ref": "http://localhost:9/schema.json"}', encoding="utf-8")
    keeps = made(Json(json_schema=str(schema)))["json_schema"]
    with pytest.raises(Failed, match="which is not in it"):
        keeps.figures([Expected("{}")], ["{}"])


@pytest.mark.parametrize("text", ["{", '{"type": "nothing known"}'])
def test_a_schema_that_is_none_is_told(text: str, tmp_path: Path) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError, match="names a JSON Schema that can't be used"):
        made(Json(json_schema=str(schema)))


@pytest.mark.parametrize(
    ("got", "calls", "names"),
    [
        ('<tool_call>\n{"name": "look", "arguments": {"peg": 1}}\n</tool_call>', 1, 1),
        ('[{"name": "look", "parameters": "{\\"peg\\": 1}"}]', 1, 1),
        ('{"function": {"name": "look", "arguments": {"peg": 2}}}', 0, 1),
        ('{"name": "look", "arguments": {"peg": 1}} {"name": "look", "arguments": {}}', 0, 0),
        ("I would look at peg 1.", 0, 0),
        ('{"name": "look", "arguments": {"peg"', 0, 0),
        ('{"name": "look", "arguments": {"peg": true}}', 0, 1),
    ],
)
def test_calls_are_found_whatever_a_template_puts_around(got: str, calls: float, names: float) -> None:
    metrics = made(ToolCalls())
    expected = [Expected("", (("look", {"peg": 1}),))]
    found = {name: float(metric.figures(expected, [got])[0, 0]) for name, metric in metrics.items()}
    assert found == {"tool_calls": calls, "tool_names": names}


@given(st.text(alphabet='{}[]":,an 1', max_size=60))
def test_no_text_breaks_the_search_for_calls(text: str) -> None:
    assert all(isinstance(name, str) for name, _ in calls_in(text))


def test_a_function_of_the_user_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = "def shout(expected, answer): return sum(map(str.isupper, answer))\ndef none(expected, answer): ...\n"
    (tmp_path / "own_scores.py").write_text(module, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert of(Custom(function="own_scores:shout"), "", "NO no") == 2
    (tmp_path / "broken_scores.py").write_text("def score(:", encoding="utf-8")
    with pytest.raises(Failed, match="failed on an answer: TypeError"):
        of(Custom(function="own_scores:none"), "", "x")
    for name in ("own_scores:missing", "no_such_module_here:score", "broken_scores:score"):
        with pytest.raises(RecipeError, match="and there is none"):
            made(Custom(function=name))


@pytest.mark.parametrize(
    ("answers", "kinds"),
    [
        (["cards", "fees", "Cards."] * 6, ["classes"]),
        ([f"peg {i}" for i in range(20)], ["exact_match", "token_f1", "chrf"]),
        ([f'{{"peg": {i}}}' for i in range(20)], ["json"]),
        ([f"There are {i} pegs in each of the two boxes, so we add them up.\n#### {2 * i}" for i in range(20)],
         ["last_number", "chrf"]),
        ([f"Peg {i} is worn, so we turn a new one and fit it to the hole by hand." for i in range(20)],
         ["chrf", "rouge"]),
        ([f"{i}.5" for i in range(20)], ["last_number"]),
        (["弦轴磨损了，所以我们车了一个新的，然后用手把它装进孔里。" + "好" * i for i in range(20)], ["chrf"]),
    ],
)  # fmt: skip
def test_metrics_are_chosen_by_what_is_expected(answers: list[str], kinds: list[str]) -> None:
    found, why = chosen([Expected(text) for text in answers])
    assert [metric.kind for metric in found] == [*kinds, "repetition"]
    assert why.startswith("answers ")
