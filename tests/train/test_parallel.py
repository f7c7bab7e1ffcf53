"""What several processes must agree on, and what one must not notice."""

import json
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_loop import PLAN, work

from luthier.core.errors import Failed
from luthier.core.processes import start
from luthier.core.progress import Silent
from luthier.recipe.schema import Recipe
from luthier.train.loop import train
from luthier.train.parallel import World, settled, shares

COSTS = st.lists(st.integers(1, 5000), max_size=40)


@given(COSTS, st.integers(1, 9))
def test_every_pack_is_computed_by_one_process(costs: list[int], size: int) -> None:
    taken = shares(costs, size)
    assert len(taken) == size
    assert sorted(piece for pieces in taken for piece in pieces) == list(range(len(costs)))
    assert all(first < second for pieces in taken for first, second in pairwise(pieces))


@given(COSTS.filter(bool), st.integers(1, 9))
def test_no_process_waits_longer_than_graham_allows(costs: list[int], size: int) -> None:
    loads = [sum(costs[piece] for piece in pieces) for pieces in shares(costs, size)]
    least = max(max(costs), sum(costs) / size)  # no schedule ends sooner
    # Graham's 4/3 is of the best schedule, which may be longer than this; 2 - 1/m holds of this (Graham 1966).
    assert max(loads) <= (2 - 1 / size) * least + 1e-9


def test_unequal_packs_are_shared_by_tokens_not_by_count() -> None:
    assert shares([100, 900, 300, 400, 150], 2) == [[1], [0, 2, 3, 4]]


def test_the_first_process_has_work_in_every_step() -> None:
    assert shares([7], 3) == [[0], [], []]


def test_one_process_exchanges_nothing() -> None:
    alone = World()
    weight = torch.nn.Parameter(torch.ones(3))
    alone.add_gradients([weight])
    assert weight.grad is None
    assert alone.tell({"a": 1}) == [{"a": 1}]
    assert alone.sums({"loss": 0.1}) == {"loss": 0.1}
    assert alone.from_first(lambda: "made") == "made"
    assert alone.turns([5, 3, 4]) == [(0, True), (1, True), (2, True)]
    assert alone.capacity([10, 20], 512) == 512
    assert alone.asked("SIGTERM") == "SIGTERM"
    alone.same("here", "key")


def test_memory_that_runs_out_while_gradients_are_summed_ends_the_run(tiny_llama: Path, tmp_path: Path) -> None:
    """Taken again, the step would wait for processes that are inside the sum."""

    class Full(World):
        def add_gradients(self, parameters: Any) -> None:
            raise torch.OutOfMemoryError("tried to allocate 1 GiB")

    made = replace(work(tiny_llama, tmp_path, replace(PLAN, steps=2)), world=Full())
    with pytest.raises(Failed, match="while gradients of step 1 were summed"):
        train(made, Silent())


@given(st.lists(st.integers(1, 300), min_size=1, max_size=30), st.integers(2, 8))
def test_a_forward_pass_holds_the_longest_example_and_no_more_than_memory_allows(lengths: list[int], size: int) -> None:
    capacity = World(size=size).capacity(lengths, 300)
    assert max(lengths) <= capacity <= 300
    assert capacity * size >= min(300 * size, sum(lengths))


def test_a_short_step_is_cut_so_that_each_process_has_a_pack() -> None:
    from luthier.tokens.pack import best_fit

    lengths = [30, 40, 35, 45, 50, 20, 25, 60]
    assert len(best_fit(lengths, 2048)) == 1
    assert len(best_fit(lengths, World(size=4).capacity(lengths, 2048))) >= 4


def chosen(gpu_memory: int, **train: Any) -> str:
    recipe = Recipe.model_validate({"model": "m", "data": {"sources": ["a"]}, "train": train}, strict=False)
    return settled(recipe.train, needed=100, gpu_memory=gpu_memory)[0].kind


def test_weights_are_spread_where_one_gpu_would_not_hold_the_training() -> None:
    assert chosen(80) == "fsdp2"
    assert chosen(120) == "ddp"
    assert chosen(0) == "ddp"
    assert chosen(80, optimizer={"kind": "adafactor"}) == "ddp"
    assert chosen(80, parallel={"kind": "ddp"}) == "ddp"
    assert chosen(120, parallel={"kind": "fsdp2"}) == "fsdp2"


