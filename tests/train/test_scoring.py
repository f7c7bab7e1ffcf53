"""Objectives over scores of whole texts: reward models and classifiers, beside TRL, Transformers and numpy."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification

from luthier.core.example import Source
from luthier.model.heads import Head
from luthier.model.load import load_scorer
from luthier.recipe.methods import Classify, Reward
from luthier.recipe.options import locate
from luthier.tokens.render import Encoded
from luthier.train.objectives.objective import Share

CLASSES = ("a", "b", "c")


def text(length: int, number: int, *, label: float = math.nan, prompt: Sequence[int] = ()) -> Encoded:
    own = np.random.default_rng(number).integers(3, 300, size=length - len(prompt))
    ids = np.concatenate([prompt, own]).astype(np.int32)
    return Encoded(ids, np.arange(length) == length - 1, Source("texts", number + 1), label=label)


def pairs_of(margins: Sequence[float]) -> list[Encoded]:
    """Return two endings for each margin; both begin with the same 11 tokens."""
    rows = []
    for place, margin in enumerate(margins):
        prompt = text(11, 1000 + place).input_ids.tolist()
        rows += [text(15 + 9 * ((2 * place + end) % 4), 2 * place + end, label=margin, prompt=prompt) for end in (0, 1)]
    return rows


def step(objective: Any, model: Any, rows: list[Encoded], members: Sequence[int], capacity: int) -> list[Share]:
    """Return the shares of one optimizer step, whose gradients are in the model."""
    packs = objective.collate(rows, members, capacity)
    totals = objective.totals(packs)
    shares = []
    for pack in packs:
        shares.append(objective.loss(model, pack, totals))
        shares[-1].loss.backward()
    return shares


def gradients(model: Any) -> dict[str, torch.Tensor]:
    return {name: value.grad for name, value in model.named_parameters() if value.grad is not None}


def apart(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    assert one.keys() == other.keys()
    assert max(value.abs().max() for value in one.values()) > 1e-3
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def theirs(tiny_llama: Path, model: Any, pad: int) -> Any:
    """Return the same model as plain Transformers has it."""
    plain = AutoModelForSequenceClassification.from_pretrained(
        tiny_llama, num_labels=model.config.num_labels, pad_token_id=pad
    )
    plain.load_state_dict(model.state_dict())
    return plain.eval()


def plain_scores(model: Any, rows: Sequence[Encoded]) -> torch.Tensor:
    return torch.cat([model(input_ids=torch.from_numpy(row.input_ids).long()[None]).logits for row in rows])


@pytest.mark.parametrize("capacity", [4096, 128], ids=["one-pack", "several-packs"])
def test_reward_loss_and_gradient_are_the_equations_of_the_papers(tiny_llama: Path, capacity: int) -> None:
    rows = pairs_of([0.5, math.nan, 1.0, math.nan, 0.0])
    objective = locate(Reward())(Reward(margin=2.0, center=0.1))
    model = load_scorer(tiny_llama, head=Head((), pad=0, seed=3))
    shares = step(objective, model, rows, range(5), capacity)
    assert (len(shares) > 1) == (capacity == 128)

    plain = theirs(tiny_llama, model, 0)
    scores = plain_scores(plain, rows)[:, 0]
    gap = scores[0::2] - scores[1::2]
    wanted = torch.tensor([1.0, 0.0, 2.0, 0.0, 0.0])
    loss = torch.log1p(torch.exp(wanted - gap)).mean() + 0.1 * ((scores[0::2] + scores[1::2]) ** 2).mean()
    loss.backward()
    assert sum(share.loss.item() for share in shares) == pytest.approx(loss.item(), abs=1e-5)
    assert apart(gradients(model), gradients(plain)) <= 1e-5
    told = {name: sum(share.figures[name].item() for share in shares) for name in ("accuracy", "margin")}
    assert told["margin"] == pytest.approx(gap.mean().item(), abs=1e-5)
    assert told["accuracy"] == pytest.approx(float((gap > 0).float().mean()))


def test_reward_loss_and_gradient_are_trls(tiny_llama: Path, tmp_path: Path) -> None:
    trl = pytest.importorskip("trl")
    datasets = pytest.importorskip("datasets")
    rows = pairs_of([0.5, 0.25, 1.0])
    objective = locate(Reward())(Reward(center=0.01))
    model = load_scorer(tiny_llama, head=Head((), pad=0, seed=3))
    shares = step(objective, model, rows, range(3), 4096)

    examples = [
        {
            "chosen_ids": rows[2 * place].input_ids.tolist(),
            "rejected_ids": rows[2 * place + 1].input_ids.tolist(),
            "margin": rows[2 * place].label,
        }
        for place in range(3)
    ]
    plain = theirs(tiny_llama, model, 0)
    arguments = trl.RewardConfig(
        output_dir=str(tmp_path), center_rewards_coefficient=0.01, report_to=[], use_cpu=True, disable_dropout=True,
        gradient_checkpointing=False, bf16=False,
    )  # fmt: skip
    from transformers import AutoTokenizer

    trainer = trl.RewardTrainer(
        plain, args=arguments, train_dataset=datasets.Dataset.from_list(examples),
        processing_class=AutoTokenizer.from_pretrained(tiny_llama),
    )  # fmt: skip
    loss = trainer.compute_loss(plain, trainer.data_collator(examples))
    loss.backward()
    assert sum(share.loss.item() for share in shares) == pytest.approx(loss.item(), abs=1e-5)
    assert apart(gradients(model), gradients(plain)) <= 1e-5


@pytest.mark.parametrize("capacity", [4096, 64], ids=["one-pack", "several-packs"])
def test_classification_loss_and_gradient_are_those_of_transformers(tiny_llama: Path, capacity: int) -> None:
    rows = [text(8 + 7 * (place % 5), place, label=float(place % 3)) for place in range(7)]
    objective = locate(Classify())(Classify())
    model = load_scorer(tiny_llama, head=Head(CLASSES, pad=0, seed=3))
    shares = step(objective, model, rows, range(7), capacity)
    assert (len(shares) > 1) == (capacity == 64)

    plain = theirs(tiny_llama, model, 0)
    plain.config.problem_type = "single_label_classification"
    ids = torch.zeros(7, max(row.length for row in rows), dtype=torch.int64)
    for place, row in enumerate(rows):
        ids[place, : row.length] = torch.from_numpy(row.input_ids)
    labels = torch.tensor([int(row.label) for row in rows])
    found = plain(input_ids=ids, attention_mask=(ids != 0).long(), labels=labels)
    found.loss.backward()
    assert sum(share.loss.item() for share in shares) == pytest.approx(found.loss.item(), abs=1e-5)
    assert apart(gradients(model), gradients(plain)) <= 1e-5
    right = (found.logits.argmax(-1) == labels).float().mean().item()
    assert sum(share.figures["accuracy"].item() for share in shares) == pytest.approx(right)


def test_weights_and_smoothing_are_the_equations_of_the_papers(tiny_llama: Path) -> None:
    labels = [0, 0, 0, 2]
    rows = [text(8 + 7 * place, place, label=float(label)) for place, label in enumerate(labels)]
    options = Classify(weights="balanced", label_smoothing=0.2)
    training = [0.0] * 6 + [1.0] * 3 + [2.0]
    objective = locate(options)(options).studied(training)
    model = load_scorer(tiny_llama, head=Head(CLASSES, pad=0, seed=3))
    (share,) = step(objective, model, rows, range(4), 4096)

    weights = np.array([10 / 18, 10 / 9, 10 / 3])
    scores = plain_scores(theirs(tiny_llama, model, 0), rows).detach().double().numpy()
    logp = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    of_label = np.array([weights[label] * logp[place, label] for place, label in enumerate(labels)])
    expected = -(0.8 * of_label + 0.2 / 3 * (logp * weights).sum(axis=1)).mean()
    assert share.loss.item() == pytest.approx(expected, abs=1e-5)


def test_balanced_weights_give_each_class_the_same_sum_and_a_mean_of_one() -> None:
    options = Classify(weights="balanced")
    labels = np.array([0.0] * 6 + [1.0] * 3 + [3.0])
    weights = locate(options)(options).studied(labels.tolist()).weights_K
    counts = np.array([6, 3, 0, 1])
    assert (weights * counts).tolist() == pytest.approx([10 / 3, 10 / 3, 0, 10 / 3])
    assert (weights * counts).sum() / 10 == pytest.approx(1)
