import json
import shutil
from pathlib import Path

import pytest
import torch

from luthier.core.errors import RunError
from luthier.core.run import Run
from luthier.model.adapters import lora
from luthier.model.adapters.adapted import Adapted
from luthier.model.load import load_model
from luthier.recipe.methods import AdamW, Lora
from luthier.train import checkpoint
from luthier.train.optim import optimizer_of
from luthier.train.state import State


def trained(model: Path, steps: int, *, seed: int = 0) -> tuple[Adapted, torch.optim.Optimizer]:
    """Return an adapter and optimizer after some steps on made-up gradients."""
    adapted = lora.attach(load_model(model), Lora(rank=2), base="m", seed=seed)
    optimizer = optimizer_of(AdamW(), adapted, learning_rate=1e-2, weight_decay=0.1)
    for step in range(steps):
        move(adapted, optimizer, step)
    return adapted, optimizer


def move(adapted: Adapted, optimizer: torch.optim.Optimizer, step: int) -> None:
    torch.manual_seed(step)
    for parameter in adapted.trainable.values():
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()
    optimizer.zero_grad()


def same(one: Adapted, other: Adapted) -> bool:
    return all(torch.equal(one.trainable[name], other.trainable[name]) for name in one.trainable)


def test_what_was_saved_goes_on_to_the_same_bits(tiny_llama: Path, tmp_path: Path) -> None:
    whole, _ = trained(tiny_llama, 6)
    part, optimizer = trained(tiny_llama, 3)
    checkpoint.save(Run(tmp_path), State(3), part, optimizer, key="k")
    again, fresh = trained(tiny_llama, 0, seed=9)
    assert checkpoint.restore(Run(tmp_path), again, fresh, key="k") == State(3)
    for step in range(3, 6):
        move(again, fresh, step)
    assert same(again, whole)


@pytest.mark.parametrize("init", ["pissa", "olora"])
def test_a_computed_start_is_that_of_the_machine_where_the_run_began(
    init: str, tiny_llama: Path, tmp_path: Path
) -> None:
    def attached(seed: int) -> Adapted:
        return lora.attach(load_model(tiny_llama), Lora(rank=2, init=init), base="m", seed=seed)  # type: ignore[arg-type]

    began, elsewhere = attached(0), attached(0)
    with torch.no_grad():
        for parameter in elsewhere.frozen.values():
            parameter.mul_(-1)  # singular vectors have no sign of their own
    checkpoint.save(Run(tmp_path), State(1), began, torch.optim.SGD(began.trainable.values()), key="k")
    checkpoint.restore(Run(tmp_path), elsewhere, torch.optim.SGD(elsewhere.trainable.values()), key="k")
    assert began.frozen
    assert all(torch.equal(elsewhere.frozen[name], value) for name, value in began.frozen.items())


def test_without_a_checkpoint_a_run_starts_at_step_0(tiny_llama: Path, tmp_path: Path) -> None:
    adapted, optimizer = trained(tiny_llama, 0)
    assert checkpoint.restore(Run(tmp_path), adapted, optimizer, key="k") is None


def test_the_newest_is_taken_by_number_not_by_name(tiny_llama: Path, tmp_path: Path) -> None:
    adapted, optimizer = trained(tiny_llama, 1)
    for step in (999_999, 1_000_000):
        checkpoint.save(Run(tmp_path), State(step), adapted, optimizer, key="k")
    assert checkpoint.restore(Run(tmp_path), adapted, optimizer, key="k") == State(1_000_000)


def test_a_checkpoint_of_another_recipe_is_refused(tiny_llama: Path, tmp_path: Path) -> None:
    adapted, optimizer = trained(tiny_llama, 1)
    checkpoint.save(Run(tmp_path), State(1), adapted, optimizer, key="k")
    with pytest.raises(RunError, match="changed since"):
        checkpoint.restore(Run(tmp_path), adapted, optimizer, key="other")


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def remove(path: Path) -> None:
    path.unlink()


