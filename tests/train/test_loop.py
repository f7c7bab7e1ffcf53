"""What the loop must do with real steps on a tiny real model."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from preferences import judged_rows

from luthier.core.errors import Interrupted
from luthier.core.example import Source
from luthier.core.progress import Silent
from luthier.core.run import Run
from luthier.model.adapters import full, lora
from luthier.model.load import load_model
from luthier.recipe.methods import Full, Lora
from luthier.recipe.methods import Kto as KtoOptions
from luthier.recipe.plan import Plan
from luthier.recipe.schema import Recipe
from luthier.tokens.render import Encoded
from luthier.train.loop import train
from luthier.train.noise import noisy
from luthier.train.objectives.kto import Kto
from luthier.train.objectives.sft import Sft
from luthier.train.step import take
from luthier.train.work import HeldOut, Work

PLAN = Plan(
    technique="lora",
    learning_rate=5e-3,
    batch_size=4,
    epochs=10.0,
    steps=20,
    warmup_steps=2,
    max_length=128,
    pack_tokens=128,
    precision="fp32",
    threads=1,
    checkpoint_every=10,
    evaluate_every=10,
    gradient_checkpointing=False,
    trainable_parameters=0,
    memory_bytes=0,
    reasons={},
)


def rows(count: int = 8) -> list[Encoded]:
    random = np.random.default_rng(0)
    made = []
    for i in range(count):
        length = int(random.integers(10, 30))
        learned = np.arange(length) >= length // 2
        made.append(Encoded(random.integers(4, 250, length).astype(np.int32), learned, Source("rows", i + 1)))
    return made


def work(model: Path, out: Path, plan: Plan = PLAN, **more: Any) -> Work:
    technique = more.pop("technique", Lora(rank=8))
    attach = full.attach if isinstance(technique, Full) else lora.attach
    settings = {"model": "m", "data": {"sources": ["a"]}, "train": {"technique": technique.model_dump(), **more}}
    recipe = Recipe.model_validate(settings, strict=False)
    adapted = attach(load_model(model), technique, base="m", seed=0)  # type: ignore[operator]
    objective = Sft(recipe.train.objective)
    return Work(recipe, plan, Run(out), "key", adapted, objective, rows(), None)


def losses(out: Path) -> list[float]:
    return [event["loss"] for event in Run(out).events("step")]


def test_eight_examples_can_be_memorised(tiny_llama: Path, tmp_path: Path) -> None:
    plan = replace(PLAN, steps=120, batch_size=8, learning_rate=1e-2)
    train(work(tiny_llama, tmp_path, plan, technique=Full()), Silent())
    assert losses(tmp_path)[-1] < 0.1 * losses(tmp_path)[0]


def test_a_step_of_many_packs_equals_a_step_of_one(tiny_llama: Path, tmp_path: Path) -> None:
    train(work(tiny_llama, tmp_path / "one", replace(PLAN, pack_tokens=1000, steps=5)), Silent())
    train(work(tiny_llama, tmp_path / "many", replace(PLAN, pack_tokens=30, steps=5)), Silent())
    assert losses(tmp_path / "many") == pytest.approx(losses(tmp_path / "one"), rel=1e-5)


def test_the_first_loss_is_the_token_mean_of_the_base(tiny_llama: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    train(work(tiny_llama, tmp_path, replace(PLAN, steps=1, batch_size=8)), Silent())
    model = AutoModelForCausalLM.from_pretrained(tiny_llama)
    total = count = 0.0
    for row in rows():
        ids = torch.from_numpy(row.input_ids.astype(np.int64))[None]
        labels = torch.where(torch.from_numpy(row.learned), ids, -100)
        tokens = int(row.learned[1:].sum())
        total += model(input_ids=ids, labels=labels).loss.item() * tokens
        count += tokens
    assert losses(tmp_path)[0] == pytest.approx(total / count, rel=1e-5)


def test_another_seed_trains_in_another_order(tiny_llama: Path, tmp_path: Path) -> None:
    train(work(tiny_llama, tmp_path / "a", replace(PLAN, steps=3), seed=0), Silent())
    train(work(tiny_llama, tmp_path / "b", replace(PLAN, steps=3), seed=1), Silent())
    assert losses(tmp_path / "a") != losses(tmp_path / "b")


def test_the_held_out_loss_is_measured_at_the_start_in_between_and_at_the_end(tiny_llama: Path, tmp_path: Path) -> None:
    job = replace(work(tiny_llama, tmp_path), measure=lambda _model: HeldOut(1.5, 10))
    train(job, Silent())
    assert [event["step"] for event in Run(tmp_path).events("eval")] == [0, 10, 20]


def test_a_repeated_step_with_another_loss_is_told(tiny_llama: Path, tmp_path: Path) -> None:
    Run(tmp_path).log("step", step=2, loss=123.0)
    train(work(tiny_llama, tmp_path, replace(PLAN, steps=3)), Silent())
    assert [event["step"] for event in Run(tmp_path).events("step")] == [2, 1, 3]
    (warning,) = Run(tmp_path).events("warning")
    assert "repeated step 2" in warning["text"]


def test_only_two_checkpoints_are_kept(tiny_llama: Path, tmp_path: Path) -> None:
    train(work(tiny_llama, tmp_path, replace(PLAN, checkpoint_every=4)), Silent())
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["step-000016", "step-000020"]


def measuring(losses: list[float]) -> Any:
    """Return a measurement that gives these held-out losses, one after another."""
    left = iter(losses)
    return lambda _model: HeldOut(next(left), 10)


def test_training_ends_when_the_held_out_loss_has_not_fallen_for_as_long_as_patience_says(
    tiny_llama: Path, tmp_path: Path
) -> None:
    plan = replace(PLAN, steps=12, evaluate_every=2, checkpoint_every=100)
    job = work(tiny_llama, tmp_path, plan, early_stopping={"patience": 2, "min_delta": 0.1})
    # At 2 the first, at 4 better, at 6 lower by less than min_delta, at 8 no better: two in a row without improvement.
    outcome = train(replace(job, measure=measuring([9.0, 3.0, 2.0, 1.95, 1.95])), Silent())
    assert outcome.steps == 8
    assert [event["step"] for event in Run(tmp_path).events("step")] == [*range(1, 9)]
    again = work(tiny_llama, tmp_path, plan, early_stopping={"patience": 2, "min_delta": 0.1})
    assert train(again, Silent()).steps == 8  # killed after it stopped, it stays stopped


def test_patience_is_counted_on_after_a_kill(tiny_llama: Path, tmp_path: Path) -> None:
    plan = replace(PLAN, steps=12, evaluate_every=2, checkpoint_every=4)
    options = {"early_stopping": {"patience": 3}, "keep": "best"}

    def killed() -> Any:
        left = iter([9.0, 2.0, 3.0, 3.0])

        def measure(_model: Any) -> HeldOut:
            for loss in left:
                return HeldOut(loss, 10)
            raise KeyboardInterrupt

        return measure

    with pytest.raises(KeyboardInterrupt):
        train(replace(work(tiny_llama, tmp_path, plan, **options), measure=killed()), Silent())
    # Restored at 4, where one measurement had waited: 6 and 8 make three.
    outcome = train(replace(work(tiny_llama, tmp_path, plan, **options), measure=measuring([3.0, 3.0])), Silent())
    assert (outcome.resumed_from, outcome.steps, outcome.kept) == (4, 8, 2)


def test_the_best_weights_are_kept_when_asked_for_and_retention_spares_them(tiny_llama: Path, tmp_path: Path) -> None:
    plan = replace(PLAN, steps=10, evaluate_every=2, checkpoint_every=2)
    at_four: dict[str, torch.Tensor] = {}
    measured = measuring([9.0, 3.0, 1.0, 2.0, 2.0, 2.0])
    job = work(tiny_llama, tmp_path, plan, keep="best")

    def measure(model: Any) -> HeldOut:
        held_out: HeldOut = measured(model)
        if held_out.loss == 1.0:
            at_four.update({name: value.detach().clone() for name, value in job.adapted.trainable.items()})
        return held_out

    outcome = train(replace(job, measure=measure), Silent())
    assert (outcome.steps, outcome.kept) == (10, 4)
    assert all(torch.equal(job.adapted.trainable[name], at_four[name]) for name in at_four)
    kept = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert kept == ["step-000004", "step-000008", "step-000010"]


def test_a_best_checkpoint_that_was_damaged_is_told_and_the_last_weights_are_taken(
    tiny_llama: Path, tmp_path: Path
) -> None:
    plan = replace(PLAN, steps=4, evaluate_every=2, checkpoint_every=2)
    job = work(tiny_llama, tmp_path, plan, keep="best")
    train(replace(job, measure=measuring([9.0, 1.0, 2.0])), Silent())
    (tmp_path / "checkpoints" / "step-000002" / "state.json").write_text("{}")
    again = work(tiny_llama, tmp_path, plan, keep="best")
    assert train(again, Silent()).kept == 4
    assert "the best checkpoint (step 2) is missing or damaged" in Run(tmp_path).events("warning")[0]["text"]


def test_a_listener_that_says_stop_ends_the_training_after_that_step_and_it_goes_on_to_the_same_bits(
    tiny_llama: Path, tmp_path: Path
) -> None:
    train(work(tiny_llama, tmp_path / "whole", replace(PLAN, steps=6)), Silent())
    job = work(tiny_llama, tmp_path / "stopped", replace(PLAN, steps=6))
    job.run.listeners.append(lambda event: "stop" if event.get("step") == 3 else None)
    with pytest.raises(Interrupted, match="stopped by a callback after step 3 of 6"):
        train(job, Silent())
    train(work(tiny_llama, tmp_path / "stopped", replace(PLAN, steps=6)), Silent())
    assert losses(tmp_path / "stopped") == losses(tmp_path / "whole")


def test_what_an_objective_looks_at_first_is_the_same_whatever_was_drawn_before(
    tiny_llama: Path, tmp_path: Path
) -> None:
    judged = judged_rows()
    before = dict.fromkeys(("answers", "mismatched"), np.full(len(judged), -50, np.float32))
    objective = Kto(KtoOptions()).bind(judged, before)
    made = work(tiny_llama, tmp_path, technique=Lora(rank=8, dropout=0.5, init="gaussian"), neftune=5.0)
    job = replace(made, objective=objective, rows=judged)
    optimizer = torch.optim.SGD([{"params": [*job.adapted.trainable.values()], "ratio": 1.0}], lr=0.0)
    for parameter in job.adapted.trainable.values():
        torch.nn.init.normal_(parameter, std=0.1)
    with noisy(job.adapted.model.train(), 5.0):
        results = []
        for seed in (1, 2):
            torch.manual_seed(seed)
            results.append(take(job, optimizer, 0, 0.0)[0]._replace(waited=0.0))
    assert results[0].figures["kl"] > 0
    assert results[0] == results[1]
