"""Benchmarks from the command line, on a model made in a moment."""

import json
import sys

import pytest

pytest.importorskip("lm_eval")

from luthier.cli.main import main
from luthier.recipe.load import parse_recipe
from luthier.workflow.benchmarks import asked_of


def exit_code(arguments):
    with pytest.raises(SystemExit) as left:
        main(arguments)
    return left.value.code


@pytest.fixture
def evaluate(tiny_llama, random_adapter, released, tmp_path, monkeypatch, capsys):
    """Return a function that lets an adapter and its base do benchmarks, and gives the exit code and the report."""
    monkeypatch.chdir(tmp_path)

    def run(*options):
        models = ["--model", str(random_adapter), "--against", str(tiny_llama)]
        code = exit_code(["evaluate", *models, *options, "--out", "run", "-q", "--json"])
        return code, json.loads(capsys.readouterr().out)

    return run


def test_both_models_answer_the_same_items_every_answer_is_kept_and_a_gate_says_no(evaluate, released, tmp_path):
    names = "hellaswag,arc_easy"
    gate = "evaluate.gate={at_least: {hellaswag: 2, hellaswag/acc_norm: 0}}"
    code, report = evaluate("--benchmarks", names, "--limit", "10", "--data-dir", str(released), "--set", gate)
    assert code == 3
    refused, *lost = report["gate"]["refused"]
    assert refused.startswith("`hellaswag` must be at least 2, and is 0.")
    assert lost == [f"{one['name']}: acc" for one in report["regression"] if one["status"] == "FAIL"]
    entries = report["benchmarks"]
    assert [(entry["task"], entry["metric"], entry["shots"], entry["items"], entry["of"]) for entry in entries] == [
        ("hellaswag", "acc", 0, 10, 12),
        ("hellaswag", "acc_norm", 0, 10, 12),
        ("arc_easy", "acc", 0, 10, 12),
        ("arc_easy", "acc_norm", 0, 10, 12),
    ]
    lines = [json.loads(line) for line in (tmp_path / "run" / "evaluate" / "benchmarks.jsonl").read_text().splitlines()]
    assert len(lines) == 20
    for entry in entries:
        for model in ("base", "tuned"):
            scores = [line[model]["scores"][entry["metric"]] for line in lines if line["task"] == entry["task"]]
            assert entry[model]["value"] == pytest.approx(sum(scores) / 10)
            assert entry[model]["n"] == 10
            assert entry[model]["low"] <= entry[model]["value"] <= entry[model]["high"]
        assert entry["change"]["value"] == pytest.approx(entry["tuned"]["value"] - entry["base"]["value"])
        assert 0 < entry["p"] <= 1
    for line in lines:
        answer = line["base"]["answer"]
        said = line["choices"][answer.index(max(answer))]
        assert line["base"]["scores"]["acc"] == (said == line["expected"])
    assert not [*(tmp_path / "run").glob(".benchmarks-*")]


