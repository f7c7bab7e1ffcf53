"""The verbs from Python: recipes in every form, data from memory, callbacks, notebooks."""

import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import luthier
from luthier.api import _call, _lines
from luthier.core.errors import DataError, LuthierError, RecipeError, RunError
from luthier.core.run import Run

ROWS = [{"question": f"What is ticket {i}?", "answer": f"The case number {i * 7}."} for i in range(20)]
SMALL = {"max_steps": 4, "batch_size": 4, "max_length": 128}


def asked(recipe: Any = None, **keys: Any) -> dict[str, Any]:
    return _call(recipe, keys).recipe.model_dump(mode="json")


def test_the_verbs_are_there_whatever_was_imported_before_and_importing_them_is_light() -> None:
    program = (
        "import sys, luthier\n"
        "first = luthier.train\n"
        "import luthier.train.schedules as schedules, luthier.evaluate.stats, luthier.export\n"
        "from luthier.train import schedules as again\n"
        "assert luthier.train is first and schedules is again and luthier.train.schedules is schedules\n"
        "assert all(callable(verb) for verb in (luthier.train, luthier.evaluate, luthier.export, luthier.prepare))\n"
    )
    heavy = (
        "import sys, luthier; luthier.train, luthier.plan; print([m for m in ('torch', 'numpy') if m in sys.modules])"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    told = subprocess.run([sys.executable, "-c", heavy], check=True, capture_output=True, text=True)
    assert told.stdout.strip() == "[]"


def test_a_callable_package_has_the_signature_of_its_function() -> None:
    assert [*inspect.signature(luthier.train).parameters] == ["recipe", "callbacks", "quiet", "asked"]


def test_keywords_a_mapping_a_file_and_an_object_add_up_to_the_same_recipe(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text("model: m\ndata: {sources: a.csv, format: alpaca}\ntrain: {technique: full, epochs: 2}\n")
    whole = {
        "model": "m",
        "data": {"sources": "a.csv", "format": "alpaca"},
        "train": {"technique": "full", "epochs": 2},
    }
    expected = asked(file)
    assert asked(whole) == expected
    assert asked(luthier.load_recipe(file)) == expected
    assert asked(model="m", data="a.csv", format="alpaca", technique="full", epochs=2) | {"name": "run"} == expected
    names = {"model_name": "m", "data_path": "a.csv", "hyperparameters": {"epochs": 2}}
    assert asked(**names, format="alpaca", technique="full") == expected
    assert asked(file, epochs=3)["train"]["epochs"] == 3
    assert asked(file, epochs=3)["train"]["technique"] == expected["train"]["technique"]


def test_a_keyword_that_is_none_is_told_with_the_nearest() -> None:
    with pytest.raises(RecipeError, match="unknown keyword `learning_rat`") as caught:
        luthier.train(model="m", data="a.csv", learning_rat=1e-3)
    assert caught.value.hint == "did you mean `learning_rate`?"
    with pytest.raises(LuthierError, match="epochs"):
        luthier.train(model="m", data="a.csv", epochs=-1)


def test_rows_from_memory_may_be_any_iterable_of_mappings() -> None:
    expected = [json.dumps(row) for row in ROWS]

    class Columns:
        """What a pandas DataFrame has of it."""

        iloc = None

        def to_dict(self, *, orient: str) -> list[dict[str, Any]]:
            return ROWS if orient == "records" else []

    for data in (ROWS, iter(ROWS), tuple(ROWS), Columns()):
        lines = _lines(data).decode().splitlines()  # type: ignore[arg-type]
        assert [json.dumps(json.loads(line)) for line in lines] == expected


def test_a_datasets_dataset_gives_its_rows() -> None:
    datasets = pytest.importorskip("datasets")
    assert [json.loads(line) for line in _lines(datasets.Dataset.from_list(ROWS)).splitlines()] == ROWS


def test_a_row_that_is_no_mapping_is_told_by_its_number() -> None:
    with pytest.raises(DataError, match="row 2 of the data is list"):
        luthier.train(model="m", data=[{"a": "b"}, ["c"]])
    with pytest.raises(DataError, match="row 1 of the data can't be written as JSON"):
        luthier.train(model="m", data=[{"a": object()}])


class StopsAt:
    def __init__(self, step: int) -> None:
        self.step = step
        self.seen: list[dict[str, Any]] = []

    def on_event(self, event: dict[str, Any]) -> Any:
        self.seen.append(event)
        return "stop" if event["kind"] == "step" and event["step"] == self.step else None


def test_training_from_memory_stops_where_a_callback_says_and_goes_on_to_the_end(
    tiny_llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    stops = StopsAt(2)
    same = {"model": str(tiny_llama), "data": ROWS, "out": out, **SMALL}
    report = luthier.train(**same, callbacks=[stops], quiet=True)
    assert report.data == {"state": "interrupted", "run": str(out)}
    assert [event["step"] for event in stops.seen if event["kind"] == "step"] == [1, 2]
    with pytest.raises(RunError, match="the rows of this call are not those"):
        luthier.train(**{**same, "data": ROWS[:10]}, quiet=True)
    assert capsys.readouterr() == ("", "")
    report = luthier.train(**same)
    assert report.data["state"] == "done"
    assert report.data["resumed_from"] == 2
    assert "train: " in capsys.readouterr().err  # plain lines, as in a notebook
    assert [event["step"] for event in Run(out).events("step")] == [1, 2, 3, 4]
    kept = [json.loads(line) for line in (out / "rows.jsonl").read_text().splitlines()]
    assert kept == ROWS
    compared = luthier.evaluate(report, quiet=True)
    assert compared.data["verdict"] in ("better", "worse", "same", "undecided")


def test_a_callback_that_fails_does_not_end_the_training(tiny_llama: Path, tmp_path: Path) -> None:
    class Broken:
        def on_event(self, event: dict[str, Any]) -> None:
            raise KeyError(event["kind"])

    report = luthier.train(
        model=str(tiny_llama), data=ROWS, out=tmp_path / "run", callbacks=[Broken()], quiet=True, **SMALL
    )
    assert report.data["state"] == "done"
    assert [e["text"] for e in Run(tmp_path / "run").events("warning") if "Broken.on_event" in e["text"]]


def test_a_notebook_shows_a_report_in_a_frame_that_runs_nothing() -> None:
    shown = luthier.Report("Title", "<script>alert(1)</script>", {})._repr_html_()
    assert shown.startswith("<iframe sandbox ")
    assert "<script" not in shown
    assert "&lt;title&gt;Title&lt;/title&gt;" in shown


def test_a_pair_is_one_row_of_a_plan(tiny_llama: Path, tmp_path: Path) -> None:
    pairs = [
        {"prompt": row["question"], "chosen": row["answer"], "rejected": f"{i} noes."} for i, row in enumerate(ROWS)
    ]
    out = tmp_path / "run"
    decided = luthier.plan(
        model=str(tiny_llama), data=pairs, objective="dpo", epochs=1, batch_size=1, out=out, quiet=True
    ).data
    assert decided["values"]["steps"]["value"] == len((out / "data" / "train.jsonl").read_text().splitlines()) > 10
