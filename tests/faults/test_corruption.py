"""Damaged checkpoints: every damage is found, none is loaded, the one before is taken."""

import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from luthier.core.run import Run
from luthier.model.adapters import lora
from luthier.model.load import load_model
from luthier.recipe.methods import AdamW, Lora
from luthier.train import checkpoint
from luthier.train.optim import optimizer_of
from luthier.train.state import State

Damage = Callable[[Path], None]

TENSORS = ["adapter_model.safetensors", "optimizer.safetensors"]
FILES = [*TENSORS, "state.json", "adapter_config.json", "manifest.json"]
FLIPS = 24


class Case:
    """A run with checkpoints after steps 1 and 2, and the model they are of."""

    def __init__(self, model: Path, home: Path) -> None:
        self.adapted = lora.attach(load_model(model), Lora(rank=2), base="m", seed=0)
        self.optimizer = optimizer_of(AdamW(), self.adapted, learning_rate=1e-2, weight_decay=0.0)
        self.home = home / "run"
        for step in (1, 2):
            torch.manual_seed(step)
            for parameter in self.adapted.trainable.values():
                parameter.grad = torch.randn_like(parameter)
            self.optimizer.step()
            if step == 1:
                self.first = {name: value.detach().clone() for name, value in self.adapted.trainable.items()}
            checkpoint.save(Run(self.home), State(step), self.adapted, self.optimizer, key="k")

    def copy(self, to: Path) -> tuple[Run, Path]:
        """Return a copy of the run, and its newest checkpoint."""
        shutil.rmtree(to, ignore_errors=True)
        shutil.copytree(self.home, to)
        return Run(to), to / "checkpoints" / "step-000002"

    def restored(self, run: Run) -> State | None:
        return checkpoint.restore(run, self.adapted, self.optimizer, key="k")

    def takes_the_first(self, run: Run) -> None:
        with torch.no_grad():
            for parameter in self.adapted.trainable.values():
                parameter.fill_(7.0)
        assert self.restored(run) == State(1)
        assert all(torch.equal(self.adapted.trainable[name], value) for name, value in self.first.items())


@pytest.fixture(scope="module")
def case(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Case:
    return Case(tiny_llama, tmp_path_factory.mktemp("checkpoints"))


def changed(name: str, change: Callable[[bytearray], bytearray | bytes]) -> Damage:
    def damage(folder: Path) -> None:
        before = (folder / name).read_bytes()
        after = bytes(change(bytearray(before)))
        assert after != before
        (folder / name).write_bytes(after)

    return damage


def flipped(bit: int) -> Callable[[bytearray], bytearray]:
    def change(content: bytearray) -> bytearray:
        place = bit % (8 * len(content))
        content[place // 8] ^= 1 << place % 8
        return content

    return change


def zeroed(share: float) -> Callable[[bytearray], bytearray]:
    def change(content: bytearray) -> bytearray:
        start = int(share * max(0, len(content) - 4096))
        content[start : start + 4096] = bytes(len(content[start : start + 4096]))
        return content

    return change


def linked(name: str) -> Damage:
    def damage(folder: Path) -> None:
        (folder / name).rename(folder.parent / "elsewhere")
        (folder / name).symlink_to(folder.parent / "elsewhere")

    return damage


def a_folder(name: str) -> Damage:
    def damage(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return damage


def swapped(one: str, other: str) -> Damage:
    def damage(folder: Path) -> None:
        (folder / one).rename(folder / "between")
        (folder / other).rename(folder / one)
        (folder / "between").rename(folder / other)

    return damage


def from_the_one_before(name: str) -> Damage:
    return lambda folder: shutil.copy(folder.with_name("step-000001") / name, folder / name) and None


def manifest(**other: object) -> Damage:
    def change(content: bytearray) -> bytes:
        return json.dumps({**json.loads(content), **other}).encode()

    return changed("manifest.json", change)


def the_folder_of_the_one_before(folder: Path) -> None:
    shutil.rmtree(folder)
    shutil.copytree(folder.with_name("step-000001"), folder)


def a_link_to_a_whole_one(folder: Path) -> None:
    folder.rename(folder.parent / "moved")
    folder.symlink_to(folder.parent / "moved")


def damages() -> Iterator[tuple[str, Damage]]:
    """Yield every kind of damage under its name."""
    seeds = random.Random(0)
    for name in FILES:
        for words, keep in (("nothing", 0), ("one byte", 1), ("a quarter", 0.25), ("half", 0.5), ("all but one", -1)):
            size = keep if isinstance(keep, int) else None
            yield (
                f"{name}: {words} is left",
                changed(name, lambda c, size=size, keep=keep: c[: int(keep * len(c)) if size is None else size]),
            )
        for bit in (0, -1, *(seeds.randrange(2**40) for _ in range(FLIPS))):
            yield f"{name}: bit {bit} flipped", changed(name, flipped(bit))
        for share in (0.0, 0.5, 1.0):
            yield f"{name}: a page of zeros at {share}", changed(name, zeroed(share))
        yield f"{name}: one byte more", changed(name, lambda content: content + b"\n")
        yield f"{name}: missing", lambda folder, name=name: (folder / name).unlink()
        yield f"{name}: a link to a whole one", linked(name)
        yield f"{name}: a folder", a_folder(name)
        if name != "adapter_config.json":  # the same in both
            yield f"{name}: of another step", from_the_one_before(name)
    for name in TENSORS:
        for size in (2**62, 2**31, 10**8):
            header = size.to_bytes(8, "little")
            yield f"{name}: a header of {size} bytes", changed(name, lambda c, header=header: header + c[8:])
    for number, one in enumerate(FILES):
        for other in FILES[number + 1 :]:
            yield f"{one} and {other} swapped", swapped(one, other)
    for name in ("pytorch_model.bin", ".hidden", "optimizer.safetensors.1"):
        yield f"{name} added", lambda folder, name=name: (folder / name).write_bytes(b"x") and None
    yield "a folder added", lambda folder: (folder / "more").mkdir()
    yield "manifest: another step", manifest(step=3)
    yield "manifest: another run", manifest(key="another")
    yield "manifest: another format", manifest(format=1)
    yield "manifest: no seal", manifest(seal="")
    yield "manifest: no files", manifest(files=[])
    yield "manifest: a list", changed("manifest.json", lambda _: b"[]")
    yield "manifest: too deep", changed("manifest.json", lambda _: b"[" * 100_000)
    yield "manifest: too long", changed("manifest.json", lambda content: content + b" " * 2_000_000)
    yield "the folder of another step", the_folder_of_the_one_before
    yield "a link to a whole checkpoint", a_link_to_a_whole_one


def test_every_damage_is_found_and_the_checkpoint_before_is_taken(case: Case, tmp_path: Path) -> None:
    names = []
    for name, damage in damages():
        run, newest = case.copy(tmp_path / "run")
        damage(newest)
        case.takes_the_first(run)
        aside = list(newest.parent.glob(".corrupt-step-000002-*"))
        assert len(aside) == 1, name
        (warning,) = run.events("warning")
        assert "checkpoint step-000002 is damaged" in warning["text"], name
        names.append(name)
    assert len(set(names)) == len(names) >= 200


def test_with_every_checkpoint_damaged_training_starts_anew_and_keeps_them_aside(case: Case, tmp_path: Path) -> None:
    run, newest = case.copy(tmp_path / "run")
    for folder in newest.parent.iterdir():
        (folder / "state.json").write_bytes(b"{}")
    assert case.restored(run) is None
    assert len(list(newest.parent.glob(".corrupt-*"))) == 2
