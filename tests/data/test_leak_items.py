import gzip
import json

import pytest
from data_files import Write

from luthier.core.errors import DataError, Problems
from luthier.core.example import Example, Message, Source
from luthier.data.leakage.evaluations import Evaluation, read_evaluations
from luthier.data.leakage.items import Item
from luthier.data.leakage.look import looker
from luthier.recipe.data import Decontaminate


def read_one(write: Write, name: str, content: str | bytes, *fields: str) -> Evaluation:
    [evaluation] = read_evaluations([str(write(name, content))], fields)
    return evaluation


def parts(items: list[Item]) -> list[tuple[int, str, str, str]]:
    return [(item.source.line, item.question, item.answer, item.below) for item in items]


LAYOUTS = {
    "gsm8k": ({"question": "How many?", "answer": "Two.\n#### 2"}, "How many?", "Two.\n#### 2", "Two.\n#### 2"),
    "bbh": ({"input": "Sort: b a", "target": "a b"}, "Sort: b a", "a b", "a b"),
    "mmlu": ({"question": "Which?", "subject": "law", "choices": ["p", "q"], "answer": 1}, "Which?", "q", "p\nq"),
    "mmlu by letter": ({"question": "Which?", "choices": ["p", "q"], "answer": "B"}, "Which?", "q", "p\nq"),
    "mmlu pro": ({"question": "Which?", "options": ["p", "q"], "answer": "A"}, "Which?", "p", "p\nq"),
    "arc": (
        {"question": "Which?", "choices": {"text": ["p", "q"], "label": ["1", "2"]}, "answerKey": "2"},
        "Which?",
        "q",
        "p\nq",
    ),
    "hellaswag": (
        {"ind": 24, "ctx_a": "A man.", "ctx_b": "he", "ctx": "A man. he", "endings": ["runs", "sits"], "label": 0},
        "A man. he",
        "runs",
        "runs\nsits",
    ),
    "hellaswag on the hub": (
        {"ctx": "A man. he", "endings": ["runs", "sits"], "label": "1"},
        "A man. he",
        "sits",
        "runs\nsits",
    ),
    "hellaswag without labels": ({"ctx": "A man. he", "endings": ["runs"], "label": ""}, "A man. he", "", "runs"),
    "truthfulqa": (
        {"Type": "x", "Question": "Why?", "Best Answer": "So.", "Correct Answers": "So; Yes"},
        "Why?",
        "So.",
        "So.",
    ),
    "truthfulqa on the hub": (
        {"question": "Why?", "best_answer": "So.", "correct_answers": ["So."]},
        "Why?",
        "So.",
        "So.",
    ),
    "truthfulqa with choices": ({"question": "Why?", "mc1_targets": {"No.": 0, "So.": 1}}, "Why?", "So.", "No.\nSo."),
    "truthfulqa with choices on the hub": (
        {"question": "Why?", "mc1_targets": {"choices": ["No.", "So."], "labels": [0, 1]}},
        "Why?",
        "So.",
        "No.\nSo.",
    ),
    "humaneval": (
        {
            "task_id": "H/0",
            "prompt": "def f():\n",
            "canonical_solution": "    return 1\n",
            "test": "assert",
            "entry_point": "f",
        },
        "def f():\n",
        "    return 1\n",
        "    return 1\n",
    ),
    "mbpp": (
        {"text": "Write f.", "code": "def f(): 1", "task_id": 1, "test_list": ["assert f"]},
        "Write f.",
        "def f(): 1",
        "def f(): 1",
    ),
    "mbpp, sanitised": (
        {"prompt": "Write f.", "code": "def f(): 1", "test_list": []},
        "Write f.",
        "def f(): 1",
        "def f(): 1",
    ),
    "messages": (
        {"messages": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}]},
        "Why?",
        "So.",
        "So.",
    ),
    "instructions": ({"instruction": "Why?", "input": "", "output": "So."}, "Why?", "So.", "So."),
    "a preference": ({"prompt": "Why?", "chosen": "So.", "rejected": "No."}, "Why?", "So.", "So."),
    "classes": ({"text": "I lost it", "label": "loss"}, "I lost it", "loss", "loss"),
    "plain text": ({"text": "Once upon a time"}, "Once upon a time", "", ""),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_question_and_answer_are_found_in_every_layout(write: Write, name: str) -> None:
    row, question, answer, below = LAYOUTS[name]
    found = read_one(write, "test.jsonl", json.dumps(row) + "\n")
    assert parts(found.items) == [(1, question, answer, below)]
    assert found.not_understood == 0


def test_programs_are_known_as_such(write: Write) -> None:
    humaneval, mbpp = (LAYOUTS[name][0] for name in ("humaneval", "mbpp"))
    found = read_one(write, "test.jsonl", f"{json.dumps(humaneval)}\n{json.dumps(mbpp)}\n{json.dumps({'text': 'x'})}\n")
    assert [sorted(item.code) for item in found.items] == [["answer", "question"], ["answer"], []]


def test_the_first_line_of_mmlu_is_an_item(write: Write) -> None:
    found = read_one(write, "law_test.csv", '"Which, of all?",p,q,r,s,C\nAnd now?,1,2,3,4,A\n')
    assert parts(found.items) == [(1, "Which, of all?", "r", "p\nq\nr\ns"), (2, "And now?", "1", "1\n2\n3\n4")]


def test_the_first_line_of_mgsm_is_an_item(write: Write) -> None:
    found = read_one(write, "mgsm_en.tsv", "Janet has 3 ducks. How many?\t3\nAnd 4?\t4\n")
    assert parts(found.items) == [(1, "Janet has 3 ducks. How many?", "3", "3"), (2, "And 4?", "4", "4")]


