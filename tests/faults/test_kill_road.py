"""`kill -9` in any stage of `luthier run`, the same command again: the same files as an uninterrupted run."""

import hashlib
import signal
import time
from pathlib import Path

import pytest

from luthier.core.run import Run
from warm import Warm

pytestmark = pytest.mark.slow

RECIPE = """\
name: tickets
model: {model}
data: {{sources: [{data}], split: {{valid: 0.3}}}}
train: {{max_steps: 6, batch_size: 8, max_length: 256, checkpoint_every: 2}}
evaluate: {{answers: 4, samples: 2, max_new_tokens: 8}}
export: [{{to: gguf, quant: f16}}]
"""

RESULTS = ("model/adapter_model.safetensors", "merged/model.safetensors", "export/gguf-f16/tickets-f16.gguf")


def command(out: Path, recipe: Path) -> list[str]:
    return ["run", str(recipe), "--out", str(out), "-q", "--json"]


def kill_in(stage: str, out: Path, recipe: Path, warm: Warm) -> None:
    """Kill the process as soon as the events say that `stage` began."""
    process = warm.start(*command(out, recipe))
    deadline = time.monotonic() + 200
    while not process.ended(0.002) and time.monotonic() < deadline:
        if out.is_dir() and any(event["stage"] == stage for event in Run(out).events("stage")):
            break
    process.kill()
    assert process.wait() == -signal.SIGKILL


def hashes(out: Path) -> dict[str, str]:
    return {name: hashlib.sha256((out / name).read_bytes()).hexdigest() for name in RESULTS}


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory, tiny_llama: Path) -> Path:
    home = tmp_path_factory.mktemp("road")
    data = home / "tickets.csv"
    data.write_text("question,answer\n" + "".join(f"What about peg {i}?,Turn it {i * 3} times.\n" for i in range(40)))
    path = home / "recipe.yaml"
    path.write_text(RECIPE.format(model=tiny_llama, data=data))
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, recipe: Path, warm: Warm) -> Path:
    out = tmp_path_factory.mktemp("whole") / "run"
    assert warm.luthier(*command(out, recipe)) == 0, warm.errors
    return out


@pytest.mark.parametrize("stage", ["prepare", "train", "evaluate", "merge", "export/gguf-f16"])
def test_a_road_killed_in_any_stage_leads_to_the_same_files(
    stage: str, recipe: Path, whole: Path, tmp_path: Path, warm: Warm
) -> None:
    out = tmp_path / "run"
    kill_in(stage, out, recipe, warm)
    assert warm.luthier(*command(out, recipe)) == 0, warm.errors
    assert hashes(out) == hashes(whole)
    assert not [path for path in out.rglob(".*.tmp") if path.is_dir()]


def test_a_folder_killed_between_its_two_renames_is_put_back(tmp_path: Path) -> None:
    from luthier.core.files import publish_folder, write_text

    with publish_folder(tmp_path / "out") as folder:
        write_text(folder / "a.txt", "old")
    (tmp_path / "out").rename(tmp_path / ".out.12345678.old")  # where a kill between the renames leaves it
    with pytest.raises(RuntimeError), publish_folder(tmp_path / "out"):  # noqa: PT012 - the failure is the point
        assert (tmp_path / "out" / "a.txt").read_text() == "old"
        raise RuntimeError
    assert (tmp_path / "out" / "a.txt").read_text() == "old"
