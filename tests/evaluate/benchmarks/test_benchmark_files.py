import json

import pytest

pytest.importorskip("lm_eval")

from luthier.core.errors import DataError
from luthier.evaluate.benchmarks.catalog import Catalog
from luthier.evaluate.benchmarks.files import Folder


def rows(home, task):
    (leaf,) = Catalog().leaves(task)
    return Folder(home).rows(leaf, leaf.asked)


@pytest.mark.parametrize(
    ("task", "row"),
    [
        ("gsm8k", {"question": "What is 1 and 3?", "answer": "It is 4.\n#### 4"}),
        ("bbh_cot_fewshot_navigate", {"input": "navigate 1 3?", "target": "Yes"}),
        ("mmlu_anatomy", {"question": "test 0, please?", "choices": ["1", "2", "3", "4"], "answer": 0}),
        ("mgsm_direct_de", {"question": "Was ist 1 plus 3?", "answer": None, "answer_number": 4}),
        (
            "truthfulqa_mc2",
            {
                "question": "Is 0 a number?",
                "mc1_targets": {"choices": ["yes", "no"], "labels": [1, 0]},
                "mc2_targets": {"choices": ["yes", "sure", "no"], "labels": [1, 1, 0]},
            },
        ),
        (
            "arc_easy",
            {
                "question": "0 apples?",
                "choices": {"text": ["0 apples", "1 apples", "2 apples"], "label": ["A", "B", "C"]},
                "answerKey": "A",
            },
        ),
        (
            "hellaswag",
            {
                "activity_label": "Cooking",
                "ctx_a": "Somebody takes 0 eggs.",
                "ctx_b": "then they",
                "endings": ["break them.", "sing [aloud].", "fly away.", "sleep."],
                "label": "0",
            },
        ),
        (
            "winogrande",
            {"sentence": "0 took the cup as _ was thirsty.", "option1": "Ann", "option2": "Bob", "answer": "1"},
        ),
    ],
)
def test_a_file_as_published_becomes_the_columns_of_the_hub(released, task, row):
    found = rows(released, task)[0]
    assert {name: found[name] for name in row} == row


def test_choices_of_truthfulqa_csv_end_in_a_full_stop_and_the_best_answer_comes_first(tmp_path):
    (tmp_path / "TruthfulQA.csv").write_text(
        "Type,Category,Question,Best Answer,Correct Answers,Incorrect Answers,Source\n"
        "Adversarial,Health,Why?,No idea,No idea; Nobody knows.,Magic;Luck,x\n"
    )
    (row,) = rows(tmp_path, "truthfulqa_mc1")
    assert row["mc1_targets"] == {"choices": ["No idea.", "Magic.", "Luck."], "labels": [1, 0, 0]}
    assert row["mc2_targets"] == {"choices": ["No idea.", "Nobody knows.", "Magic.", "Luck."], "labels": [1, 1, 0, 0]}


def test_files_as_the_hub_stores_them_are_found_in_all_their_pieces(tmp_path):
    polars = pytest.importorskip("polars")
    home = tmp_path / "cais" / "mmlu" / "anatomy"
    home.mkdir(parents=True)
    for piece in range(2):
        row = {"question": [f"{piece}?"], "subject": ["anatomy"], "choices": [["1", "2", "3", "4"]], "answer": [piece]}
        polars.DataFrame(row).write_parquet(home / f"test-0000{piece}-of-00002.parquet")
    assert [(row["question"], row["answer"]) for row in rows(tmp_path, "mmlu_anatomy")] == [("0?", 0), ("1?", 1)]


@pytest.mark.parametrize(
    ("task", "file", "text", "line", "told"),
    [
        ("gsm8k", "test.jsonl", '{"question": "1?", "answer": "1"}\n{"question": "2?"}\n', 2, "it has no `answer`"),
        ("gsm8k", "test.jsonl", '{"question": "1?", "answer": 1}\n', 1, "`answer` should be a text, got int"),
        ("mmlu_anatomy", "test/anatomy_test.csv", "Why?,a,b,c,d,A\nWhy?,a,b,c,d,E\n", 2, "a letter from A to D"),
        ("winogrande", "dev.jsonl", '{"sentence": "x", "option1": "a", "option2": "b", "answer": 1}\n', 1, "a gap `_`"),
        (
            "truthfulqa_mc1",
            "mc_task.json",
            '[{"question": "?", "mc1_targets": {"a": 0}, "mc2_targets": {}}]',
            1,
            "right and",
        ),
        ("arc_easy", "ARC-Easy/ARC-Easy-Test.jsonl", '{"question": "1?", "answerKey": "A"}\n', 1, "string indices"),
    ],
)
def test_a_row_of_something_else_is_refused_with_its_line(tmp_path, task, file, text, line, told):
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    with pytest.raises(DataError) as error:
        rows(tmp_path, task)
    assert told in error.value.problem
    assert error.value.place == f"{path}:{line}"


def test_a_damaged_line_is_an_error_because_every_item_counts(tmp_path):
    (tmp_path / "test.jsonl").write_text(json.dumps({"question": "1?", "answer": "1"}) + '\n{"question": "2?", \n')
    with pytest.raises(DataError, match="this row can't be read"):
        rows(tmp_path, "gsm8k")


def test_a_missing_file_is_told_with_the_name_it_should_have(tmp_path):
    (leaf,) = Catalog().leaves("mmlu_anatomy")
    with pytest.raises(DataError) as error:
        Folder(tmp_path).needed(leaf)
    assert error.value.problem == "`mmlu_anatomy` needs its test rows, and they are not here"
    assert error.value.hint.startswith("put `mmlu/test/anatomy_test.csv` there (the layout of MMLU (hendrycks/test))")
