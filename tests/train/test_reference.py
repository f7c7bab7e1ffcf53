"""Log-probabilities before training: those of the base, kept on disk, computed again only where they must be."""

from pathlib import Path
from typing import Any

import numpy as np
import preferences
import pytest
import torch
from preferences import judged_rows, pair_rows
from safetensors.numpy import load_file

from luthier.core.hardware import Hardware
from luthier.core.progress import Silent
from luthier.model.load import load_model
from luthier.recipe.facts import ModelFacts, RowFacts
from luthier.recipe.methods import Dpo, Kto
from luthier.recipe.options import locate
from luthier.recipe.plan import plan
from luthier.recipe.schema import Recipe
from luthier.train import reference
from luthier.train.objectives.kto import Mismatched
from luthier.train.parallel import World
from luthier.train.reference import Before

ASKED = {"model": "m", "data": {"sources": ["a.csv"]}, "train": {"max_length": 128, "precision": "fp32"}}
PLAN = plan(
    Recipe.model_validate(ASKED, strict=False),
    ModelFacts("m", "/m", "LlamaForCausalLM", 10**5, 10**5, "F32", 64, 2, 96, 320, 512, "f"),
    RowFacts(12, 0, 20.0, 60, "r"),
    Hardware(cores=1, memory_bytes=10**10, bf16=False, gpu=None, gpu_memory_bytes=0, system="Linux"),
)


@pytest.fixture(scope="module")
def model(tiny_llama: Path) -> Any:
    return load_model(tiny_llama)


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "SHARD", 2)


class Killed(BaseException):
    """What ends a process."""


class KilledAfter(Silent):
    """Somebody who watches, and ends the process after so many examples."""

    def __init__(self, done: int) -> None:
        self.done = done

    def update(self, done: int, note: str = "") -> None:
        if done >= self.done:
            raise Killed


def before(model: Any, folder: Path, *, key: str = "key", progress: Silent | None = None) -> Before:
    return Before(model, folder, key, PLAN, World(), progress or Silent())


def shards(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {file.name: (file.stat().st_mtime_ns, file.read_bytes()) for file in folder.rglob("*.safetensors")}


def test_every_ending_has_the_log_probability_that_plain_transformers_finds(
    model: Any, tiny_llama: Path, tmp_path: Path
) -> None:
    rows = pair_rows()
    objective = before(model, tmp_path).bound(locate(Dpo())(Dpo()), rows, "train")
    with torch.no_grad():
        wanted = preferences.log_p(preferences.plain_model(tiny_llama), rows)
    assert objective.before_R == pytest.approx(wanted.numpy(), rel=1e-5)
    kept = [load_file(file)["logp"] for file in sorted((tmp_path / "train" / "endings").iterdir())]
    assert len(kept) == 3
    assert np.array_equal(np.concatenate(kept), objective.before_R)


def test_kto_gets_answers_and_mismatched_ones(model: Any, tiny_llama: Path, tmp_path: Path) -> None:
    rows = judged_rows()
    objective = before(model, tmp_path).bound(locate(Kto())(Kto()), rows, "valid")
    plain = preferences.plain_model(tiny_llama)
    with torch.no_grad():
        wanted = {
            "answers": preferences.log_p(plain, rows),
            "mismatched": preferences.log_p(plain, [*Mismatched(rows)]),
        }
    for kind, logp in wanted.items():
        assert objective.before[kind] == pytest.approx(logp.numpy(), rel=1e-5)


def test_a_computation_that_was_killed_goes_on_after_its_last_shard(model: Any, tmp_path: Path) -> None:
    rows, objective = pair_rows(), locate(Dpo())(Dpo())
    with pytest.raises(Killed):
        before(model, tmp_path / "broken", progress=KilledAfter(4)).bound(objective, rows, "train")
    left = shards(tmp_path / "broken")
    assert len(left) == 2
    whole = before(model, tmp_path / "whole").bound(objective, rows, "train")
    again = before(model, tmp_path / "broken").bound(objective, rows, "train")
    assert np.array_equal(again.before_R, whole.before_R)
    assert left.items() <= shards(tmp_path / "broken").items()


@pytest.mark.parametrize("damage", [lambda file: file[:-1] + bytes([file[-1] ^ 1]), lambda file: file[:20]])
def test_a_damaged_shard_is_computed_again_and_the_others_are_not(damage: Any, model: Any, tmp_path: Path) -> None:
    rows, objective = pair_rows(), locate(Dpo())(Dpo())
    whole = before(model, tmp_path).bound(objective, rows, "train")
    was = shards(tmp_path)
    file = tmp_path / "train" / "endings" / "00001.safetensors"
    file.write_bytes(damage(file.read_bytes()))
    again = before(model, tmp_path).bound(objective, rows, "train")
    assert np.array_equal(again.before_R, whole.before_R)
    now = shards(tmp_path)
    assert {name for name in was if now[name] != was[name]} == {file.name}


def test_numbers_of_another_model_are_not_taken(model: Any, tiny_qwen2: Path, tmp_path: Path) -> None:
    rows, objective = pair_rows(), locate(Dpo())(Dpo())
    first = before(model, tmp_path, key="one model").bound(objective, rows, "train")
    other = before(load_model(tiny_qwen2), tmp_path, key="another").bound(objective, rows, "train")
    assert not np.allclose(first.before_R, other.before_R)
