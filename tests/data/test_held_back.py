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
