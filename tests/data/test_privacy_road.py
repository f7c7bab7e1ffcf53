"""Privacy on the way from a file to the splits: what is written, and what reports and dropped rows must not tell."""

import json
from pathlib import Path
from typing import Any

import pytest
from data_files import Prepared, Write, prepare_sources

from luthier.core.errors import DataError, MissingExtra, RecipeError
from luthier.data.clean.privacy import vault
from luthier.recipe.load import load_recipe
from luthier.recipe.privacy import Privacy

MAIL, PHONE, CARD = "jane.doe@corp.org", "+44 20 7946 0958", "4111 1111 1111 1111"


def lines(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


ROWS = lines(
    {"question": f"Who is {MAIL}?", "answer": f"Reach {MAIL} under {PHONE}.", "team": MAIL},
    {"question": "Clean me  \r\n", "answer": f"Card {CARD} of {MAIL}  \n"},
    {"question": f"Is {MAIL} here?", "answer": ""},
    {"question": f"Who is {MAIL}?", "answer": f"Reach {MAIL} under {PHONE}.", "team": MAIL},
    {"question": f"<p>Mail jane.doe&#64;corp.org</p> {CARD}", "answer": ""},
    {"question": "Nothing here", "answer": "at all"},
)


def everything(prepared: Prepared) -> str:
    return "\n".join(file.read_text() for file in sorted(prepared.folder.iterdir()))


@pytest.mark.parametrize("action", ["mask", "pseudonymise", "drop"])
def test_no_file_of_the_run_tells_what_was_to_go(write: Write, tmp_path: Path, action: str) -> None:
    source = write("rows.jsonl", ROWS + f'{{"question": "{MAIL}"\n')
    prepared = prepare_sources(tmp_path, source, clean={"privacy": {"action": action}})
    whole = everything(prepared)
    for piece in (MAIL, "jane.doe", "corp.org", PHONE, "7946", CARD):
        assert piece not in whole
    assert "j***@" in whole
    assert prepared.data["rows"]["in"] == 7


def test_what_a_reason_cuts_short_tells_no_beginning_of_what_was_to_go(write: Write, tmp_path: Path) -> None:
    cut = [
        row
        for margin in range(0, 45, 4)
        for row in (
            {"messages": [{"role": f"{'x' * margin} {MAIL}", "content": "?"}]},
            {"question": "Who?", "answer": f"I'm sorry, but as an AI I can't say.{' ' * margin}{MAIL}"},
            {f"{'x' * margin} {MAIL}": "?"},
        )
    ]
    source = write("rows.jsonl", ROWS + lines(*cut))
    prepared = prepare_sources(tmp_path, source, clean={"privacy": {"action": "mask"}, "refusals": "drop"})
    assert "jane" not in everything(prepared)
    assert prepared.data["rows"]["by_reason"].keys() >= {"unknown_role", "refusal", "unknown_format"}


def test_a_sample_shows_nothing_that_tags_kept_from_being_found(write: Write, tmp_path: Path) -> None:
    source = write("rows.jsonl", lines({"question": "Who?", "answer": "<p>Mail <b>jane.doe</b>@corp.org</p>"}))
    prepared = prepare_sources(tmp_path, source, clean={"privacy": {"action": "mask"}})
    assert "jane" not in everything(prepared)
    assert "[EMAIL]" in everything(prepared)


def test_a_class_is_masked_too(write: Write, tmp_path: Path) -> None:
    rows = [{"text": f"Ticket {number}", "label": label} for number, label in enumerate([MAIL, "nobody"] * 10)]
    prepared = prepare_sources(
        tmp_path, write("rows.jsonl", lines(*rows)), rows="class", clean={"privacy": {"email": "mask"}}
    )
    assert MAIL not in everything(prepared)
    assert prepared.data["labels"] == {"[EMAIL]": 10, "nobody": 10}


def test_by_default_all_stays_and_is_told(write: Write, tmp_path: Path) -> None:
    prepared = prepare_sources(tmp_path, write("rows.jsonl", ROWS))
    assert MAIL in everything(prepared)
    told = prepared.check("personal_data")
    assert told["status"] == "warning"
    assert "3 rows with an e-mail address, first" in told["details"]
    [step] = [step for step in prepared.data["steps"] if step["name"] == "privacy"]
    assert step["changed"] == step["dropped"] == 0
    assert step["found"] == {"email": 3, "phone": 2, "card": 1}


def test_one_person_is_one_stand_in_in_all_rows_and_files(write: Write, tmp_path: Path) -> None:
    one = write("one.jsonl", lines({"question": f"Mail {MAIL}", "answer": "ok"}))
    two = write("two.jsonl", lines({"question": "Who?", "answer": f"It was {MAIL}, not tom@corp.org"}))
    options = {"clean": {"privacy": {"email": "pseudonymise"}}, "split": {"valid": 0.0}}
    first, second = prepare_sources(tmp_path, one, two, **options).rows("train")
    jane = first["messages"][0]["content"].removeprefix("Mail ")
    assert second["messages"][1]["content"].startswith(f"It was {jane}, not ")
    assert jane.endswith("@mail.example")
    assert not second["messages"][1]["content"].endswith(jane)


def test_a_dropped_row_has_the_reason_private(write: Write, tmp_path: Path) -> None:
    prepared = prepare_sources(tmp_path, write("rows.jsonl", ROWS), clean={"privacy": {"card": "drop"}})
    assert prepared.data["rows"]["by_reason"]["private"] == 1
    [row] = [row for row in prepared.rows("dropped") if row["reason"] == "private"]
    assert row["row"]["answer"].startswith("Card 4***")
    assert row["detail"] == "holds a card number"


def test_the_vault_brings_the_rows_back(write: Write, tmp_path: Path) -> None:
    file = tmp_path / "elsewhere" / "vault.jsonl"
    source = write("rows.jsonl", ROWS)
    plain = prepare_sources(tmp_path / "plain", source)
    options = {"action": "pseudonymise", "vault": str(file)}
    hidden = prepare_sources(tmp_path / "hidden", source, clean={"privacy": options})
    assert sorted(map(str, vault.restored(hidden.kept(), file))) == sorted(map(str, plain.kept()))
    assert file.stat().st_mode & 0o777 == 0o600
    assert str(MAIL) not in everything(hidden)


@pytest.mark.parametrize(
    ("place", "told"),
    [("run/vault.jsonl", "inside the run"), ("run/data/v.jsonl", "inside"), ("rows.jsonl", "source files")],
)
def test_a_vault_is_refused_where_others_would_get_it(write: Write, tmp_path: Path, place: str, told: str) -> None:
    source = write("rows.jsonl", ROWS)
    options = {"action": "pseudonymise", "vault": str(tmp_path / place)}
    with pytest.raises(DataError, match=told):
        prepare_sources(tmp_path / "run", source, clean={"privacy": options})


def test_a_missing_key_says_how_to_make_one(write: Write, tmp_path: Path) -> None:
    options = {"action": "pseudonymise", "key": str(tmp_path / "none")}
    with pytest.raises(DataError) as error:
        prepare_sources(tmp_path / "run", write("rows.jsonl", ROWS), clean={"privacy": options})
    assert "openssl rand -hex 32" in error.value.hint


@pytest.mark.parametrize(
    ("privacy", "told"),
    [
        ("{vault: v.jsonl}", "nothing is pseudonymised"),
        ("{key: k, email: mask}", "nothing is pseudonymised"),
        ("{email: hide}", "should be one of `off`"),
        ("{ner: {kind: presidio, model: null}}", "nothing would be looked for"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(write: Write, privacy: str, told: str) -> None:
    recipe = write("recipe.yaml", f"model: bundled\ndata: {{sources: [bundled], clean: {{privacy: {privacy}}}}}\n")
    with pytest.raises(RecipeError) as error:
        load_recipe(recipe)
    assert told in str(error.value)


# The plug-in -----------------------------------------------------------------------------------------------

OWN = """
recognizers:
  - name: Staff numbers
    supported_language: en
    supported_entity: STAFF
    patterns: [{name: staff, regex: 'E-\\d{5}', score: 0.9}]
"""


def test_without_presidio_its_pip_line_is_told(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"luthier\[presidio\]"):
        prepare_sources(tmp_path, write("rows.jsonl", ROWS), clean={"privacy": {"ner": {"kind": "presidio"}}})


def test_a_recogniser_of_presidio_adds_a_kind(write: Write, tmp_path: Path) -> None:
    pytest.importorskip("presidio_analyzer", reason="presidio is not installed")
    ner = {"model": None, "recognizers": str(write("own.yaml", OWN)), "entities": ("STAFF",), "action": "pseudonymise"}
    source = write("rows.jsonl", lines({"question": "Who is E-12345?", "answer": f"E-12345 is {MAIL}"}))
    options = {"clean": {"privacy": {"ner": {"kind": "presidio", **ner}}}, "split": {"valid": 0.0}}
    prepared = prepare_sources(tmp_path, source, **options)
    [row] = prepared.rows("train")
    name = row["messages"][0]["content"].removeprefix("Who is ").removesuffix("?")
    assert row["messages"][1]["content"] == f"{name} is {MAIL}"
    assert name != "E-12345"
    assert "12345" not in everything(prepared)


NAMES = """
recognizers:
  - name: Two capitalised words
    supported_language: en
    supported_entity: PERSON
    patterns: [{name: names, regex: '(?-i:[A-Z][a-z]+ [A-Z][a-z]+)', score: 0.9}]
"""


def test_a_stand_in_is_never_taken_for_another_name(write: Write, tmp_path: Path) -> None:
    pytest.importorskip("presidio_analyzer", reason="presidio is not installed")
    ner = {"kind": "presidio", "model": None, "recognizers": str(write("own.yaml", NAMES)), "action": "pseudonymise"}
    file = tmp_path / "vault.jsonl"
    options = {"clean": {"privacy": {"ner": ner, "email": "mask", "vault": str(file)}}, "split": {"valid": 0.0}}
    source = write(
        "rows.jsonl",
        lines({"question": "who?", "answer": "Jane Doe"}, {"question": "or?", "answer": f"{MAIL}, Jane Doe"}),
    )
    first, second = (
        row["messages"][1]["content"] for row in prepare_sources(tmp_path / "run", source, **options).rows("train")
    )
    assert second == f"[EMAIL], {first}"
    assert [json.loads(line)["original"] for line in file.read_text().splitlines()] == ["Jane Doe"]


def test_a_language_model_that_is_missing_is_not_downloaded(write: Write, tmp_path: Path) -> None:
    pytest.importorskip("presidio_analyzer", reason="presidio is not installed")
    ner = {"kind": "presidio", "model": "no_such_model"}
    with pytest.raises(DataError, match="`no_such_model` is not installed"):
        prepare_sources(tmp_path, write("rows.jsonl", ROWS), clean={"privacy": {"ner": ner}})


def test_every_kind_has_an_action() -> None:
    actions = Privacy.model_validate(
        {"action": "mask", "email": "drop", "ner": {"kind": "presidio", "action": "off"}}
    ).actions()
    assert actions["email"] == "drop"
    assert actions["person"] == "off"
    assert {actions[kind] for kind in actions.keys() - {"email", "person"}} == {"mask"}
