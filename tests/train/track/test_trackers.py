"""Each tracker, read back with its own reader: what events.jsonl says, once, whatever happened in between.

Those whose package is not installed are skipped: `pip install -e '.[tensorboard,wandb,mlflow,trackio]'`.
"""

import json
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from luthier.core.errors import Failed
from luthier.core.run import Run
from luthier.recipe.methods import Mlflow, TensorBoard, Trackio, Wandb
from luthier.recipe.options import Method
from luthier.train.track.tracker import metrics, shown, tracking

CONFIG = {"model": "m", "train": {"seed": 0, "technique": {"kind": "lora"}}}

Scalars = dict[str, list[tuple[int, float]]]


def from_tensorboard(run: Run) -> Scalars:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    reader = EventAccumulator(str(run / "train/tensorboard"))
    reader.Reload()
    return {tag: [(point.step, point.value) for point in reader.Scalars(tag)] for tag in reader.Tags()["scalars"]}


def from_mlflow(run: Run) -> Scalars:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{run / 'train/mlflow.db'}")
    (found,) = client.search_runs([client.get_experiment_by_name("luthier").experiment_id])
    assert found.data.params["train.technique.kind"] == "lora"
    history = {name: client.get_metric_history(found.info.run_id, name) for name in found.data.metrics}
    return {name: sorted((point.step, point.value) for point in points) for name, points in history.items()}


def from_trackio(run: Run) -> Scalars:
    from trackio.sqlite_storage import SQLiteStorage

    found: Scalars = {}
    for row in SQLiteStorage.get_logs("luthier", run.path.name):
        for name in row.keys() - {"timestamp", "step"}:
            found.setdefault(name, []).append((row["step"], row[name]))
    return found


def from_wandb(run: Run) -> Scalars:
    from wandb.proto import wandb_internal_pb2

    (file,) = (run / "train/wandb").glob("offline-run-*/*.wandb")
    for _ in range(100):  # wandb's own process may close the file a little after `finish`
        records = [wandb_internal_pb2.Record.FromString(content) for content in leveldb(file.read_bytes())]
        if any(record.WhichOneof("record_type") == "exit" for record in records):
            break
        time.sleep(0.1)
    found: Scalars = {}
    for record in records:
        row = {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.history.item}
        for name in row:
            if name.startswith(("train/", "eval/")):
                found.setdefault(name, []).append((row["step"], row[name]))
    return found


def leveldb(content: bytes) -> Iterator[bytes]:
    """Read records of LevelDB's log format: blocks of 32 KiB, a header of 7 bytes a piece."""
    place, parts = 7, b""  # the file begins with seven bytes of W&B's own
    while place + 7 <= len(content):
        if 32768 - place % 32768 < 7:
            place += 32768 - place % 32768
            continue
        _, length, kind = struct.unpack_from("<IHB", content, place)
        parts += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # the whole, or its last piece
            yield parts
            parts = b""


READERS: dict[str, tuple[Method, Callable[[Run], Scalars]]] = {
    "tensorboard": (TensorBoard(), from_tensorboard),
    "wandb": (Wandb(), from_wandb),
    "mlflow": (Mlflow(), from_mlflow),
    "trackio": (Trackio(), from_trackio),
}


@pytest.fixture(params=READERS)
def tracker(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> tuple[Method, Callable[[Run], Scalars]]:
    # Its own database, chosen when it is imported: one for the session, and no test names a run as another does.
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path_factory.getbasetemp() / "trackio"))
    pytest.importorskip(request.param)
    if request.param == "mlflow":
        pytest.importorskip("sqlalchemy")
    return READERS[request.param]


def step(run: Run, number: int) -> None:
    run.log("step", step=number, loss=1.0 / number, grad_norm=0.5, tokens=10 * number)
    if number % 2 == 0:
        run.log("eval", step=number, loss=2.0 / number, accuracy=0.25)


def expected(numbers: range) -> Scalars:
    even = [n for n in numbers if n % 2 == 0]
    return {
        "train/loss": [(n, pytest.approx(1.0 / n, rel=1e-6)) for n in numbers],
        "train/grad_norm": [(n, 0.5) for n in numbers],
        "train/tokens": [(n, 10 * n) for n in numbers],
        "eval/loss": [(n, pytest.approx(2.0 / n, rel=1e-6)) for n in even],
        "eval/accuracy": [(n, 0.25) for n in even],
    }


@pytest.mark.filterwarnings("ignore")  # of the trackers' own packages
def test_a_run_that_goes_on_is_shown_without_gap_or_doubled_step(tracker: Any, tmp_path: Path) -> None:
    options, read = tracker
    run = Run(tmp_path / f"run-{options.kind}")
    run.log("state", state="begun")
    step(run, 1)  # before anybody looked
    with tracking(run, CONFIG, [options]):
        step(run, 2)
        run.log("warning", text="the disk is slow")
        step(run, 3)
    step(run, 4)  # while nobody looked
    again = Run(run.path)
    with tracking(again, CONFIG, [options]):
        step(again, 5)
        step(again, 6)
    assert again.listeners == []
    assert again.events("warning") == run.events("warning")
    assert read(run) == expected(range(1, 7))


@pytest.mark.filterwarnings("ignore")
def test_a_view_made_afterwards_shows_the_same_and_so_does_a_second_one(tracker: Any, tmp_path: Path) -> None:
    options, read = tracker
    run = Run(tmp_path / f"after-{options.kind}")
    run.log("state", state="begun")
    for number in range(1, 4):
        step(run, number)
    for _ in range(2):
        shown(run, CONFIG, options).close()
        assert read(run) == expected(range(1, 4))


@pytest.mark.filterwarnings("ignore")
def test_a_tracker_that_can_not_begin_is_told_before_training(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    run = Run(tmp_path)
    run.log("state", state="begun")
    (tmp_path / "train").write_text("a file where a folder must be")
    with pytest.raises(Failed, match="TensorBoard can't begin") as caught, tracking(run, CONFIG, [TensorBoard()]):
        pytest.fail("it began")
    assert "train.track" in caught.value.hint


def test_numbers_of_steps_and_measurements_are_metrics_and_nothing_else_is() -> None:
    event = {"time": 5.0, "kind": "step", "step": 3, "loss": 0.5, "tokens": 7, "finite": True, "rows": ["a"]}
    assert metrics(event) == {"train/loss": 0.5, "train/tokens": 7.0}
    assert metrics({"time": 5.0, "kind": "eval", "step": 3, "loss": 0.5}) == {"eval/loss": 0.5}
    assert metrics({"time": 5.0, "kind": "checkpoint", "step": 3}) == {}


def test_a_run_without_trackers_has_no_listener(tmp_path: Path) -> None:
    run = Run(tmp_path)
    with tracking(run, CONFIG, []):
        assert run.listeners == []
