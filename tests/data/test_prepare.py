import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from data_files import Write, prepare_sources, read_jsonl

from luthier.core.errors import DataError, Problems
from luthier.core.example import Example
from luthier.data.clean import STEPS
from luthier.data.lengths import Tokenizer
from luthier.data.prepare import prepare
from luthier.recipe.data import Data

OFF_BY_DEFAULT = ("unicode", "punctuation", "transcript", "fillers", "boilerplate", "length", "language")


def jsonl(*rows: object) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def many(count: int) -> str:
    return jsonl(*({"question": f"Q{number}", "answer": f"A{number}"} for number in range(count)))


def test_the_rows_are_written_as_conversations_with_their_source(write: Write, tmp_path: Path) -> None:
    path = write("rows.csv", "question,answer,topic\n What is 1+1?,2,maths\n")
    prepared = prepare_sources(tmp_path, path)
    assert prepared.rows("train") == [
        {
            "messages": [{"role": "user", "content": "What is 1+1?"}, {"role": "assistant", "content": "2"}],
            "source": {"file": str(path), "line": 2},
            "tags": {"topic": "maths"},
        }
    ]
    assert Example.from_dict(prepared.rows("train")[0]).as_dict() == prepared.rows("train")[0]
    assert prepared.rows("valid") == prepared.rows("test") == prepared.rows("dropped") == []


def test_dropped_rows_say_where_why_what_and_which_row_they_equal(write: Write, tmp_path: Path) -> None:
    first = write("a.jsonl", jsonl({"question": "Q", "answer": "A"}))
    second = write(
        "b.jsonl", '{"question": "Q", "answer": "A "}\n{"question":\n' + jsonl({"question": "Q2", "answer": ""})
    )
    prepared = prepare_sources(tmp_path, first, second)
    assert prepared.rows("dropped") == [
        {
            "source": str(second),
            "line": 1,
            "reason": "duplicate",
            "detail": f"equal to {first}:1",
            "matched": {"source": str(first), "line": 1},
            "row": {"question": "Q", "answer": "A "},
        },
        {
            "source": str(second),
            "line": 2,
            "reason": "invalid_json",
            "detail": "expecting value at column 13",
            "row": '{"question":',
        },
        {
            "source": str(second),
            "line": 3,
            "reason": "empty_answer",
            "detail": "the answer is empty",
            "row": {"question": "Q2", "answer": ""},
        },
    ]


def test_the_report_has_the_keys_of_the_contract(write: Write, tmp_path: Path) -> None:
    prepared = prepare_sources(tmp_path, write("rows.jsonl", many(40)), split={"valid": 0.2, "test": 0.2})
    written = json.loads((prepared.folder / "report.json").read_text())
    assert written == json.loads(prepared.report.to_json())
    assert written["rows"] == {"in": 40, "kept": 40, "dropped": 0, "by_reason": {}}
    assert written["format"]["detected"] == "completion"
    assert written["format"]["output"] == "openai"
    assert written["format"]["fields"] == {"prompt": "question", "answer": "answer"}
    assert set(written["splits"]) == {"train", "valid", "test"}
    assert all(written["splits"].values())
    assert {tuple(check) for check in written["checks"]} == {("name", "status", "details", "hint")}
    assert set(written["tokens"]) == {"prompt", "answer", "total"}
    assert set(written["tokens"]["total"]) == {"min", "max", "mean", "median", "p95", "estimate"}
    assert set(written["files"]) == {"train", "valid", "test", "dropped"}
    assert set(written["files"]["train"]) == {"path", "bytes", "sha256"}
    assert written["files"]["train"]["path"] == "data/train.jsonl"
    assert [step["name"] for step in written["steps"]] == [name for name in STEPS if name not in OFF_BY_DEFAULT]
    assert len(written["fingerprint"]) == 64
    assert sorted(path.name for path in prepared.folder.iterdir()) == [
        "dropped.jsonl", "report.html", "report.json", "report.md", "test.jsonl", "train.jsonl", "valid.jsonl",
    ]  # fmt: skip


