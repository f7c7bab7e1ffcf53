import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from luthier.train.watch import StopRequest, Watch, risen


def test_the_first_signal_asks_and_the_second_ends() -> None:
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.signal == "SIGTERM"
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_signals_have_their_old_meaning_afterwards() -> None:
    before = signal.getsignal(signal.SIGINT)
    with StopRequest():
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) == before


def test_beside_the_main_thread_signals_are_left_to_whoever_has_them() -> None:
    def listening() -> object:
        with StopRequest():
            return signal.getsignal(signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(listening).result() == before


def told(losses: list[float], *, held_out: dict[int, float] | None = None) -> list[tuple[str, int]]:
    """Return what is told of a training with these losses, and after which step."""
    watch, found = Watch(), []
    for step, loss in enumerate(losses, start=1):
        events = [{"kind": "step", "step": step, "loss": loss, "tokens": 100, "seconds": 1.0}]
        if held_out and step in held_out:
            events.append({"kind": "eval", "step": step, "loss": held_out[step]})
        found += [(trouble.about, step) for event in events for trouble in watch.look(event)]
    return found


def falling(count: int) -> list[float]:
    """Return losses that fall from 3 towards 1, each a little off."""
    return [1 + 2 * 0.97**i + 0.02 * (-1) ** i for i in range(count)]


def test_a_healthy_training_is_not_remarked_on() -> None:
    held_out = {i: 1 + 2 * 0.97**i for i in range(10, 300, 10)}
    assert told(falling(300), held_out=held_out) == []


def test_a_jump_of_the_loss_is_told_once() -> None:
    losses = falling(100)
    losses[60] = losses[61] = 9.0
    assert told(losses) == [("spike", 61)]


def test_a_loss_that_rises_for_good_is_divergence() -> None:
    about = {about for about, _ in told(falling(60) + [1.4 + 0.02 * i for i in range(60)])}
    assert about == {"divergence"}


def test_a_loss_that_never_falls_is_a_plateau() -> None:
    assert told([2.0 + 0.01 * (-1) ** i for i in range(110)])[0] == ("plateau", 100)


def test_a_held_out_loss_that_rises_while_training_goes_on_is_memorising() -> None:
    held_out = {10: 2.0, 20: 1.8, 30: 1.81, 40: 1.9, 50: 2.0, 60: 2.1}
    assert told(falling(60), held_out=held_out) == [("overfitting", 50)]


def test_a_held_out_loss_that_rises_with_the_training_loss_comes_from_too_large_steps() -> None:
    held_out = {10: 2.0, 20: 1.8, 30: 1.81, 40: 1.9, 50: 2.0, 60: 2.1}
    assert told(falling(20) + [2.4 + 0.03 * i for i in range(40)], held_out=held_out) == [
        ("divergence", 48),
        ("overshooting", 50),
    ]
    assert told([3.0 + 0.01 * i for i in range(4)], held_out={i: 1 + 0.1 * i for i in range(5)}) == [
        ("overshooting", 3)
    ]


def test_a_training_that_slows_down_is_told() -> None:
    watch, texts = Watch(), []
    for step in range(1, 81):
        event = {"kind": "step", "step": step, "loss": 3 * 0.99**step, "tokens": 100}
        texts += [trouble.text for trouble in watch.look({**event, "seconds": 1.0 if step < 41 else 4.0})]
    assert texts == ["training has slowed down to 25 tokens/s, from 100"]


def test_a_training_that_waits_for_its_rows_is_told() -> None:
    watch, texts = Watch(), []
    for step in range(1, 41):
        event = {"kind": "step", "step": step, "loss": 3 * 0.99**step, "tokens": 100, "seconds": 1.0}
        texts += [trouble.text for trouble in watch.look({**event, "waited": 0.9 if step > 20 else 0.01})]
    assert texts == ["training waits for its rows: 54% of the time of the last 20 steps"]


@pytest.mark.parametrize(
    ("losses", "up"),
    [
        ((2.0, 1.5, 1.6), True),
        ((2.0, 1.5, 1.51), False),
        ((2.0, 2.1), True),
        ((0.69, 0.0006, 0.0008), False),  # preferences: a third above next to nothing is still nothing
        ((0.69, -1.08), False),
        ((0.69, -1.08, -0.9), True),
    ],
)
def test_a_held_out_loss_has_risen_by_its_own_measure(losses: tuple[float, ...], up: bool) -> None:
    assert risen(losses[-1], lowest=min(losses), first=losses[0]) == up


def test_a_preference_loss_that_moves_by_nothing_is_not_memorising() -> None:
    held_out = {10: 0.69, 20: 0.0006, 30: 0.0007, 40: 0.0008, 50: 0.0009}
    assert told(falling(60), held_out=held_out) == []
    assert told(falling(60), held_out={10: 0.69, 20: -1.08, 30: -1.079, 40: -1.078, 50: -1.077}) == []
