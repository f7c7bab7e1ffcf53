"""A tracker chosen in the recipe, from the command to what it shows."""

import sys
from pathlib import Path

import pytest

from luthier import workflow
from luthier.core.errors import MissingExtra
from luthier.core.run import Run
from luthier.recipe.load import parse_recipe


def begin(data: Path, model: Path, out: Path, more: str = "") -> Run:
    text = (
        f"model: {model}\ndata: {{sources: ['{data}'], split: {{valid: 0.2}}}}\n"
        f"train: {{max_steps: 4, batch_size: 8, max_length: 128{more}}}\n"
    )
    return workflow.begin(parse_recipe(text, file="recipe.yaml"), text, out)


def test_a_tracker_that_is_not_installed_is_told_with_what_to_type_before_anything_is_done(
    tickets: Path, tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    run = begin(tickets, tiny_llama, tmp_path / "run", ", track: [wandb]")
    with pytest.raises(MissingExtra) as caught:
        workflow.train(*workflow.reopen(run.path))
    assert caught.value.hint == "type `pip install 'luthier[wandb]'`"
    assert not (run / "data").exists()


@pytest.mark.filterwarnings("ignore")
def test_a_trained_run_may_be_given_another_tracker_and_is_not_trained_again(
    tickets: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = begin(tickets, tiny_llama, tmp_path / "run", ", track: tensorboard")
    workflow.train(*workflow.reopen(run.path))
    reader = EventAccumulator(str(run / "train/tensorboard"))
    reader.Reload()
    losses = [event["loss"] for event in run.events("step")]
    assert [point.value for point in reader.Scalars("train/loss")] == pytest.approx(losses)
    begin(tickets, tiny_llama, run.path)
    workflow.train(*workflow.reopen(run.path))
    assert len([event for event in run.events("stage") if event["stage"] == "train" and "state" in event]) == 1
    report = workflow.track(*workflow.reopen(run.path), to="tensorboard")
    assert report.next_steps[0].startswith(f"tensorboard --logdir {run / 'train/tensorboard'}")
