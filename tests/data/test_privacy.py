"""What is found, what is made of it, and how long that takes."""

import json
import re
import time
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from privacy_truth import (
    CARDS,
    EMAILS,
    IBANS,
    IDENTITIES,
    NOTHING,
    PHONES,
    credentials,
    scores,
    secrets,
    table,
    truth,
    words,
)

from luthier.core.errors import DataError
from luthier.core.example import Example, Message, Source
from luthier.data.clean import privacy
from luthier.data.clean.privacy import standins, vault
from luthier.data.clean.privacy.checksums import luhn, mod97, verhoeff
from luthier.data.clean.privacy.find import FINDERS, find
from luthier.data.clean.step import Notes
from luthier.recipe.privacy import Privacy

PIECES = [text for text, _ in (*credentials(), *secrets())] + [*EMAILS, *PHONES, *CARDS, *IBANS, *IDENTITIES]

ORDINARY = st.text(st.characters(codec="utf-8", exclude_characters="\uffff"), max_size=20)
MIXED = st.lists(st.one_of(st.sampled_from(PIECES), st.sampled_from(NOTHING), ORDINARY), max_size=8).map(" ".join)
"""Private pieces among ordinary text, with whatever characters Unicode has."""


def example(*texts: str, line: int = 1, **more: object) -> Example:
    return Example(tuple(map(Message, ("user", "assistant") * len(texts), texts)), Source("x", line), **more)


def rewritten(text: str, **options: object) -> str:
    step = privacy.step(Privacy(**options))
    assert step is not None
    (result,) = step([example("Q", text)], Notes())
    assert isinstance(result, Example)
    return result.messages[1].text


# Quality ---------------------------------------------------------------------------------------------------


def test_of_the_truth_set_nearly_all_is_found_and_nothing_else():
    found, mistakes = scores(lambda text: ((hit.start, hit.end, hit.kind) for hit in find(text)), truth())
    told = f"{table(found)}\n" + "\n".join(mistakes)
    assert found.keys() == FINDERS.keys(), told
    for kind, score in found.items():
        assert score.precision >= 0.99, f"{kind}\n{told}"
        assert score.recall >= 0.97, f"{kind}\n{told}"


@pytest.mark.parametrize("text", NOTHING)
def test_what_only_looks_private_is_left_alone(text: str):
    assert find(text) == []


def test_check_digits_are_those_of_the_standards():
    assert luhn("79927398713")  # the usual example of ISO/IEC 7812
    assert not luhn("79927398710")
    assert verhoeff("2363")  # Verhoeff's own: 236 has the check digit 3
    assert not verhoeff("2364")
    assert mod97("GB82WEST12345698765432")  # of the IBAN registry
    assert not mod97("GB28WEST12345698765432")


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("https://jane:k3y!pass@mail.org", ["credentials"]),
        ("password=jane@mail.org9X", ["secret"]),
        ("jane@mail.org, +44 20 7946 0958", ["email", "phone"]),
        ("4111-1111-1111-1111 and 415-555-2671", ["card", "phone"]),
    ],
)
def test_an_earlier_kind_wins_where_two_fit(text: str, kinds: list[str]):
    assert [hit.kind for hit in find(text)] == kinds


@given(MIXED)
def test_hits_stand_in_order_and_never_over_another(text: str):
    hits = find(text)
    assert all(hit.start < hit.end <= len(text) for hit in hits)
    assert all(before.end <= after.start for before, after in pairwise(hits))


# What is made of it ----------------------------------------------------------------------------------------


@given(MIXED)
def test_masking_leaves_nothing_to_find_and_masks_once(text: str):
    masked = rewritten(text, action="mask")
    assert find(masked) == []
    assert rewritten(masked, action="mask") == masked


@given(MIXED)
def test_a_stand_in_is_none_of_the_values_and_stays_when_made_again(text: str):
    once = rewritten(text, action="pseudonymise")
    assert rewritten(text, action="pseudonymise") == once
    assert rewritten(once, action="pseudonymise") == once
    for hit in find(text):
        assert not re.search(rf"(?<![A-Za-z0-9]){re.escape(text[hit.start : hit.end])}(?![A-Za-z0-9])", once)


@pytest.mark.parametrize("piece", PIECES)
def test_nobody_can_be_reached_by_a_stand_in(piece: str):
    (hit,) = find(piece)
    made = standins.StandIns().of(hit.kind, piece[hit.start : hit.end])
    assert find(made) == []
    assert made != piece


