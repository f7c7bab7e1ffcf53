"""Pairs and judged answers of random tokens, and how likely plain Transformers finds them, one by one."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM

from luthier.core.example import Source
from luthier.tokens.render import Encoded
from luthier.train.objectives.objective import Looks, Objective

SHAPES = ((9, 12, 30), (1, 5, 4), (25, 1, 17), (14, 20, 20), (3, 8, 2), (40, 7, 11))
"""Tokens of prompt, better and worse ending."""


def row(prompt: np.ndarray, answer: np.ndarray, label: float = float("nan")) -> Encoded:
    learned = np.arange(len(prompt) + len(answer)) >= len(prompt)
    return Encoded(np.concatenate([prompt, answer]).astype(np.int32), learned, Source("here", 1), label=label)


def pair_rows(shapes: Sequence[tuple[int, int, int]] = SHAPES) -> list[Encoded]:
    random = np.random.default_rng(0)
    rows = []
    for shape in shapes:
        prompt, better, worse = (random.integers(3, 250, length) for length in shape)
        rows += [row(prompt, better), row(prompt, worse)]
    return rows


def judged_rows(shapes: Sequence[tuple[int, int, int]] = SHAPES) -> list[Encoded]:
    return [replace(one, label=float(place % 3 != 0)) for place, one in enumerate(pair_rows(shapes))]


@cache
def plain_model(path: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(path, attn_implementation="sdpa", dtype=torch.float32)


def log_p(model: Any, rows: Sequence[Encoded]) -> torch.Tensor:
    """Return log p of each row's answer: one row, one forward pass, no packing."""
    found = []
    for one in rows:
        ids = torch.from_numpy(one.input_ids.astype(np.int64))
        logp = model(input_ids=ids[None], use_cache=False).logits[0, :-1].log_softmax(-1)
        found.append(logp[torch.arange(len(ids) - 1), ids[1:]][torch.from_numpy(one.learned[1:])].sum())
    return torch.stack(found)


def lengths(rows: Sequence[Encoded]) -> torch.Tensor:
    return torch.tensor([float(one.learned.sum()) for one in rows])


def gradients(model: Any) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for _, p in sorted(model.named_parameters()) if p.grad is not None])


def gradients_of(loss: torch.Tensor, model: Any) -> torch.Tensor:
    model.zero_grad()
    loss.backward()
    return gradients(model)


def step(
    model: Any, objective: Objective, rows: Sequence[Encoded], capacity: int = 4096
) -> tuple[float, torch.Tensor, dict[str, float]]:
    """Return loss, gradients and figures of one optimizer step over all rows, in packs of a capacity."""
    model.zero_grad()
    packs = objective.collate(rows, range(len(rows) // objective.texts), capacity)
    totals = objective.totals(packs)
    if isinstance(objective, Looks):
        with torch.no_grad():
            totals = totals._replace(seen=sum(objective.look(model, pack).item() for pack in packs))
    loss, figures = 0.0, dict[str, float]()
    for pack in packs:
        share = objective.loss(model, pack, totals)
        share.loss.backward()
        loss += share.loss.item()
        for name, figure in share.figures.items():
            figures[name] = figures.get(name, 0.0) + figure.item()
    return loss, gradients(model), figures
