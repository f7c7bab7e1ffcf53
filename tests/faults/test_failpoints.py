"""`kill -9` at every named place where something is written, and at random ones: the same bits in the end."""

import random
import shutil
from collections.abc import Callable

import pytest

from conftest import KINDS, Trial

pytestmark = pytest.mark.slow

Trials = Callable[[str], Trial]


def killed_at(trial: Trial, place: str, *, from_nothing: bool) -> None:
    out = trial.home / "killed" if from_nothing else trial.fresh("killed")
    assert trial.run(out, failpoint=place) == -9, place
    assert trial.run(out) == 0, f"{place}: {trial.warm.errors}"
    trial.same(out)
    shutil.rmtree(out)


def test_a_kill_at_any_named_place_of_training_ends_with_the_same_bits(trial: Trials) -> None:
    packed = trial("packed")
    first = [place for place in packed.places_in_training if place.endswith(":1")]
    assert len(first) >= 40
    for place in first:
        killed_at(packed, place, from_nothing=False)


def test_a_kill_while_the_model_before_training_is_asked_ends_with_the_same_bits(trial: Trials) -> None:
    pairs = trial("dpo")
    asked = [place for place in pairs.places_in_training if place.startswith("#.safetensors ")]
    assert len(asked) >= 4
    for place in asked:
        killed_at(pairs, place, from_nothing=False)


def test_kills_at_random_times_end_with_the_same_bits(trial: Trials) -> None:
    packed, seeds, kills = trial("packed"), random.Random(0), 0
    while kills < 20:
        kills += killed_at_random(packed, seeds)


def killed_at_random(trial: Trial, seeds: random.Random) -> int:
    """Kill a run at random times until one of its processes comes to the end, and return how often it was killed."""
    out, kills = trial.fresh("random"), 0
    while trial.run(out, kill_after=seeds.uniform(0, 0.7) if kills < 5 else None) != 0:
        kills += 1
    trial.same(out)
    shutil.rmtree(out)
    return kills


@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", KINDS)
def test_a_kill_at_any_named_place_of_the_whole_road_ends_with_the_same_bits(kind: str, trial: Trials) -> None:
    whole = trial(kind)
    passages: dict[str, str] = {place.rpartition(":")[0]: place for place in whole.places}
    for place in {place for place in whole.places if place.endswith(":1")} | {*passages.values()}:
        killed_at(whole, place, from_nothing=True)


@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", KINDS)
def test_a_hundred_kills_at_random_times_end_with_the_same_bits(kind: str, trial: Trials) -> None:
    chosen, seeds, kills = trial(kind), random.Random(1), 0
    while kills < 100:
        kills += killed_at_random(chosen, seeds)