def test_a_table_with_names_that_are_known_has_its_items_below_them(write: Write) -> None:
    found = read_one(write, "TruthfulQA.csv", "Type,Question,Best Answer\nx,Why?,So.\n")
    assert parts(found.items) == [(2, "Why?", "So.", "So.")]


def test_named_columns_must_be_there(write: Write) -> None:
    with pytest.raises(DataError, match="no question found in this test set; the columns are `a`, `b`"):
        read_one(write, "own.csv", "a,b\n1,2\n", "c")


def test_packed_test_sets_are_read(write: Write) -> None:
    row = json.dumps(LAYOUTS["humaneval"][0]).encode()
    assert parts(read_one(write, "HumanEval.jsonl.gz", gzip.compress(row)).items)[0][1] == "def f():\n"


def test_the_examples_of_a_bbh_file_are_the_items(write: Write) -> None:
    rows = [{"input": "True and False is", "target": "False"}, {"input": "not True is", "target": "False"}]
    found = read_one(write, "boolean.json", json.dumps({"canary": "never train", "examples": rows}))
    assert [item.question for item in found.items] == ["True and False is", "not True is"]


def test_records_that_hold_several_questions_are_taken_apart(write: Write) -> None:
    answers = [{"text": "Paris", "answer_start": 0}]
    questions = [{"id": str(n), "question": f"Question {n}?", "answers": answers} for n in range(3)]
    squad = {"version": "1", "data": [{"title": "T", "paragraphs": [{"context": "Paris is nice.", "qas": questions}]}]}
    found = read_one(write, "dev.json", json.dumps(squad))
    assert [item.answer for item in found.items] == ["Paris"] * 3
    assert all(
        "Paris is nice." in item.question and f"Question {n}?" in item.question for n, item in enumerate(found.items)
    )


def test_named_columns_are_looked_for_each_on_its_own(write: Write) -> None:
    found = read_one(
        write, "own.jsonl", '{"a": "one", "b": "two", "question": "?", "answer": "!"}\n{"c": 1}\n', "a", "b"
    )
    assert parts(found.items) == [(1, "one", "", ""), (1, "two", "", "")]
    assert found.not_understood == 1


def test_rows_that_hold_no_question_are_counted(write: Write) -> None:
    found = read_one(
        write, "test.jsonl", '{"question": "Q", "answer": "A"}\n{broken\n{"question": " ", "answer": "A"}\n{"x": 1}\n'
    )
    assert parts(found.items) == [(1, "Q", "A", "A")]
    assert found.not_understood == 3


def test_a_document_is_an_item(write: Write) -> None:
    assert parts(read_one(write, "secret.txt", "All of it.\n\nTo the end.").items) == [
        (1, "All of it.\n\nTo the end.", "", "")
    ]


def test_folders_and_globs_give_their_files_each_once(write: Write) -> None:
    one = write("tests/a.jsonl", '{"question": "Q", "answer": "A"}\n')
    write("tests/b.jsonl", '{"question": "Q", "answer": "A"}\n')
    write("tests/LICENSE.txt", "Free.")
    found = read_evaluations([str(one.parent), str(one.parent / "*.jsonl"), str(one)])
    assert [evaluation.name for evaluation in found] == [str(one), str(one.with_name("b.jsonl"))]


def test_a_file_without_any_question_says_which_columns_it_has_and_what_to_set(write: Write) -> None:
    path = write("own.jsonl", '{"frage": "Warum?", "nummer": 3}\n')
    with pytest.raises(DataError) as error:
        read_evaluations([str(path)])
    assert (error.value.place, error.value.problem) == (
        str(path),
        "no question found in this test set; the columns are `frage`, `nummer`",
    )
    assert "data.decontaminate.fields" in error.value.hint


def test_every_test_set_that_is_missing_is_told(write: Write) -> None:
    with pytest.raises(Problems) as error:
        read_evaluations(["nowhere/gsm8k.jsonl", "humaneval"])
    first, second = error.value.problems
    assert (first.place, first.problem) == ("nowhere/gsm8k.jsonl", "no such file or folder")
    assert (second.place, second.problem) == (
        "humaneval",
        "no such file or folder, and luthier brings no test sets along",
    )


def test_what_is_planted_of_test_sets_in_every_layout_is_found_all_of_it(write: Write) -> None:
    def said(name: str) -> str:
        return ", ".join(f"{name} {number}" for number in range(9))

    for number, (name, (row, question, _, _)) in enumerate(LAYOUTS.items()):
        text = json.dumps(row).replace(json.dumps(question)[1:-1], said(name))
        path = write(f"tests/{number}.jsonl", text + "\n")
    write("tests/mmlu.csv", "".join(f'"{said(f"mmlu {n}")}",p,q,r,s,C\n' for n in range(5)))
    write("tests/mgsm.tsv", "".join(f"{said(f'mgsm {n}')}\t{n}\n" for n in range(5)))
    write("tests/bbh.json", json.dumps({"canary": "", "examples": [{"input": said("bbh"), "target": "A"}]}))
    leaks = looker(Decontaminate(against=(str(path.parent),)))
    assert leaks is not None
    names = [*LAYOUTS, *(f"mmlu {n}" for n in range(5)), *(f"mgsm {n}" for n in range(5)), "bbh"]
    rows = [
        Example((Message("user", "Tell me."), Message("assistant", f"So: {said(name).upper()}!")), Source("rows", line))
        for line, name in enumerate([*names, "other"])
    ]
    found, told = leaks.look(rows)
    assert [leak is not None for leak in found] == [True] * len(names) + [False]
    assert (told.total, len(leaks.items)) == (len(names), len(names))