FILES = ["adapter_model.safetensors", "optimizer.safetensors", "state.json", "adapter_config.json", "manifest.json"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", [flip, cut, empty, remove])
def test_any_damage_is_found_and_the_checkpoint_before_is_taken(
    name: str, damage: object, tiny_llama: Path, tmp_path: Path
) -> None:
    run = Run(tmp_path)
    adapted, optimizer = trained(tiny_llama, 2)
    checkpoint.save(run, State(2), adapted, optimizer, key="k")
    before = {key: value.detach().clone() for key, value in adapted.trainable.items()}
    move(adapted, optimizer, 2)
    checkpoint.save(run, State(3), adapted, optimizer, key="k")
    damage(tmp_path / "checkpoints" / "step-000003" / name)  # type: ignore[operator]
    again, fresh = trained(tiny_llama, 0, seed=5)
    assert checkpoint.restore(run, again, fresh, key="k") == State(2)
    assert all(torch.equal(again.trainable[key], before[key]) for key in before)
    assert len(list((tmp_path / "checkpoints").glob(".corrupt-step-000003-*"))) == 1
    assert len(run.events("warning")) == 1


def test_a_folder_a_kill_left_half_written_is_not_a_checkpoint(tiny_llama: Path, tmp_path: Path) -> None:
    adapted, optimizer = trained(tiny_llama, 1)
    checkpoint.save(Run(tmp_path), State(1), adapted, optimizer, key="k")
    home = tmp_path / "checkpoints"
    shutil.copytree(home / "step-000001", home / ".step-000002.abc.tmp")
    assert checkpoint.restore(Run(tmp_path), adapted, optimizer, key="k") == State(1)


def test_the_manifest_names_every_file(tiny_llama: Path, tmp_path: Path) -> None:
    adapted, optimizer = trained(tiny_llama, 1)
    checkpoint.save(Run(tmp_path), State(1), adapted, optimizer, key="k")
    folder = tmp_path / "checkpoints" / "step-000001"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert sorted([file["path"] for file in manifest["files"]] + ["manifest.json"]) == sorted(
        p.name for p in folder.iterdir()
    )


def saved(run: Run, *steps: int, keep: int = 2, best: int | None = None, key: str = "k", model: Path) -> list[str]:
    """Write checkpoints one after another, and return the names of the folders that are left."""
    adapted, optimizer = trained(model, 1)
    for step in steps:
        checkpoint.save(run, State(step, best_step=best), adapted, optimizer, key=key, keep=keep)
    return sorted(path.name for path in (run / "checkpoints").iterdir())


def test_retention_keeps_as_many_as_asked_and_the_best(tiny_llama: Path, tmp_path: Path) -> None:
    assert saved(Run(tmp_path), 1, 2, 3, 4, best=1, keep=1, model=tiny_llama) == ["step-000001", "step-000004"]


def test_retention_never_deletes_what_it_did_not_write(tiny_llama: Path, tmp_path: Path) -> None:
    run = Run(tmp_path)
    saved(run, 1, key="another run", model=tiny_llama)
    (tmp_path / "checkpoints" / "mine").mkdir()
    (tmp_path / "checkpoints" / "step-000002").mkdir()  # nothing in it says whose it is
    left = saved(run, 3, 4, keep=1, model=tiny_llama)
    assert left == ["mine", "step-000001", "step-000002", "step-000004"]


def test_retention_spares_the_new_one_beside_a_higher_number(tiny_llama: Path, tmp_path: Path) -> None:
    run = Run(tmp_path)
    assert saved(run, 9, 3, keep=1, model=tiny_llama) == ["step-000003", "step-000009"]


def test_a_checkpoint_of_another_run_is_passed_over_where_there_is_an_own_one(tiny_llama: Path, tmp_path: Path) -> None:
    run = Run(tmp_path)
    saved(run, 1, model=tiny_llama)
    saved(run, 5, key="another run", model=tiny_llama)
    adapted, optimizer = trained(tiny_llama, 0)
    assert checkpoint.restore(run, adapted, optimizer, key="k") == State(1)


def test_a_checkpoint_killed_while_it_was_replaced_is_put_back(tiny_llama: Path, tmp_path: Path) -> None:
    run = Run(tmp_path)
    saved(run, 1, 2, model=tiny_llama)
    home = tmp_path / "checkpoints"
    (home / "step-000002").rename(home / ".step-000002.0a1b2c3d.old")
    (home / "step-000001").rename(home / ".step-000001.0a1b2c3d.tmp")  # as a removal leaves it
    adapted, optimizer = trained(tiny_llama, 0)
    assert checkpoint.restore(run, adapted, optimizer, key="k") == State(2)
    assert [path.name for path in home.iterdir()] == ["step-000002"]
