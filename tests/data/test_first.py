"""What is done with sources of which nobody said what to learn from them."""

import json
from pathlib import Path

import pytest
from data_files import Write, prepare_sources

from luthier.cli.options import given_recipe
from luthier.data.first import are_plain_text
from luthier.recipe.data import Data, Fields

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
