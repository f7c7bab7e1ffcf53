import json
from collections import Counter
from pathlib import Path

import pytest
from data_files import Write, prepare_sources

from luthier.core.errors import DataError


def rows_of(count: int, **columns: object) -> str:
    """Return rows of JSON; what is callable makes its cell of the row's number."""
    made = (
        {"question": f"Q{n}", "answer": f"A{n}", **{c: v(n) if callable(v) else v for c, v in columns.items()}}
        for n in range(count)
    )
    return "".join(json.dumps(row) + "\n" for row in made)


def test_rows_of_a_group_stay_together_however_long_its_name(write: Write, tmp_path: Path) -> None:
    path = write("rows.jsonl", rows_of(300, user=lambda n: {"id": n % 40, "name": "x" * 200}))
    prepared = prepare_sources(tmp_path, path, split={"valid": 0.3, "test": 0.2, "group_by": "user"})
    where: dict[int, set[str]] = {}
    for part in ("train", "valid", "test"):
        rows = prepared.rows(part)
        assert rows
        for row in rows:
            where.setdefault((row["source"]["line"] - 1) % 40, set()).add(part)
    assert len(where) == 40
    assert all(len(parts) == 1 for parts in where.values())


def test_rows_without_a_group_are_each_on_their_own(write: Write, tmp_path: Path) -> None:
    path = write("rows.jsonl", rows_of(200, user=lambda n: "same" if n < 5 else None))
    prepared = prepare_sources(tmp_path, path, split={"valid": 0.3, "group_by": "user"})
    assert 30 < len(prepared.rows("valid")) < 90


@pytest.mark.parametrize("option", ["group_by", "stratify"])
def test_a_column_that_no_row_has_is_told(option: str, write: Write, tmp_path: Path) -> None:
    path = write("rows.jsonl", rows_of(3, user=" "))
    for column in ("usr", "user"):
        with pytest.raises(DataError) as error:
            prepare_sources(tmp_path, path, split={option: column})
        assert error.value.place == f"data.split.{option}"
        assert f"`{column}`" in error.value.problem
        assert "`answer`" in error.value.hint


def test_every_class_has_its_share_of_the_held_back_rows(write: Write, tmp_path: Path) -> None:
    lines = [{"text": f"t{n}", "label": "rare" if n % 10 == 0 else "common"} for n in range(400)]
    path = write("rows.jsonl", "".join(json.dumps(row) + "\n" for row in lines))
    prepared = prepare_sources(tmp_path, path, rows="class")
    counts = Counter(row["label"] for row in prepared.rows("valid"))
    assert counts["rare"] in (3, 4, 5)
    assert counts["common"] in (35, 36, 37)
    unstratified = prepare_sources(tmp_path, path, rows="class", split={"stratify": False})
    assert Counter(row["label"] for row in unstratified.rows("valid")) != counts


def test_a_column_can_say_what_is_held_back_evenly(write: Write, tmp_path: Path) -> None:
    path = write("rows.jsonl", rows_of(300, language=lambda n: ["de", "en", "fr"][n % 3]))
    prepared = prepare_sources(tmp_path, path, split={"valid": 0.2, "stratify": "language"})
    assert Counter(row["tags"]["language"] for row in prepared.rows("valid")) == {"de": 20, "en": 20, "fr": 20}


def test_rows_that_are_added_move_none(write: Write, tmp_path: Path) -> None:
    def parts(count: int) -> dict[int, str]:
        path = write("rows.jsonl", rows_of(count, user=lambda n: n % 50))
        prepared = prepare_sources(tmp_path, path, split={"valid": 0.2, "test": 0.1, "group_by": "user"})
        return {row["source"]["line"]: part for part in ("train", "valid", "test") for row in prepared.rows(part)}

    before, after = parts(150), parts(400)
    assert before == {line: after[line] for line in before}


def asked(*pairs: tuple[str, str]) -> str:
    return "".join(json.dumps({"question": question, "answer": answer}) + "\n" for question, answer in pairs)


