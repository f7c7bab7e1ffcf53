"""What the verbs hand to evaluation and certificates: the same rows as ever, without all of them in memory."""

import json
import os
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from luthier import workflow
from luthier.core.run import Run
from luthier.recipe.load import parse_recipe
from luthier.recipe.schema import Recipe
from luthier.tokens.encode import read_examples

FILES = ("valid.jsonl", "test.jsonl", "train.jsonl")


def recipe(data: Path, model: Path, more: str = "") -> tuple[Recipe, str]:
    text = (
        f"model: {model}\ndata: {{sources: ['{data}'], split: {{valid: 0.3{more}}}}}\n"
        "train: {epochs: 1, precision: fp32}\nevaluate: {answers: 4, samples: 2, max_new_tokens: 8}\n"
    )
    return parse_recipe(text, file="recipe.yaml"), text


def begun(folder: Path, data: Path, model: Path, more: str = "") -> tuple[Recipe, Run]:
    asked, text = recipe(data, model, more)
    return asked, workflow.begin(asked, text, folder)


def run_of(folder: Path, **counts: int) -> Run:
    """Return a run whose data files have so many rows."""
    (folder / "data").mkdir(parents=True, exist_ok=True)
    for name in FILES:
        lines = (
            json.dumps(
                {
                    "messages": [{"role": "user", "content": "x" * 200}, {"role": "assistant", "content": "y"}],
                    "source": {"file": name, "line": line},
                }
            )
            for line in range(1, counts.get(name.partition(".")[0], 0) + 1)
        )
        (folder / "data" / name).write_text("".join(f"{line}\n" for line in lines))
    (folder / "data" / "dropped.jsonl").write_text("")
    return Run(folder)


def peak(call: Callable[[], Any]) -> int:
    call()  # what is imported and remembered counts not
    tracemalloc.start()
    call()
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found


@pytest.mark.parametrize("count", [1, 15, 16, 17, 100, 1001])
@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_certified_rows_are_spread_evenly_over_the_file(tmp_path: Path, split: str, count: int) -> None:
    run = run_of(tmp_path, **{"train": 3, split: count})
    rows = list(read_examples(tmp_path / "data" / f"{split}.jsonl"))
    assert workflow.exporting.certified_rows(run) == rows[:: max(1, count // 16)][:16]


def test_certified_rows_take_no_memory_for_the_others(tmp_path: Path) -> None:
    run = run_of(tmp_path, train=5_000)
    assert peak(lambda: workflow.exporting.certified_rows(run)) < 200_000


@pytest.mark.parametrize("split", ["", "train"])
def test_the_first_rows_of_all_are_shown_with_no_memory_for_the_others(tmp_path: Path, split: str) -> None:
    run = run_of(tmp_path, train=3_000, valid=2_000)
    told = [{"source": "train.jsonl", "line": line, "reason": "empty"} for line in range(3_001, 5_001)]
    (tmp_path / "data" / "dropped.jsonl").write_text("".join(json.dumps(row) + "\n" for row in told))
    files = ["valid.jsonl", "train.jsonl"]
    assert peak(lambda: workflow.encoding.prepared_rows(run, split, files, limit=5)) < 200_000
    some, every = (workflow.encoding.prepared_rows(run, split, files, limit=limit) for limit in (5, None))
    assert some[1] == every[1] == len(every[0]) == (3_000 if split else 7_000)
    assert some[0] == every[0][:5]
    first = "train.jsonl" if split else "valid.jsonl"
    assert [(source.file, source.line) for source, _, _ in some[0]] == [(first, line) for line in range(1, 6)]
    assert every[0][-1][2] == ("" if split else "dropped while preparing: empty")


def test_a_source_is_read_once_for_its_hash(tiny_llama: Path, tickets: Path, tmp_path: Path) -> None:
    asked, run = begun(tmp_path / "run", tickets, tiny_llama)
    workflow.prepare(asked, run)
    before, state = tickets.read_bytes(), tickets.stat()
    with tickets.open("r+b") as handle:
        handle.write(b" " * len(before))
    os.utime(tickets, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert "done before" in workflow.prepare(asked, run).findings[0].text
    tickets.write_bytes(before + before.splitlines(keepends=True)[0])
    assert workflow.prepare(asked, run).data["rows"]["in"] == 41


def test_the_tokens_of_the_run_are_measured_where_they_are_those_of_the_held_out_rows(
    tiny_llama: Path, tickets: Path, tmp_path: Path
) -> None:
    asked, run = begun(tmp_path / "run", tickets, tiny_llama)
    workflow.train(asked, run)
    valid = run / "data" / "valid.jsonl"
    length = workflow.planning.kept_plan(run).max_length
    stored = workflow.encoding.stored_tokens(asked, run, valid, length)
    assert stored is not None
    assert [text.source for text in stored] == [example.source for example in read_examples(valid)]
    assert workflow.encoding.stored_tokens(asked, run, run / "data" / "test.jsonl", length) is None
    assert workflow.encoding.stored_tokens(asked, run, valid, length - 1) is None
    mapped = workflow.evaluate(asked, run)
    shutil.rmtree(run / "tokens")
    shutil.rmtree(run / "evaluate")
    assert workflow.encoding.stored_tokens(asked, run, valid, length) is None
    assert workflow.evaluate(asked, run).data == mapped.data


def test_the_test_split_is_measured_where_there_is_one(tiny_llama: Path, tickets: Path, tmp_path: Path) -> None:
    asked, run = begun(tmp_path / "run", tickets, tiny_llama, ", test: 0.3")
    workflow.train(asked, run)
    count = sum(1 for _ in read_examples(run / "data" / "test.jsonl"))
    assert workflow.evaluate(asked, run).data["rows"] == count
