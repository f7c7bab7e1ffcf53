"""Loss scaling: what overflows is computed again, and a scaled step is the step."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_loop import PLAN, losses, work

from luthier.core.progress import Silent
from luthier.train.loop import train
from luthier.train.optim import optimizer_of
from luthier.train.scale import CALM, NONE, Scale
from luthier.train.step import take
from luthier.train.work import Work


def grad_norm(job: Work, scale: Scale) -> tuple[float, float, Scale]:
    optimizer = optimizer_of(job.recipe.train.optimizer, job.adapted, learning_rate=0.0, weight_decay=0.0)
    result, after = take(job, optimizer, 0, 0.0, scale)
    return result.loss, result.grad_norm, after


def test_a_scaled_step_in_fp32_has_the_same_bits_as_an_unscaled_one(tiny_llama: Path, tmp_path: Path) -> None:
    plain = grad_norm(work(tiny_llama, tmp_path), NONE)
    scaled = grad_norm(work(tiny_llama, tmp_path), Scale(1024.0))
    assert plain == (*scaled[:2], NONE)
    assert scaled[2] == Scale(1024.0)


def test_fp16_gives_nearly_the_gradient_of_fp32(tiny_llama: Path, tmp_path: Path) -> None:
    exact = grad_norm(work(tiny_llama, tmp_path), NONE)
    half = grad_norm(work(tiny_llama, tmp_path, replace(PLAN, precision="fp16")), Scale())
    assert half[:2] == pytest.approx(exact[:2], rel=1e-2)


def test_a_step_that_overflows_is_computed_again_at_a_smaller_scale(tiny_llama: Path, tmp_path: Path) -> None:
    job = work(tiny_llama, tmp_path, replace(PLAN, precision="fp16"))
    loss, norm, after = grad_norm(job, Scale(2.0**40, 7))
    assert after.factor < 2.0**40
    assert after.calm == 1
    assert (loss, norm) == pytest.approx(grad_norm(job, Scale())[:2], rel=1e-2)


def test_a_loss_that_is_no_number_is_not_tried_again(tiny_llama: Path, tmp_path: Path) -> None:
    job = work(tiny_llama, tmp_path, replace(PLAN, precision="fp16"))
    with torch.no_grad():
        next(iter(job.adapted.trainable.values())).fill_(torch.nan)
    loss, _, after = grad_norm(job, Scale())
    assert loss != loss
    assert after.factor == Scale().factor


def test_the_scale_doubles_after_many_calm_steps() -> None:
    scale = Scale(8.0)
    for _ in range(CALM):
        scale = scale.stepped()
    assert scale == Scale(16.0)
    assert Scale(8.0, 5).lowered() == Scale(4.0)


def test_a_training_in_fp16_goes_on_to_the_same_bits(tiny_llama: Path, tmp_path: Path) -> None:
    plan = replace(PLAN, precision="fp16", steps=6, checkpoint_every=3)
    constant = {"schedule": {"kind": "constant"}}
    train(work(tiny_llama, tmp_path / "whole", plan, **constant), Silent())
    train(work(tiny_llama, tmp_path / "broken", replace(plan, steps=3), **constant), Silent())
    train(work(tiny_llama, tmp_path / "broken", plan, **constant), Silent())
    whole, broken = losses(tmp_path / "whole"), losses(tmp_path / "broken")
    assert whole[-1] < whole[0]
    assert broken[-1] == whole[-1]