@pytest.mark.parametrize(
    ("train", "reason"),
    [
        ({"optimizer": {"kind": "adafactor"}}, "`optimizer: adafactor` looks at whole weights"),
        ({"technique": {"kind": "qlora"}}, "`technique: qlora` has weights that can't be taken apart"),
        ({"objective": {"kind": "reward"}}, "reads the model below its head"),
    ],
)
def test_what_needs_whole_weights_is_refused_with_fsdp2_before_anything_begins(
    train: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        chosen(80, parallel={"kind": "fsdp2"}, **train)


def test_where_passes_take_everybody_all_compute_the_same_number_and_each_pack_counts_once() -> None:
    costs = [100, 90, 30, 20, 10]
    turns = [World(rank=rank, size=3, spread=True).turns(costs) for rank in range(3)]
    assert len({len(own) for own in turns}) == 1
    assert sorted(piece for own in turns for piece, counts in own if counts) == [0, 1, 2, 3, 4]
    assert {piece for own in turns for piece, counts in own if not counts} == {4}


WAYS = ("ddp", "fsdp2")
RELATIVE = 1e-5
"""Sums over processes are made in another order."""


@pytest.fixture(scope="module")
def found(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two processes found."""
    home = tmp_path_factory.mktemp("two")
    script = Path(__file__).with_name("two_processes.py")
    assert start(2, [sys.executable, "-W", "ignore", str(script), str(tiny_llama), str(home)]) == 0
    return [json.loads((home / f"found{rank}.json").read_text(encoding="utf-8")) for rank in range(2)]


def assert_same_curve(run: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert [step[0] for step in run["steps"]] == [step[0] for step in wanted["steps"]]
    for mine, theirs in zip([*run["steps"], *run["evals"]], [*wanted["steps"], *wanted["evals"]], strict=True):
        assert mine == pytest.approx(theirs, rel=RELATIVE)
    assert run["warnings"] == []


@pytest.mark.slow
def test_memory_that_runs_out_in_one_process_makes_passes_smaller_in_all(found: list[dict[str, Any]]) -> None:
    tight, roomy = found[0]["tight"], found[0]["roomy"]
    assert [warning["about"] for warning in tight.pop("warnings")] == ["memory"]
    assert_same_curve(tight | {"warnings": []}, roomy)
    assert tight["hash"] == found[1]["tight"]["hash"]


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["lora", "full", "idle", "kto"])
def test_two_processes_give_the_curve_of_one(found: list[dict[str, Any]], way: str, name: str) -> None:
    assert_same_curve(found[0][f"{way} {name}"], found[0][f"one {name}"])


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["lora", "full", "idle", "kto"])
def test_both_processes_have_the_same_weights_to_the_bit(found: list[dict[str, Any]], way: str, name: str) -> None:
    assert found[0][f"{way} {name}"]["hash"] == found[1][f"{way} {name}"]["hash"]


@pytest.mark.slow
def test_with_fsdp2_each_holds_half(found: list[dict[str, Any]]) -> None:
    for name in ("lora", "full"):
        held, whole = found[0][f"fsdp2 {name}"]["held"], found[0][f"fsdp2 {name}"]["whole"]
        assert held == whole // 2
        assert found[0][f"ddp {name}"]["held"] == whole


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_a_signal_to_one_stops_both_after_the_same_step_with_everything_saved(
    found: list[dict[str, Any]], way: str
) -> None:
    for told in found:
        code, text = told[f"{way} stopped"]
        assert code == 130
        assert "SIGTERM after step 3 of 6" in text


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_stopped_and_started_again_it_ends_with_the_same_bits(found: list[dict[str, Any]], way: str) -> None:
    again, whole = found[0][f"{way} resumed"], found[0][f"{way} lora"]
    assert again["hash"] == whole["hash"]
    assert (again["steps"], again["evals"]) == (whole["steps"], whole["evals"])


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_one_process_goes_on_with_what_two_began(found: list[dict[str, Any]], way: str) -> None:
    assert_same_curve(found[0][f"{way} to one"], found[0]["one lora"])


@pytest.mark.slow
def test_two_go_on_with_what_one_began(found: list[dict[str, Any]]) -> None:
    assert_same_curve(found[0]["one to fsdp2"], found[0]["one lora"])


@pytest.mark.slow
def test_words_reach_everybody_in_the_order_of_ranks(found: list[dict[str, Any]]) -> None:
    for told in found:
        words = told["words"]
        assert words["tell"] == [{"rank": 0, "text": "ä"}, {"rank": 1, "text": "ää"}]
        assert words["sums"] == {"loss": 0.75, "late": 1.0}
        assert words["sum"] == [2.0, 1.0]
        assert words["first"] == "made once"
        assert "process 1 has another number than the first: 1, not 0" in words["same"]


@pytest.mark.slow
def test_from_python_a_group_that_a_framework_made_is_used_and_left_alone(found: list[dict[str, Any]]) -> None:
    assert [told["api"] for told in found] == [["done", True], [None, True]]