def test_a_task_is_asked_twice_by_two_names_beside_one_of_the_users_own(evaluate, released, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    rows = [{"question": f"Is {n} even? " * 150, "choices": ["yes", "no"], "answer": n % 2} for n in range(2)]
    (mine / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (mine / "even.yaml").write_text(
        f"task: even\ndataset_path: json\ndataset_kwargs: {{data_files: {{test: {mine / 'rows.jsonl'}}}}}\n"
        "test_split: test\noutput_type: multiple_choice\ndoc_to_text: '{{question}}'\ndoc_to_choice: '{{choices}}'\n"
        "doc_to_target: answer\nmetric_list: [{metric: acc}]\n"
    )
    learned = [{"role": "user", "content": rows[1]["question"]}, {"role": "assistant", "content": "no"}]
    (tmp_path / "learned.jsonl").write_text(json.dumps({"messages": learned}) + "\n")
    known = ["--set", "evaluate.trained_on=[learned.jsonl]"]
    twice = "{task: arc_easy, limit: 2}, {task: arc_easy, limit: 2, shots: 2, chat: true, name: arc-2}"
    code, report = evaluate(
        "--set", f"evaluate.benchmarks=[{twice}, even]", "--data-dir", str(released), "--include", str(mine), *known
    )
    assert code in (0, 3)
    entries = {entry["task"]: (entry["shots"], entry["chat"], entry["items"]) for entry in report["benchmarks"]}
    assert entries == {"arc_easy": (0, False, 2), "arc-2": (2, True, 2), "even": (0, False, 2)}
    assert [one["name"] for one in report["regression"]] == ["arc_easy", "arc-2", "even"]
    *_, even = report["learned_items"]
    assert [even[name] for name in ("task", "items", "row", "prompt", "near", "words")] == ["even", 2, 1, 0, 0, 0]
    line = (tmp_path / "run" / "evaluate" / "benchmarks.jsonl").read_text().splitlines()[-2]
    without = even["without"]["tuned"]
    assert (without["value"], without["n"]) == (json.loads(line)["tuned"]["scores"]["acc"], 1)
    assert any(one["text"].startswith("even: 1 of 2 items stand in the training data") for one in report["findings"])
    (told,) = [one["text"] for one in report["findings"] if "lost the beginning" in one["text"]]
    assert told == "4 prompts of even lost the beginning: the context of the base and tuned models is shorter"


@pytest.mark.skipif(sys.platform != "linux", reason="programs are walled in on Linux")
def test_programs_are_a_benchmark_like_any_other(evaluate, released, tmp_path):
    tests = ["assert f() == 1"] * 3
    rows = [{"task_id": n, "text": "One.", "code": "def f(): return 1", "test_list": tests} for n in (2, 3, 4, 11, 12)]
    (released / "mbpp.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, report = evaluate("--benchmarks", "mbpp,hellaswag", "--limit", "1", "--data-dir", str(released))
    assert code in (0, 3)
    first, *_ = report["benchmarks"]
    assert [first[key] for key in ("task", "metric", "shots", "items", "of")] == ["mbpp", "pass@1", 3, 1, 2]
    assert first["tuned"]["value"] == 0
    assert [one["name"] for one in report["regression"]] == ["mbpp", "hellaswag"]
    line = json.loads((tmp_path / "run" / "evaluate" / "benchmarks.jsonl").read_text().splitlines()[0])
    assert (line["task"], line["question"].count("[DONE]"), line["base"]["scores"]) == ("mbpp", 0, {"pass@1": 0})
    assert line["base"]["failed"] != [""]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--benchmarks", "gsm9k", "--data-dir", "benchmarks"], "knows no task, group or tag `gsm9k`"),
        (["--benchmarks", "mmlu_virology", "--data-dir", "benchmarks"], "needs its test rows"),
        (["--benchmarks", "gsm8k", "--data-dir", "nowhere"], "no such folder of benchmark files"),
        (["--limit", "3"], "`--limit` is of `--benchmarks`, which names none"),
        (["--benchmarks", "gsm8k,gsm8k"], "names `gsm8k` twice"),
        (["--benchmarks", "mmlu_anatomy,mmlu"], "`mmlu_anatomy` is asked twice: by `mmlu_anatomy` and by `mmlu`"),
        (["--benchmarks", "gsm8k", "--model", "http://localhost:9/v1#m"], "needs a model in memory"),
        (["--benchmarks", "arc_easy", "--data-dir", "benchmarks", "--set", "evaluate.metrics=[rouge]"], "passed over"),
    ],
)
def test_what_cannot_be_asked_is_told_before_a_model_is_loaded(
    released, tmp_path, monkeypatch, capsys, options, problem
):
    monkeypatch.chdir(tmp_path)
    assert exit_code(["evaluate", "--model", "bundled", "--against", "bundled", *options, "-q"]) == 2
    assert problem in capsys.readouterr().err


def test_changed_files_are_another_evaluation(released):
    text = "model: bundled\ndata: {sources: [x]}\nevaluate: {benchmarks: gsm8k}\n"
    recipe = parse_recipe(text, file="recipe.yaml", overrides=[f"evaluate.data_dir={released}"])
    before = asked_of(recipe)
    path = released / "gsm8k" / "test.jsonl"
    path.write_text(path.read_text().replace("It is 4", "It is four"))
    assert asked_of(recipe) != before