def test_files_can_be_held_out_and_what_equals_their_rows_is_not_trained_on(write: Write, tmp_path: Path) -> None:
    train = write("rows/train.jsonl", asked(("a", "1"), ("b", "2"), ("C", "3"), ("d", "other"), ("e", "5"), ("e", "6")))
    valid = write("rows/valid.jsonl", asked(("c", "3"), ("d", "4"), ("x", "7"), ("X ", "7")))
    test = write("elsewhere/test.jsonl", asked(("x", "8"), ("y", "9"), ("a", "1")))
    prepared = prepare_sources(
        tmp_path, train.parent, valid_sources=(str(valid),), test_sources=(str(test),), split={"valid": 0.5}
    )

    def lines(part: str) -> list[tuple[str, int]]:
        return [(Path(row["source"]["file"]).name, row["source"]["line"]) for row in prepared.rows(part)]

    assert lines("test") == [("test.jsonl", 1), ("test.jsonl", 2), ("test.jsonl", 3)]
    assert lines("valid") == [("valid.jsonl", 1), ("valid.jsonl", 2)]
    assert lines("train") == [("train.jsonl", 2), ("train.jsonl", 5), ("train.jsonl", 6)]
    dropped = {
        (Path(row["source"]).name, row["line"]): (
            row["reason"],
            Path(row["matched"]["source"]).name,
            row["matched"]["line"],
        )
        for row in prepared.rows("dropped")
    }
    assert dropped == {
        ("train.jsonl", 1): ("held_out", "test.jsonl", 3),
        ("train.jsonl", 3): ("held_out", "valid.jsonl", 1),
        ("train.jsonl", 4): ("held_out", "valid.jsonl", 2),
        ("valid.jsonl", 3): ("held_out", "test.jsonl", 1),
        ("valid.jsonl", 4): ("duplicate", "valid.jsonl", 3),
    }
    assert prepared.check("held_out_rows")["details"].startswith("4 rows equal to one that is held out")
    assert prepared.data["splits"] == {"train": 3, "valid": 2, "test": 3}


def test_rows_of_a_group_that_is_held_out_are_not_trained_on(write: Write, tmp_path: Path) -> None:
    train = write("train.jsonl", rows_of(20, user=lambda n: n % 4))
    valid = write("valid.jsonl", asked(("own", "x")).replace("}", ', "user": 1}'))
    prepared = prepare_sources(tmp_path, train, valid_sources=(str(valid),), split={"group_by": "user"})
    assert prepared.data["splits"] == {"train": 15, "valid": 1, "test": 0}
    assert prepared.data["rows"]["by_reason"] == {"held_out": 5}


def test_of_sources_that_are_all_held_out_none_is_left(write: Write, tmp_path: Path) -> None:
    path = write("rows.jsonl", asked(("a", "1")))
    with pytest.raises(DataError, match="none is left to train on"):
        prepare_sources(tmp_path, path, valid_sources=(str(path),))
    other = write("other.jsonl", asked(("a", "2")))
    with pytest.raises(DataError, match=r"no row is left to train on"):
        prepare_sources(tmp_path, other, valid_sources=(str(path),))


def test_a_file_by_the_name_held_out_is_told_when_it_is_trained_on(write: Write, tmp_path: Path) -> None:
    train = write("rows/train.jsonl", asked(("a", "1"), ("b", "2")))
    valid = write("rows/rows_dev.v2.jsonl", asked(("c", "3")))
    write("rows/latest.jsonl", asked(("d", "4")))
    check = prepare_sources(tmp_path, train.parent).check("named_held_out")
    assert (check["status"], check["details"]) == (
        "warning",
        f"1 file by the name held out, and trained on, first `{valid}`",
    )
    told = prepare_sources(tmp_path, train.parent, valid_sources=(str(valid),)).data["checks"]
    assert "named_held_out" not in [check["name"] for check in told]
    assert "named_held_out" not in [check["name"] for check in prepare_sources(tmp_path, valid).data["checks"]]