def test_the_report_for_people_shows_what_was_dropped_and_repaired(write: Write, tmp_path: Path) -> None:
    rows = [{"question": "cafÃ©?", "answer": "<p>yes</p>"}, {"question": "Q", "answer": ""}]
    prepared = prepare_sources(tmp_path, write("rows.jsonl", jsonl(*rows)))
    page = (prepared.folder / "report.md").read_text()
    assert "2 rows read, 1 kept, 1 dropped: 1 to train on." in page
    assert "caf\\[-Ã©-\\]{+é+}?" in page
    assert f"{tmp_path / 'rows.jsonl'}:2" in page


def test_two_runs_on_the_same_files_write_the_same_bytes(write: Write, tmp_path: Path) -> None:
    path = write("rows.jsonl", many(50))
    fingerprints = {prepare_sources(tmp_path, path).data["fingerprint"] for _ in range(2)}
    assert len(fingerprints) == 1
    assert prepare_sources(tmp_path, path, split={"seed": 1}).data["fingerprint"] not in fingerprints


def test_no_row_changes_its_split_when_rows_are_added_and_shuffled(write: Write, tmp_path: Path) -> None:
    def parts(text: str) -> dict[str, str]:
        prepared = prepare_sources(tmp_path, write("rows.jsonl", text), split={"valid": 0.3, "test": 0.2})
        return {
            row["messages"][0]["content"]: part for part in ("train", "valid", "test") for row in prepared.rows(part)
        }

    before = parts(many(60))
    lines = many(200).splitlines(keepends=True)
    random.Random(0).shuffle(lines)
    after = parts("".join(lines))
    assert before.items() <= after.items()


def test_two_prompts_give_one_row_to_validate_on_and_one_prompt_none(write: Write, tmp_path: Path) -> None:
    assert prepare_sources(tmp_path, write("a.jsonl", many(2))).data["splits"] == {"train": 1, "valid": 1, "test": 0}
    one = jsonl({"question": "Q", "answer": "A"}, {"question": "q", "answer": "B"})
    assert prepare_sources(tmp_path, write("a.jsonl", one)).data["splits"] == {"train": 2, "valid": 0, "test": 0}


def test_the_callers_tokenizer_is_used(write: Write, tmp_path: Path) -> None:
    path = write("rows.jsonl", many(3))
    report = prepare(
        Data(sources=(str(path),)), tmp_path / "data", tokenizer=Tokenizer(lambda: lambda texts: [7] * len(texts))
    )
    assert report.data["tokens"]["total"]["max"] == 14
    assert report.data["tokens"]["total"]["estimate"] is False


def test_files_go_by_the_names_they_are_shown_as(write: Write, tmp_path: Path) -> None:
    path = write("rows.csv", "question,answer\nQ,A\nQ\n")
    prepare(Data(sources=(str(path),)), tmp_path / "data", shown_as={path: "bundled/rows.csv"})
    assert read_jsonl(tmp_path / "data" / "train.jsonl")[0]["source"] == {"file": "bundled/rows.csv", "line": 2}
    assert read_jsonl(tmp_path / "data" / "dropped.jsonl")[0]["source"] == "bundled/rows.csv"


def test_a_failure_leaves_the_earlier_result_as_it_was(write: Write, tmp_path: Path) -> None:
    prepared = prepare_sources(tmp_path, write("rows.jsonl", many(3)))
    before = {path: path.read_bytes() for path in prepared.folder.iterdir()}
    with pytest.raises(DataError):
        prepare_sources(tmp_path, write("bad.jsonl", "nothing\n"))
    assert {path: path.read_bytes() for path in prepared.folder.iterdir()} == before


def test_everything_wrong_with_the_files_is_told_at_once(write: Write, tmp_path: Path) -> None:
    good = write("good.jsonl", many(3))
    bad = [write("bad.jsonl", "nothing\n"), write("other.csv", "a,b\n1,2\n"), write("more.json", "3")]
    with pytest.raises(Problems) as error:
        prepare_sources(tmp_path, good, *bad)
    assert [problem.place for problem in error.value.problems] == [f"{bad[0]}:1", str(bad[1]), str(bad[2])]


