"""Damaged and odd inputs: each either gives rows whose account adds up, or an error that names the place."""

# ruff: noqa: E501 - a table reads best with a case to a line

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from data_files import prepare_sources
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from luthier.core.errors import LuthierError
from luthier.core.example import Example
from luthier.core.files import sha256
from luthier.recipe.methods import Rows

GOOD = b'{"prompt": "Q", "answer": "A"}\n'
OTHER = b'{"prompt": "Q2", "answer": "A2"}\n'
CSV = b"prompt,answer\nQ,A\n"
DEEP = b"[" * 10_000 + b"]" * 10_000


@dataclass(frozen=True)
class Case:
    name: str
    file: str
    content: bytes
    kept: int = 0
    dropped: tuple[str, ...] = ()
    """Reasons in the order of the file."""
    error: str = ""
    """A piece of the message, where nothing can be used."""


CASES = [
    Case("UTF-8 BOM", "a.jsonl", b"\xef\xbb\xbf" + GOOD, kept=1),
    Case("BOM between joined files", "a.jsonl", GOOD + b"\xef\xbb\xbf" + OTHER, kept=2),
    Case("UTF-8 BOM in CSV", "a.csv", b"\xef\xbb\xbf" + CSV, kept=1),
    Case("UTF-16 with BOM", "a.jsonl", GOOD.decode().encode("utf-16"), kept=1),
    Case("UTF-16 without BOM", "a.csv", CSV.decode().encode("utf-16-le"), kept=1),
    Case("UTF-32", "a.json", b"[%s]".replace(b"%s", GOOD).decode().encode("utf-32"), kept=1),
    Case("cp1252", "a.csv", "prompt;answer\nWhat’s up?;5 € for a café\n".encode("cp1252"), kept=1),
    Case("CRLF", "a.jsonl", GOOD.replace(b"\n", b"\r\n") + OTHER.replace(b"\n", b"\r\n"), kept=2),
    Case("CRLF in CSV", "a.csv", CSV.replace(b"\n", b"\r\n"), kept=1),
    Case("CR alone in CSV", "a.csv", CSV.replace(b"\n", b"\r"), kept=1),
    Case("no newline at the end", "a.jsonl", (GOOD + OTHER).rstrip(b"\n"), kept=2),
    Case("blank lines are no rows", "a.jsonl", b"\n\n" + GOOD + b"  \n\t\n" + OTHER, kept=2),
    Case("NUL bytes in a line", "a.jsonl", GOOD + b"\0\0\0\n" + OTHER, kept=2, dropped=("invalid_json",)),
    Case("NUL in a cell", "a.csv", CSV + b"Q\0x,A\n", kept=2),
    Case("lone surrogate", "a.jsonl", b'{"prompt": "Q", "answer": "half \\ud800"}\n', kept=1),
    Case("lone surrogate in a tool call", "a.jsonl", GOOD + b'{"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y", "name": "\\udfff"}]}\n', kept=1, dropped=("not_unicode",)),
    Case("surrogate pair", "a.jsonl", b'{"prompt": "Q", "answer": "\\ud83d\\ude00"}\n', kept=1),
    Case("duplicate keys: the last wins", "a.jsonl", b'{"prompt": "Q", "answer": "", "answer": "A"}\n', kept=1),
    Case("NaN beside the answer", "a.jsonl", b'{"prompt": "Q", "answer": "A", "score": NaN}\n', kept=1),
    Case("NaN as the answer", "a.jsonl", GOOD + b'{"prompt": "Q", "answer": NaN}\n', kept=1, dropped=("does_not_fit",)),
    Case("Infinity", "a.jsonl", GOOD + b'{"prompt": -Infinity, "answer": "A"}\n', kept=1, dropped=("does_not_fit",)),
    Case("number of 5,000 digits", "a.jsonl", GOOD + b'{"prompt": "Q", "answer": ' + b"9" * 5000 + b"}\n", kept=1, dropped=("invalid_json",)),
    Case("number above 64 bits", "a.jsonl", b'{"prompt": "Q", "answer": 123456789012345678901234567890}\n', kept=1),
    Case("line of 1 MB", "a.jsonl", b'{"prompt": "Q", "answer": "' + b"x" * 1_000_000 + b'"}\n', kept=1),
    Case("damaged line of 1 MB", "a.jsonl", GOOD + b'{"prompt": "' + b"x" * 1_000_000 + b"\n" + OTHER, kept=2, dropped=("invalid_json",)),
    Case("cell of 1 MB", "a.csv", b"prompt,answer\nQ," + b"y" * 1_000_000 + b"\n", kept=1),
    Case("nesting of 10,000", "a.jsonl", GOOD + DEEP + b"\n" + OTHER, kept=2, dropped=("nested_too_deep",)),
    Case("nesting of 10,000 in a value", "a.jsonl", GOOD + b'{"prompt": "Q", "answer": ' + DEEP + b"}\n", kept=1, dropped=("nested_too_deep",)),
    Case("nesting of 900 in a value", "a.jsonl", GOOD + b'{"prompt": "Q", "answer": ' + b"[" * 900 + b"]" * 900 + b"}\n", kept=1, dropped=("does_not_fit",)),
    Case("nesting of 10,000 in an array", "a.json", b"[" + GOOD + b"," + DEEP + b"]", kept=1, dropped=("nested_too_deep",)),
    Case("nesting of 10,000 as the file", "a.json", b'{"a": ' + DEEP + b"}", error="nested too deep"),
    Case("mixed types on lines", "a.jsonl", GOOD + b'"text"\n42\nnull\n[1]\ntrue\n', kept=1, dropped=("not_an_object",) * 5),
    Case("mixed types in a column", "a.jsonl", GOOD + b'{"prompt": 1, "answer": true}\n{"prompt": ["Q"], "answer": {}}\n', kept=2, dropped=("does_not_fit",)),
    Case("mixed items in an array", "a.json", b"[" + GOOD + b", 7, null]", kept=1, dropped=("not_an_object",) * 2),
    Case("bidi override", "a.jsonl", '{"prompt": "Q", "answer": "\u202egpj.exe"}\n'.encode(), kept=1),
    Case("truncated line", "a.jsonl", GOOD + OTHER[:20] + b"\n", kept=1, dropped=("invalid_json",)),
    Case("two objects on a line", "a.jsonl", GOOD + b'{"prompt": "Q"}{"answer": "A"}\n', kept=1, dropped=("invalid_json",)),
    Case("single quotes", "a.jsonl", GOOD + b"{'prompt': 'Q'}\n", kept=1, dropped=("invalid_json",)),
    Case("trailing comma", "a.json", b"[" + GOOD + b",]", kept=1),
    Case("array without end", "a.json", b"[" + GOOD + b"," + OTHER, kept=2, dropped=("invalid_json",)),
    Case("text behind the array", "a.json", b"[" + GOOD + b"] tail", kept=1, dropped=("invalid_json",)),
    Case("one bad byte in UTF-8", "a.jsonl", '{"prompt": "ä", "answer": "öüß ÄÖÜ"}\n'.encode() + b'{"prompt": "\xff", "answer": "A"}\n', kept=1, dropped=("invalid_encoding",)),
    Case("one bad byte in a UTF-8 CSV", "a.csv", CSV + "ä,öüßÄÖ\n".encode() + b"\xff,A\n", kept=2, dropped=("invalid_encoding",)),
    Case("empty strings", "a.jsonl", GOOD + b'{"prompt": "Q", "answer": ""}\n{"prompt": "Q", "answer": null}\n', kept=1, dropped=("empty_answer",) * 2),
    Case("only invisible characters", "a.jsonl", GOOD + '{"prompt": "Q", "answer": "\u200b\ufeff \u0000"}\n'.replace("\0", "").encode(), kept=1, dropped=("empty_answer",)),
    Case("empty object", "a.jsonl", GOOD + b"{}\n", kept=1, dropped=("unknown_format",)),
    Case("empty key", "a.jsonl", b'{"": "x", "prompt": "Q", "answer": "A"}\n', kept=1),
    Case("unclosed quote", "a.csv", CSV + b'Q3,"open\nQ4,A4\n', kept=2, dropped=("broken_quotes",)),
    Case("unclosed quote at the end", "a.csv", CSV + b'Q3,"open', kept=1, dropped=("broken_quotes",)),
    Case("quote inside a quoted cell", "a.csv", CSV + b'Q3,"a "b" c"\n', kept=1, dropped=("broken_quotes",)),
    Case("backslash before a quote", "a.csv", CSV + b'Q3,"a \\"b\\" c"\n', kept=1, dropped=("broken_quotes",)),
    Case("too few cells", "a.csv", CSV + b"Q3\n", kept=1, dropped=("wrong_columns",)),
    Case("too many cells", "a.csv", CSV + b"Q3,A,B\n", kept=1, dropped=("wrong_columns",)),
    Case("line of commas", "a.csv", CSV + b",\n", kept=1, dropped=("empty_answer",)),
    Case("header twice", "a.csv", CSV + b"prompt,answer\n", kept=2),
    Case("quoted header", "a.csv", b'"prompt"; "answer" \nQ;A\n', error="columns"),
    Case("spaces around header names", "a.csv", b"prompt , answer\nQ,A\n", kept=1),
    Case("upper-case header", "a.csv", b"PROMPT,Answer\nQ,A\n", kept=1),
    Case("duplicate", "a.jsonl", GOOD + OTHER + b'{"prompt": " q ", "answer": "a"}\n', kept=2, dropped=("duplicate",)),
    Case("formula", "a.csv", CSV + b'=cmd|\' /C calc\'!A0,A\n', kept=2),
    Case("terminal escape in a reason", "a.jsonl", GOOD + b'{"messages": [{"role": "\\u001b[2J", "content": "x"}]}\n', kept=1, dropped=("unknown_role",)),
    Case("empty file", "a.jsonl", b"", error="the file is empty"),
    Case("blank file", "a.jsonl", b"\n \n", error="no row in this file"),
    Case("BOM and nothing else", "a.csv", b"\xef\xbb\xbf", error="no row in this file"),
    Case("header and nothing else", "a.csv", b"prompt,answer\n", error="no row in this file"),
    Case("empty array", "a.json", b"[]", error="no row in this file"),
    Case("empty object as the file", "a.json", b"{}", error="no row in this file"),
    Case("no readable row", "a.jsonl", b"hello\nworld\n", error="none of the 2 rows can be read"),
    Case("a picture called CSV", "a.csv", bytes(range(256)) * 4, error=""),
    Case("gzip called JSONL", "a.jsonl", b"\x1f\x8b\x08\x00" + bytes(range(200)), error="can be read"),
    Case("broken header", "a.csv", b'"prompt,answer\nQ,A\n', error="the header can't be read"),
    Case("nothing left", "a.jsonl", b'{"prompt": "Q", "answer": ""}\n' * 2, error="no row is left of 2: 2 empty_answer"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_malformed_input_is_accounted_for_or_refused_with_its_place(case: Case, tmp_path: Path) -> None:
    path = tmp_path / case.file
    path.write_bytes(case.content)
    if case.kept:
        prepared = prepare_sources(tmp_path, path)
        assert [row["reason"] for row in prepared.rows("dropped")] == [*case.dropped]
        assert len(prepared.kept()) == case.kept
    else:
        with pytest.raises(LuthierError) as error:
            prepare_sources(tmp_path, path)
        assert error.value.exit_code == 2
        assert case.error in error.value.problem
        assert (error.value.place or "").startswith(str(path))
        assert "\x1b" not in str(error.value)
        assert not (tmp_path / "data").exists()


quiet = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
names = st.sampled_from(["a.csv", "a.tsv", "a.json", "a.jsonl"])
pieces = st.lists(
    st.sampled_from([b'"', b",", b";", b"\n", b"\r\n", b"\t", b"\xff", b"\0", b"Q", b"prompt", b"answer", b"{", b"}", b"[", b"]", b":", GOOD, CSV]),
    max_size=40,
).map(b"".join)  # fmt: skip


@quiet
@given(name=names, content=st.one_of(st.binary(max_size=200), pieces))
def test_any_bytes_give_rows_that_add_up_or_a_problem_in_words(name: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    problem = None
    try:
        prepare_sources(tmp_path, path)
    except LuthierError as error:
        problem = error
    assert problem is None or (problem.exit_code == 2 and problem.hint)


values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=6,
)
columns = st.sampled_from(["prompt", "answer", "messages", "conversations", "instruction", "output", "input", "x"])
columns |= st.sampled_from(["text", "label", "kto_tag", "chosen", "rejected", "margin", "system", "history", "tools"])
roles = st.sampled_from(["user", "assistant", "system", "tool", "narrator"])
turn = st.fixed_dictionaries({"role": roles, "content": values})
rows = st.one_of(
    st.dictionaries(columns, values, max_size=4),
    st.fixed_dictionaries({"prompt": st.text(max_size=9), "answer": st.text(max_size=9)}),
    st.fixed_dictionaries({"messages": st.lists(turn, max_size=4)}),
)
endings = st.one_of(values, st.lists(turn, max_size=4), st.text(max_size=9).map("\n\nHuman: Q\n\nAssistant: {}".format))
unusual: dict[Rows, st.SearchStrategy[dict[str, object]]] = {
    "pair": st.fixed_dictionaries({"prompt": endings, "chosen": endings, "rejected": endings}),
    "judged": st.fixed_dictionaries({"prompt": endings, "answer": endings, "label": values}),
    "class": st.fixed_dictionaries({"text": values, "label": values}),
    "text": st.fixed_dictionaries({"text": values}),
}


@pytest.mark.slow
@quiet
@given(table=st.lists(rows, max_size=8))
def test_any_rows_are_kept_or_dropped_with_a_reason(table: list[dict[str, object]], tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in [{"prompt": "Q0", "answer": "A0"}, *table]))
    prepared = prepare_sources(tmp_path, path)
    assert prepared.data["rows"]["in"] == len(table) + 1
    assert prepared.data["files"]["train"]["sha256"] == sha256(prepared.folder / "train.jsonl")


@pytest.mark.slow
@pytest.mark.parametrize("kind", unusual)
def test_any_rows_are_kept_or_dropped_for_every_objective(kind: Rows, tmp_path: Path) -> None:
    good = {"prompt": "Q", "answer": "A", "chosen": "A", "rejected": "B", "text": "T", "label": True}
    path = tmp_path / "rows.jsonl"

    @quiet
    @given(table=st.lists(unusual[kind] | rows, max_size=8))
    def holds(table: list[dict[str, object]]) -> None:
        path.write_text("".join(json.dumps(row) + "\n" for row in [good, *table]))
        prepared = prepare_sources(tmp_path, path, rows=kind)
        for row in prepared.kept():
            example = Example.from_dict(row)
            assert example.as_dict() == row
            assert bool(example.rejected) == (kind == "pair")
            assert type(example.label) is {"judged": bool, "class": str}.get(kind, type(None))
            assert not example.rejected or 0 < example.shared < min(len(example.messages), len(example.rejected))

    holds()