@pytest.mark.parametrize(
    ("kind", "one", "other"),
    [
        ("email", "Jane.Doe@Mail.org", "jane.doe@mail.org"),
        ("email", "jane [at] mail [dot] org", "jane@mail.org"),
        ("phone", "+1 (212) 664-7665", "212-664-7665"),
        ("phone", "0044 20 7946 0958", "+44 (0)20 7946 0958"),
    ],
)
def test_two_ways_to_write_one_value_get_one_stand_in(kind: str, one: str, other: str):
    first, second = (standins.StandIns().of(kind, value) for value in (one, other))
    assert [*filter(str.isalnum, first.lower())] == [*filter(str.isalnum, second.lower())]
    assert first != second or kind == "phone"  # written otherwise, as the values are: that can be undone


def test_salt_and_key_give_other_stand_ins(tmp_path: Path):
    key = tmp_path / "key"
    key.write_text("something secret")
    options = ({}, {"salt": 1}, {"key": str(key)}, {"salt": 1, "key": str(key)})
    made = {rewritten("jane@mail.org", action="pseudonymise", **each) for each in options}
    assert len(made) == 4


def test_ten_thousand_people_get_ten_thousand_stand_ins():
    stand_ins = standins.StandIns()
    for kind, form in (("email", "p{}@mail.org"), ("phone", "+44 20 {:08}"), ("secret", "sk-{}")):
        assert len({stand_ins.of(kind, form.format(number)) for number in range(10_000)}) == 10_000


def test_each_kind_does_what_it_was_told():
    text = "jane@mail.org called from 212-664-7665, card 4111 1111 1111 1111, from 142.250.74.46"
    done = rewritten(text, email="mask", phone="pseudonymise", card="flag", ip="off")
    assert done.startswith("[EMAIL] called from +999")
    assert done.endswith(", card 4111 1111 1111 1111, from 142.250.74.46")


def test_a_row_is_dropped_for_what_the_recipe_drops_and_says_the_kind_not_the_value():
    notes = Notes()
    step = privacy.step(Privacy(phone="drop", card="drop"))
    assert step is not None
    kept, dropped = step([example("me@x.org", "hi"), example("call +44 20 7946 0958, 4111111111111111", "hi")], notes)
    assert isinstance(kept, Example)
    assert (dropped.reason, dropped.detail) == ("private", "holds a phone number and a card number")
    assert dict(notes.found) == {"email": 1, "phone": 1, "card": 1}


def test_nothing_is_looked_for_when_every_kind_is_off():
    assert privacy.step(Privacy(action="off")) is None


# Where it stands -------------------------------------------------------------------------------------------


def test_every_text_of_a_row_counts():
    call = {
        "id": "a",
        "type": "function",
        "function": {"name": "mail", "arguments": '{"to": "jane@mail.org", "card": 4111111111111111}'},
    }
    row = Example(
        (
            Message("user", "Mail jane@mail.org", {"name": "jane@mail.org"}),
            Message("assistant", "", {"tool_calls": [call]}),
        ),
        Source("x", 1),
        tags={"author": "jane@mail.org"},
        tools=({"type": "function", "function": {"name": "mail", "description": "as jane@mail.org"}},),
        rejected=(Message("user", "Mail jane@mail.org"), Message("assistant", "jane@mail.org? No.")),
    )
    for action in ("mask", "pseudonymise"):
        step = privacy.step(Privacy(action=action))
        assert step is not None
        (done,) = step([row], Notes())
        assert isinstance(done, Example)
        assert "jane" not in json.dumps(done.as_dict())
        assert "4111111111111111" not in json.dumps(done.as_dict())
        arguments = json.loads(done.messages[1].extra["tool_calls"][0]["function"]["arguments"])
        assert done.messages[0].text == f"Mail {arguments['to']}"
        assert done.tags["author"] == arguments["to"] == done.messages[0].extra["name"]
        assert done.shared == row.shared == 0


def test_json_stays_json_also_where_a_number_is_masked_or_an_escape_hides():
    text = '{"card": 4111111111111111, "mail": "jane\\u0040mail.org"}'
    assert json.loads(rewritten(text, action="mask")) == {"card": "[CARD]", "mail": "[EMAIL]"}
    assert rewritten('{"mail": "jane@mail.org",  "n": 1}', action="mask") == '{"mail": "[EMAIL]",  "n": 1}'


def test_two_keys_that_are_masked_alike_stay_two():
    text = '{"jane@mail.org": 4111111111111111, "tom@mail.org": 5555555555554444}'
    assert json.loads(rewritten(text, action="mask")) == {"[EMAIL] 1": "[CARD]", "[EMAIL] 2": "[CARD]"}


def test_what_the_prompt_calls_a_phone_number_is_one_in_the_answer_too():
    step = privacy.step(Privacy(phone="mask"))
    assert step is not None
    (done,) = step([example("My phone is 4155552671.", "Shall I call 4155552671 or 4155552670?")], Notes())
    assert [turn.text for turn in done.messages] == ["My phone is [PHONE].", "Shall I call [PHONE] or 4155552670?"]


