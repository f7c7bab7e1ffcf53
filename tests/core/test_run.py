import json
import os
from pathlib import Path
from typing import Any

import pytest

from luthier.core.errors import RunError
from luthier.core.run import Run


def test_events_are_read_back_in_order(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    run.log("step", step=1, loss=0.1 + 0.2)
    run.log("eval", step=1, loss=2.0)
    run.log("step", step=2, loss=1.0)
    assert [event["step"] for event in run.events("step")] == [1, 2]
    assert run.events("step")[0]["loss"] == 0.1 + 0.2
    assert [event["kind"] for event in run.events()] == ["step", "eval", "step"]


def test_a_line_torn_by_a_kill_costs_that_line_and_no_other(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.log("step", step=1)
    with (tmp_path / "events.jsonl").open("a") as handle:
        handle.write('{"kind": "step", "st')
    run.log("step", step=2)
    assert [event["step"] for event in run.events("step")] == [1, 2]


def test_a_stage_is_finished_for_its_key_only(tmp_path: Path) -> None:
    run = Run(tmp_path)
    (tmp_path / "a.txt").write_text("abc")
    run.finish("prepare", key="k1", report={"rows": 3}, files=[tmp_path / "a.txt"])
    assert run.finished("prepare", "k1") == {"rows": 3}
    assert run.finished("prepare", "k2") is None
    assert run.finished("train", "k1") is None


def test_a_stage_whose_file_was_cut_is_done_again(tmp_path: Path) -> None:
    run = Run(tmp_path)
    (tmp_path / "a.txt").write_text("abc")
    run.finish("prepare", key="k", report={}, files=[tmp_path / "a.txt"])
    (tmp_path / "a.txt").write_text("ab")
    assert run.finished("prepare", "k") is None


def test_doing_a_stage_again_forgets_what_was_built_on_it(tmp_path: Path) -> None:
    run = Run(tmp_path)
    for stage in ("prepare", "plan", "train", "export/gguf-f16", "export/gguf-q8_0"):
        run.finish(stage, key="k", report={}, files=[])
    run.finish("export/gguf-f16", key="k2", report={}, files=[])
    assert set(run.manifest()["stages"]) == {
        "prepare",
        "plan",
        "train",
        "export/gguf-f16",
        "export/gguf-q8_0",
    }
    run.finish("plan", key="k2", report={}, files=[])
    assert set(run.manifest()["stages"]) == {"prepare", "plan"}


def test_the_manifest_names_size_and_hash_of_every_file(tmp_path: Path) -> None:
    run = Run(tmp_path)
    (tmp_path / "a.txt").write_text("abc")
    run.finish("prepare", key="k", report={}, files=[tmp_path / "a.txt"])
    (file,) = json.loads((tmp_path / "manifest.json").read_text())["stages"]["prepare"]["files"]
    abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert file == {"path": "a.txt", "bytes": 3, "sha256": abc}


def test_a_second_process_is_told_who_holds_the_run(tmp_path: Path) -> None:
    with (
        Run(tmp_path).locked(),
        pytest.raises(RunError, match=rf"process {os.getpid()}"),
        Run(tmp_path).locked(),
    ):
        pytest.fail("both hold the run")


def test_the_lock_is_free_after_use(tmp_path: Path) -> None:
    run = Run(tmp_path)
    with run.locked():
        assert (tmp_path / ".lock").read_text() == str(os.getpid())
    with run.locked():
        assert run.events() == []


def test_a_folder_without_a_recipe_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run in this folder"):
        Run.open(tmp_path)


def test_a_file_is_no_run_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(RunError, match="is a file"):
        Run(tmp_path / "file")


def test_a_listener_is_told_each_event_after_it_was_written(tmp_path: Path) -> None:
    run = Run(tmp_path)
    told: list[tuple[dict[str, Any], int]] = []
    run.listeners.append(lambda event: told.append((event, len(Run(tmp_path).events()))))
    run.log("step", step=1, loss=0.5)
    run.log("eval", step=1, loss=0.25)
    assert [event for event, _ in told] == run.events()
    assert [written for _, written in told] == [1, 2]


def test_a_listener_that_fails_is_let_go_with_one_warning_and_the_others_go_on(tmp_path: Path) -> None:
    run = Run(tmp_path)
    told: list[str] = []

    def broken(_event: dict[str, Any]) -> None:
        raise ConnectionError("no answer")

    run.listeners += [broken, lambda event: told.append(event["kind"])]
    run.log("step", step=1)
    run.log("step", step=2)
    (warning,) = run.events("warning")
    assert warning["text"] == "`broken` failed and is told nothing more (ConnectionError: no answer)"
    assert sorted(told) == ["step", "step", "warning"]


def test_a_listener_may_ask_to_stop(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.listeners.append(lambda event: "stop" if event["step"] == 2 else None)
    run.log("step", step=1)
    assert not run.stop_asked
    run.log("step", step=2)
    assert run.stop_asked