def test_cleaning_steps_can_be_switched_off(write: Write, tmp_path: Path) -> None:
    rows = [{"question": " <b>cafÃ©\u200b</b> ", "answer": "A"}] * 2
    steps = ("mojibake", "html", "control", "special_tokens", "residue", "whitespace", "roles")
    off = dict.fromkeys((*steps, "echo", "refusals", "repetition", "duplicates"), False)
    prepared = prepare_sources(tmp_path, write("rows.jsonl", jsonl(*rows)), clean=off)
    assert [row["messages"][0]["content"] for row in prepared.kept()] == [rows[0]["question"]] * 2
    assert [step["name"] for step in prepared.data["steps"]] == ["empty", "privacy", "profanity"]


def test_half_a_character_never_reaches_a_tokenizer(write: Write, tmp_path: Path) -> None:
    rows = write("rows.jsonl", jsonl({"question": "Q", "answer": "A"}, {"question": "half \ud800", "answer": "A"}))
    prepared = prepare_sources(tmp_path, rows, clean={"control": False})
    assert [row["reason"] for row in prepared.rows("dropped")] == ["not_unicode"]


def test_the_stage_tells_how_far_it_is_and_reaches_its_total(write: Write, tmp_path: Path) -> None:
    class Watching:
        def __init__(self) -> None:
            self.total = 0
            self.seen: list[int] = []

        def start(self, stage: str, total: int, unit: str) -> None:
            self.total = total

        def update(self, done: int, note: str = "") -> None:
            self.seen.append(done)

        def end(self, note: str = "") -> None:
            self.seen.append(-1)

    watching = Watching()
    sources = (str(write("a.jsonl", many(1200))), str(write("b.csv", "question,answer\nx,y\n")))
    prepare(Data(sources=sources), tmp_path / "data", progress=watching)
    assert watching.seen == [*sorted(watching.seen[:-1]), -1]
    assert watching.seen[-2] == watching.total


MEASURED = """
import sys
from pathlib import Path
from luthier.data.batches import Limits
from luthier.data.prepare import prepare
from luthier.recipe.data import Data

def kilobytes(name):
    return int(Path("/proc/self/status").read_text().split(name + ":")[1].split()[0])

few, many, out = sys.argv[1:]
prepare(Data(sources=(few,)), Path(out, "few"), limits=Limits(size=1 << 16))
Path("/proc/self/clear_refs").write_text("5")  # forgets how high memory stood
before = kilobytes("VmRSS")
prepare(Data(sources=(many,)), Path(out, "many"), limits=Limits(size=1 << 16))
print(1024 * (kilobytes("VmHWM") - before))
"""
"""Prepares a few rows and then many, and tells by how many bytes memory stood higher for those."""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rows.jsonl", "rows.csv"])
def test_memory_stays_flat_in_the_rows(write: Write, tmp_path: Path, name: str) -> None:
    fillers = [f"word{number} " * 1000 for number in range(600)]
    rows = [(f"Q {filler}", f"A {filler}") for filler in fillers]
    if name.endswith(".csv"):
        text = "question,answer\n" + "".join(f"{question},{answer}\n" for question, answer in rows)
    else:
        text = jsonl(*({"question": question, "answer": answer} for question, answer in rows))
    few = text[: len(text) // 20].rpartition("\n")[0] + "\n"
    command = [sys.executable, "-c", MEASURED, str(write(f"few-{name}", few)), str(write(name, text)), str(tmp_path)]
    grown = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert grown < 0.5 * len(text)


def test_where_no_row_is_left_all_are_listed_with_their_reasons(write: Write, tmp_path: Path) -> None:
    empty = write("rows.jsonl", '{"question": "Q", "answer": ""}\n' * 3 + '{"question": "Q"}\n')
    with pytest.raises(DataError) as error:
        prepare_sources(tmp_path, empty)
    assert error.value.problem == "no row is left of 4: 3 empty_answer, 1 unknown_format"
    assert "nothing, or too little, in every answer" in error.value.hint
    assert str(tmp_path / "dropped.jsonl") in error.value.hint
    dropped = read_jsonl(tmp_path / "dropped.jsonl")
    assert [row["reason"] for row in dropped] == [*["empty_answer"] * 3, "unknown_format"]
    prepare_sources(tmp_path, write("rows.jsonl", '{"question": "Q", "answer": "A"}\n'))
    assert not (tmp_path / "dropped.jsonl").exists()