@pytest.mark.parametrize("action", ["flag", "mask"])
def test_what_is_nested_too_deep_to_look_at_is_dropped_only_where_something_was_to_go(action: str):
    deep: object = "jane@mail.org"
    for _ in range(3000):
        deep = [deep]
    row = Example((Message("user", "?"), Message("assistant", "!", {"x": deep})), Source("x", 1))
    step = privacy.step(Privacy(action=action))
    assert step is not None
    (done,) = step([row], Notes())
    assert done is row if action == "flag" else done.reason == "nested_too_deep"
    shown = privacy.shown(Privacy(action=action))({"x": deep})
    assert shown == "nested too deep to show without what is private" if action == "mask" else shown == {"x": deep}


def test_spans_to_learn_move_with_their_text():
    text = "Write jane@mail.org or tom@mail.org today"
    spans = [[0, 5], [text.index("jane"), text.index("jane") + 13], [text.index("tom") + 2, len(text)]]
    row = Example((Message("user", "?"), Message("assistant", text, {"learn": spans})), Source("x", 1))
    step = privacy.step(Privacy(action="mask"))
    assert step is not None
    (done,) = step([row], Notes())
    turn = done.messages[1]
    assert turn.text == "Write [EMAIL] or [EMAIL] today"
    assert [turn.text[start:end] for start, end in turn.extra["learn"]] == ["Write", "[EMAIL]", "[EMAIL] today"]


def test_a_row_without_anything_private_stays_the_same_object():
    row = example("How many?", "48/2 = 24", tags={"a": "b"})
    step = privacy.step(Privacy(action="mask"))
    assert step is not None
    assert step([row], Notes())[0] is row


# The vault -------------------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(st.lists(MIXED, min_size=1, max_size=4))
def test_a_vault_restores_every_text_exactly(tmp_path_factory: pytest.TempPathFactory, texts: list[str]):
    file = tmp_path_factory.mktemp("vault") / "v.jsonl"
    step, notes = privacy.step(Privacy(action="pseudonymise", vault=str(file))), Notes()
    assert step is not None
    done = [row.as_dict() for row in step([example(text) for text in texts], notes)]
    vault.write(file, notes.stand_ins)
    assert vault.restored(done, file) == [example(text).as_dict() for text in texts]


def test_a_vault_is_for_its_owner_and_grows(tmp_path: Path):
    file = tmp_path / "v.jsonl"
    vault.write(file, {("email", "a@x.org"): "one@mail.example"})
    vault.write(file, {("email", "b@x.org"): "two@mail.example", ("email", "A@x.org"): "one@mail.example"})
    assert file.stat().st_mode & 0o777 == 0o600
    assert [json.loads(line) for line in file.read_text().splitlines()] == [
        {"stand_in": "one@mail.example", "original": "a@x.org", "kind": "email"},
        {"stand_in": "two@mail.example", "original": "b@x.org", "kind": "email"},
    ]


def test_two_people_behind_one_stand_in_are_an_error(tmp_path: Path):
    file = tmp_path / "v.jsonl"
    vault.write(file, {("email", "a@x.org"): "one@mail.example"})
    with pytest.raises(DataError, match="two different values"):
        vault.write(file, {("email", "b@x.org"): "one@mail.example"})


def test_a_file_that_is_no_vault_is_not_overwritten(tmp_path: Path):
    file = tmp_path / "notes.txt"
    file.write_text("my notes")
    with pytest.raises(DataError, match="no vault"):
        vault.write(file, {("email", "a@x.org"): "one@mail.example"})
    assert file.read_text() == "my notes"


# Time ------------------------------------------------------------------------------------------------------

SIZE = 100_000

HOSTILE = (
    *words(
        r"""a 1 @ a@ a@a. a. 1. 1- +1 + (1 12- 00 1: 2001: : A1 GB82 :// a:// a://b:c - password password= sk- sk-a1 eyJ
        eyJaaaaaaaa. a-eyJ0 AKIA [at] (at)a é 中 电话1 a1 [ { \u0040 555- 0171 &#64; 123-45- f* sh1 <b> "a":
        ( +1- jane@mail.org"""
    ),
    *("0 ", "1 ", "4111 ", "GB82 WEST ", "token ", "token: a1", "call ", "call 1", "0171 1234567x", "a (at) a (dot) "),
    *("-----BEGIN PRIVATE KEY-----", "+44 20 7946 0958", "4111111111111111 ", "1 (", " "),
)


@pytest.mark.parametrize("unit", HOSTILE)
def test_hostile_texts_take_time_in_proportion_to_their_length(unit: str):
    short, long = (unit * (size // len(unit)) for size in (SIZE // 4, SIZE))
    assert _seconds(long) < max(10 * _seconds(short), 1.0)


def _seconds(text: str) -> float:
    began = time.process_time()
    rewritten(text, action="mask")
    return time.process_time() - began