def test_a_row_near_one_that_is_held_out_is_not_trained_on(write: Write, tmp_path: Path) -> None:
    words = "the quick brown fox jumps over a lazy dog while seven wizards box with five jugs of liquor in the old barn"
    near = words.replace("lazy", "sleepy")
    train = write("train.jsonl", asked((near, "one answer"), ("What else is there to ask?", "Much")))
    valid = write("valid.jsonl", asked((words, "quite another thing to say")))
    prepared = prepare_sources(tmp_path, train, valid_sources=(str(valid),))
    [dropped] = prepared.rows("dropped")
    assert (dropped["reason"], dropped["line"], dropped["matched"]) == (
        "held_out",
        1,
        {"source": str(valid), "line": 1},
    )


def test_rows_of_one_pattern_are_held_out_all_the_same_and_it_is_told(write: Write, tmp_path: Path) -> None:
    ask = "A customer asks about ticket number {}: please write a short and friendly answer on when it is ready."
    rows = [{"prompt": ask.format(i), "answer": f"Ticket {i} is ready in {i % 9 + 2} days."} for i in range(200)]
    prepared = prepare_sources(tmp_path, write("rows.jsonl", "".join(json.dumps(row) + "\n" for row in rows)))
    assert 8 <= prepared.data["splits"]["valid"] <= 35
    (alike,) = [check for check in prepared.data["checks"] if check["name"] == "alike_held_out"]
    assert alike["status"] == "warning"


def listed(**lists: int) -> str:
    """Return a JSON file of lists; the last row of each has the question of the first of the list before."""
    names = [*lists]
    made = {
        name: [{"question": f"{name} {n}", "answer": name} for n in range(count - 1)]
        + [{"question": f"{names[place - 1]} 0", "answer": name}]
        for place, (name, count) in enumerate(lists.items())
    }
    return json.dumps(made)


def test_lists_of_a_file_that_are_called_by_parts_stay_there_and_leak_nothing(write: Write, tmp_path: Path) -> None:
    path = write("rows.json", listed(oos_train=40, train=60, val=10, test=20))
    prepared = prepare_sources(tmp_path, path)

    def answers(part: str) -> Counter[str]:
        return Counter(row["messages"][-1]["content"] for row in prepared.rows(part))

    assert answers("test") == {"test": 20}
    assert answers("valid") == {"val": 9}  # one asks what the tests ask
    assert answers("train") == {"oos_train": 39, "train": 59}
    assert prepared.data["rows"]["by_reason"] == {"held_out": 3}
    assert "9 for validation and 20 for tests" in prepared.check("own_splits")["details"]
    anew = prepare_sources(tmp_path, path, split={"own": False})
    assert anew.data["splits"]["valid"] < 30
    assert anew.data["splits"]["test"] == 0


@pytest.mark.parametrize("said", [["train", "train"], ["test", "test"], ["train", "other"], ["train", None]])
def test_a_column_split_that_says_something_else_decides_nothing(
    said: list[str | None], write: Write, tmp_path: Path
) -> None:
    prepared = prepare_sources(tmp_path, write("rows.jsonl", rows_of(200, split=lambda n: said[n % 2])))
    assert 5 < prepared.data["splits"]["valid"] < 40
    assert not [check for check in prepared.data["checks"] if check["name"] == "own_splits"]


def test_a_column_split_that_names_the_parts_decides(write: Write, tmp_path: Path) -> None:
    path = write("rows.jsonl", rows_of(100, split=lambda n: "validation" if n % 4 == 0 else "train"))
    prepared = prepare_sources(tmp_path, path, split={"valid": 0.5, "test": 0.2})
    assert prepared.data["splits"]["valid"] == 25
    assert 5 < prepared.data["splits"]["test"] < 30
    held = write("held.jsonl", rows_of(5, note="x"))
    other = prepare_sources(tmp_path, path, test_sources=(str(held),))
    assert other.data["splits"]["valid"] < 20
