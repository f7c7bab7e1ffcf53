"""Every objective is its paper's formula, however its step was cut: beside plain Transformers, written out by hand."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import preferences
import pytest
import torch
from preferences import judged_rows, lengths, pair_rows
from pydantic import ValidationError
from torch.nn.functional import cross_entropy, logsigmoid
from transformers.trainer_pt_utils import LabelSmoother

from luthier.model.load import load_model
from luthier.recipe.methods import Cpo, Dpo, Kto, Orpo, Pretrain, Sft, Simpo
from luthier.recipe.options import locate
from luthier.train.measure import measure
from luthier.train.objectives.kto import Mismatched
from luthier.train.objectives.objective import Objective, Refers

LIMIT = 1e-6


@pytest.fixture
def base(tiny_qwen2: Path) -> Path:
    """Return a model to compare with that is another than the one that learns."""
    return tiny_qwen2


Formula = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""Takes log p of all rows, log p before training, and answer lengths; returns the loss."""


def d(p: torch.Tensor, p0: torch.Tensor) -> torch.Tensor:
    return (p - p0)[::2] - (p - p0)[1::2]


def nll(p: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
    return -p[::2].sum() / n[::2].sum()


def conservative(p: torch.Tensor, p0: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
    return (-0.8 * logsigmoid(0.1 * d(p, p0)) - 0.2 * logsigmoid(-0.1 * d(p, p0))).mean()


def robust(p: torch.Tensor, p0: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
    return ((-0.8 * logsigmoid(0.1 * d(p, p0)) + 0.2 * logsigmoid(-0.1 * d(p, p0))) / 0.6).mean()


def orpo(p: torch.Tensor, p0: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
    probability = (p.double() / n).exp()
    odds = probability / (1 - probability)
    return nll(p, n) - 0.3 * logsigmoid((odds[::2] / odds[1::2]).log()).mean()


def simpo(p: torch.Tensor, p0: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
    per_token = p / n
    return -logsigmoid(2 * per_token[::2] - 2 * per_token[1::2] - 1.2).mean() + 0.5 * nll(p, n)


PAIRS: dict[str, tuple[Any, Formula]] = {
    "dpo": (Dpo(beta=0.2), lambda p, p0, _: -logsigmoid(0.2 * d(p, p0)).mean()),
    "dpo-smoothed": (Dpo(label_smoothing=0.2), conservative),
    "dpo-robust": (Dpo(loss="robust", label_smoothing=0.2), robust),
    "dpo-hinge": (Dpo(loss="hinge", beta=0.01), lambda p, p0, _: torch.relu(1 - 0.01 * d(p, p0)).mean()),
    "dpo-ipo": (Dpo(loss="ipo", beta=0.3), lambda p, p0, n: ((d(p / n, p0 / n) - 1 / 0.6) ** 2).mean()),
    "dpo-sft": (Dpo(sft_weight=0.7), lambda p, p0, n: -logsigmoid(0.1 * d(p, p0)).mean() + 0.7 * nll(p, n)),
    "orpo": (Orpo(beta=0.3), orpo),
    "simpo": (Simpo(gamma=1.2, sft_weight=0.5), simpo),
    "cpo": (Cpo(sft_weight=0.5), lambda p, _, n: -logsigmoid(0.1 * (p[::2] - p[1::2])).mean() + 0.5 * nll(p, n)),
}


def bound(options: Any, rows: Any, base: Path) -> Objective:
    objective: Objective = locate(options)(options)
    if not isinstance(objective, Refers):
        return objective
    plain = preferences.plain_model(base)
    with torch.no_grad():
        logp = {kind: preferences.log_p(plain, texts).numpy() for kind, texts in objective.referred(rows).items()}
    return objective.bind(rows, logp)


@pytest.fixture(scope="module")
def model(tiny_llama: Path) -> Any:
    return load_model(tiny_llama)


def far(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).norm() / other.norm())


@pytest.mark.parametrize("name", PAIRS)
def test_an_objective_on_pairs_is_its_formula_in_loss_and_gradient_however_its_step_is_cut(
    name: str, model: Any, tiny_llama: Path, base: Path
) -> None:
    options, formula = PAIRS[name]
    rows = pair_rows()
    objective = bound(options, rows, base)
    plain = preferences.plain_model(tiny_llama)
    logp, n = preferences.log_p(plain, rows), lengths(rows)
    with torch.no_grad():
        before = preferences.log_p(preferences.plain_model(base), rows)
    wanted = formula(logp, before, n)
    wanted_gradient = preferences.gradients_of(wanted, plain)
    for capacity in (64, 4096):
        loss, gradient, figures = preferences.step(model, objective, rows, capacity)
        assert loss == pytest.approx(wanted.item(), rel=LIMIT)
        assert far(gradient, wanted_gradient) < 10 * LIMIT
        assert figures["logps_chosen"] == pytest.approx(logp[::2].mean().item(), rel=LIMIT)
        assert figures["margin"] == pytest.approx(figures["rewards_chosen"] - figures["rewards_rejected"], abs=1e-5)
        assert 0 <= figures["accuracy"] <= 1


@pytest.mark.parametrize("kind", ["kto", "apo_zero_unpaired"])
def test_kto_is_its_formula_with_the_divergence_of_the_whole_step(
    kind: Any, model: Any, tiny_llama: Path, base: Path
) -> None:
    rows, options = judged_rows(), Kto(loss=kind, beta=0.02, desirable_weight=1.3, undesirable_weight=0.7)
    objective = bound(options, rows, base)
    plain, before = preferences.plain_model(tiny_llama), preferences.plain_model(base)
    with torch.no_grad():
        elsewhere = [*Mismatched(rows)]
        moved = (preferences.log_p(plain, elsewhere) - preferences.log_p(before, elsewhere)).mean().item()
        p0 = preferences.log_p(before, rows)
    kl = max(0.0, moved) if kind == "kto" else 0.0
    reward = 0.02 * (preferences.log_p(plain, rows) - p0)
    good = torch.tensor([one.label == 1 for one in rows])
    wanted = torch.where(
        good, 1.3 * (1 - torch.sigmoid(reward - 0.02 * kl)), 0.7 * (1 - torch.sigmoid(0.02 * kl - reward))
    ).mean()
    wanted_gradient = preferences.gradients_of(wanted, plain)
    for capacity in (64, 4096):
        loss, gradient, figures = preferences.step(model, objective, rows, capacity)
        assert loss == pytest.approx(wanted.item(), rel=LIMIT)
        assert far(gradient, wanted_gradient) < 10 * LIMIT
        assert figures["kl"] == pytest.approx(kl, abs=1e-5)
        assert figures["rewards_chosen"] == pytest.approx(reward[good].mean().item(), abs=1e-5)
        assert figures["logps_rejected"] == pytest.approx((reward[~good] / 0.02 + p0[~good]).mean().item(), rel=1e-5)


def test_kto_sees_a_divergence_above_zero(tiny_llama: Path, base: Path) -> None:
    rows = judged_rows()
    figures = [
        preferences.step(load_model(here), bound(Kto(), rows, there), rows)[2]["kl"]
        for here, there in ((tiny_llama, base), (base, tiny_llama))
    ]
    assert min(figures) == 0.0 < max(figures)  # one way or the other, the mean is above zero


def test_a_mismatched_text_has_the_prompt_of_its_row_and_the_answer_of_one_other() -> None:
    rows = judged_rows()
    answers = [one.input_ids[one.learned].tolist() for one in rows]
    found = []
    for one, other in zip(rows, Mismatched(rows), strict=True):
        prompt = one.input_ids[~one.learned].tolist()
        assert other.input_ids[~other.learned].tolist() == prompt
        (source,) = {
            i
            for i, answer in enumerate(answers)
            if answer[: other.learned.sum()] == other.input_ids[other.learned].tolist()
        }
        assert rows[source] is not one
        assert rows[source].input_ids[~rows[source].learned].tolist() != prompt
        found.append(source)
    assert sorted(found) == list(range(len(rows)))


def test_kto_doubts_answers_that_are_mostly_the_same() -> None:
    rows = judged_rows()
    assert [*locate(Kto())(Kto()).doubts(rows)] == []
    canned = [rows[1] if one.label else one for one in rows]
    (doubt,) = locate(Kto())(Kto()).doubts(canned)
    assert "8 of 8 good answers are the same" in doubt
    assert [*locate(Kto())(Kto(loss="apo_zero_unpaired")).doubts(canned)] == []


def test_orpo_has_a_gradient_where_an_ending_is_certain() -> None:
    from luthier.train.objectives.orpo import log_odds

    logp = torch.tensor([0.0, -1e-9, -0.5, -0.7, -50.0], requires_grad=True)
    odds = log_odds(logp)
    odds.sum().backward()
    assert torch.isfinite(odds).all()
    assert torch.isfinite(logp.grad).all()
    assert odds[3].item() == pytest.approx(-0.7 - math.log(1 - math.exp(-0.7)), rel=1e-6)


@pytest.mark.parametrize("options", [Sft(label_smoothing=0.1), Pretrain(label_smoothing=0.1)])
def test_label_smoothing_is_that_of_transformers(options: Any, model: Any, tiny_llama: Path) -> None:
    rows = pair_rows()[:1]
    loss, _, _ = preferences.step(model, locate(options)(options), rows)
    ids = torch.from_numpy(rows[0].input_ids.astype(np.int64))
    labels = torch.where(torch.from_numpy(rows[0].learned), ids, -100)
    with torch.no_grad():
        output = preferences.plain_model(tiny_llama)(input_ids=ids[None])
    wanted = LabelSmoother(epsilon=0.1)(output, labels[None], shift_labels=True)
    assert loss == pytest.approx(wanted.item(), rel=LIMIT)
    plain = cross_entropy(output.logits[0, :-1], labels[1:], ignore_index=-100)
    assert abs(plain.item() - loss) > 1e-3


@pytest.mark.parametrize("options", [Dpo(), Kto(), Orpo()])
def test_held_out_rows_are_measured_as_one_step_and_training_goes_on_as_it_was(
    options: Any, model: Any, base: Path
) -> None:
    rows = judged_rows() if isinstance(options, Kto) else pair_rows()
    objective = bound(options, rows, base)
    loss, gradient, figures = preferences.step(model, objective, rows)
    found = measure(model.train(), objective, rows, capacity=100, precision="fp32")
    assert found.loss == pytest.approx(loss, rel=1e-5)
    assert found.figures == pytest.approx(figures, rel=1e-4, abs=1e-5)
    assert found.tokens == int(lengths(rows).sum())
    assert model.training
    assert torch.equal(preferences.gradients(model), gradient)


@pytest.mark.parametrize("wrong", [{"loss": "ipo", "label_smoothing": 0.1}, {"loss": "robust"}])
def test_dpo_refuses_a_smoothing_no_paper_defines(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="label_smoothing"):
        Dpo(**wrong)
