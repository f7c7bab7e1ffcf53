"""What is done with sources of which nobody said what to learn from them."""

import json
import shlex
from pathlib import Path

import pytest
from data_files import Write, prepare_sources
from pydantic import ValidationError

from luthier.cli.options import given_recipe
from luthier.core.errors import DataError
from luthier.data.first import are_plain_text, missing_columns
from luthier.recipe.data import Data, Fields
from luthier.recipe.load import parse_recipe

QA = json.dumps({"question": "Q", "answer": "A"}) + "\n"


@pytest.mark.parametrize(
    ("files", "plain"),
    [
        ({"a.txt": "Once upon a time."}, True),
        ({"a.jsonl": '{"text": "Once"}\n{"text": "upon"}\n'}, True),
        ({"a.txt": "Once", "b.md": "# Twice"}, True),
        ({"a.json": '["Once", "upon"]'}, True),
        ({"a.jsonl": '"Once"\n"upon"\n'}, True),
        ({"a.jsonl": QA}, False),
        ({"a.jsonl": '{"text": "Q", "role": "prompter", "replies": [{"text": "A", "role": "assistant"}]}\n'}, False),
        ({"a.jsonl": '{"text": "Once"}\n' + QA}, False),
        ({"a.jsonl": QA, "README.md": "About these rows."}, False),
        ({"a.jsonl": '{"text": "Human: Q\\n\\nAssistant: A"}\n'}, False),
        ({"a.csv": "text,label\nQ,a\n"}, False),
        ({"a.csv": "frage,antwort\nQ,A\n"}, False),
        ({"a.jsonl": "no JSON\n"}, False),
        ({}, False),
    ],
)
def test_plain_text_is_known_by_the_first_rows(
    files: dict[str, str], plain: bool, write: Write, tmp_path: Path
) -> None:
    for name, content in files.items():
        write(f"set/{name}", content)
    assert are_plain_text(Data(sources=(str(tmp_path / "set"),))) is plain


@pytest.mark.parametrize(("name", "content"), [("a.json", '["Once", 7, "upon"]'), ("a.jsonl", '"Once"\n7\n "upon"\n')])
def test_a_list_of_texts_is_a_row_each(name: str, content: str, write: Write, tmp_path: Path) -> None:
    found = prepare_sources(tmp_path, write(name, content), rows="text")
    assert {row["messages"][0]["content"] for row in found.kept()} == {"Once", "upon"}
    assert found.data["rows"]["by_reason"] == {"not_an_object": 1}


def test_who_says_what_columns_hold_is_not_second_guessed(write: Write) -> None:
    path = str(write("a.jsonl", '{"text": "Once"}\n'))
    assert not are_plain_text(Data(sources=(path,), fields=Fields(text="text")))
    assert not are_plain_text(Data(sources=(path,), format="transcript"))


def objective(path: Path, *overrides: str) -> str:
    options = {"model": "m", "data_format": None, "technique": None}
    recipe, text = given_recipe(None, data=(str(path),), overrides=overrides, **options)  # type: ignore[arg-type]
    assert ("pretrain" in text) is (recipe.train.objective.kind == "pretrain")
    return recipe.train.objective.kind


def test_plain_text_without_a_recipe_is_pretrained_on_unless_an_objective_is_named(write: Write) -> None:
    text, rows = write("a.txt", "Once upon a time."), write("b.jsonl", QA)
    assert objective(text) == "pretrain"
    assert objective(text, "train.objective=sft") == "sft"
    assert objective(rows) == "sft"


@pytest.mark.parametrize(
    ("options", "place", "hint"),
    [
        ({"split": {"group_by": "usr"}}, "data.split.group_by", "did you mean `user`?"),
        ({"split": {"stratify": "nothing"}}, "data.split.stratify", "the columns are `question`, `answer`, `user`"),
        ({"fields": {"prompt": "question", "answer": "anwser"}}, "data.fields.answer", "did you mean `answer`?"),
    ],
)
def test_a_column_that_none_of_the_first_rows_has_is_told_with_those_there_are(
    options: dict[str, object], place: str, hint: str, write: Write
) -> None:
    path = write("rows.jsonl", json.dumps({"question": "Q", "answer": "A", "empty": " ", "user": 7}) + "\n")
    [problem] = missing_columns(Data(sources=(str(path),), **options), "conversation")
    assert (problem.place, problem.hint) == (place, hint)


def test_columns_that_are_there_and_files_that_are_not_are_no_problem(write: Write, tmp_path: Path) -> None:
    path = write("rows.jsonl", json.dumps({"question": "Q", "answer": "A", "user": 7}) + "\n")
    assert not missing_columns(Data(sources=(str(path),), split={"group_by": "user"}), "conversation")
    assert not missing_columns(Data(sources=(str(tmp_path / "none"),), split={"group_by": "user"}), "conversation")


@pytest.mark.parametrize(("option", "value"), [("header", False), ("sheets", ("one",))])
def test_an_option_about_tables_without_a_table_is_refused(
    option: str, value: object, write: Write, tmp_path: Path
) -> None:
    path = write("rows.jsonl", QA)
    with pytest.raises(DataError) as error:
        prepare_sources(tmp_path, path, **{option: value})
    assert error.value.place == f"data.{option}"


def test_how_to_look_for_test_items_without_any_is_refused() -> None:
    with pytest.raises(ValidationError, match="`ngram` says how to look for test items"):
        Data(sources=("x",), decontaminate={"ngram": 8})


def test_the_hint_for_unknown_columns_can_be_typed_whatever_they_are_called(write: Write, tmp_path: Path) -> None:
    path = write("rows.jsonl", json.dumps({"frage'; touch x; '": "Q", "antwort": "A"}) + "\n")
    with pytest.raises(DataError) as error:
        prepare_sources(tmp_path, path)
    option, value = shlex.split(error.value.hint.split("`")[1])
    assert option == "--set"
    recipe = parse_recipe("model: bundled\n", file="r", overrides=[value, f"data.sources=[{json.dumps(str(path))}]"])
    assert recipe.data.fields == Fields(prompt="frage'; touch x; '", answer="antwort")
