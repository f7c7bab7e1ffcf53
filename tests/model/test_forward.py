"""What a padded batch gives is what plain Transformers gives each document alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from architectures import PADDED, save
from transformers import AutoModelForCausalLM

from luthier.core.example import Source
from luthier.model.forward import batching, padded_logits, supervised_logits, supervised_nll
from luthier.model.load import load_model
from luthier.tokens.pack import packs
from luthier.tokens.render import Encoded

LENGTHS = (37, 5, 64, 12, 21, 50, 3, 30, 2)


def documents() -> list[Encoded]:
    random = np.random.default_rng(0)
    rows = []
    for length in LENGTHS:
        learned = random.random(length) < 0.4
        learned[-1] = True
        rows.append(Encoded(random.integers(3, 250, length).astype(np.int32), learned, Source("here", length)))
    return rows


def alone(model: Any, row: Encoded) -> torch.Tensor:
    """Return the summed loss of one document in plain Transformers."""
    ids = torch.from_numpy(row.input_ids.astype(np.int64))
    logits = model(input_ids=ids[None], use_cache=False).logits[0, :-1]
    nll = torch.nn.functional.cross_entropy(logits, ids[1:], reduction="none")
    return nll[torch.from_numpy(row.learned[1:])].sum()


def gradients(model: Any) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for _, p in sorted(model.named_parameters()) if p.grad is not None])


@pytest.mark.parametrize("kind", PADDED)
def test_loss_and_gradients_of_padded_batches_are_those_of_single_documents(kind: str, tmp_path: Path) -> None:
    rows = documents()
    ours = load_model(save(kind, tmp_path)).train()
    assert batching(ours).way == "padded"
    loss = 0.0
    for pack in packs(rows, range(len(rows)), 128, padded=True):
        part = supervised_nll(ours, pack).sum()
        part.backward()
        loss += part.item()
    plain = AutoModelForCausalLM.from_pretrained(str(tmp_path)).train()
    wanted = 0.0
    for row in rows:
        part = alone(plain, row)
        part.backward()
        wanted += part.item()
    assert loss == pytest.approx(wanted, rel=1e-6)
    got = gradients(ours)
    assert got.isfinite().all()
    assert float((got - gradients(plain)).norm() / gradients(plain).norm()) < 1e-5


@pytest.mark.parametrize("kind", ["mistral", "gemma2", "gpt_oss"])
def test_padding_beyond_a_sliding_window_gives_finite_gradients(kind: str, tmp_path: Path) -> None:
    """A row of padding further back than the window sees nothing at all: a softmax over nothing would be NaN."""
    rows = [row for row in documents() if row.length in (3, 64)]
    model = AutoModelForCausalLM.from_pretrained(str(save(kind, tmp_path)))
    (pack,) = packs(rows, range(len(rows)), 128, padded=True)
    padded_logits(model, pack).logsumexp(dim=-1).sum().backward()
    assert gradients(model).isfinite().all()


@pytest.mark.parametrize("kind", ["llama", "jamba"])
def test_logits_stand_in_the_order_of_the_targets(kind: str, tmp_path: Path) -> None:
    rows = documents()
    model = load_model(save(kind, tmp_path))
    (pack,) = packs(rows, range(len(rows)), 1000, padded=batching(model).way == "padded")
    with torch.no_grad():
        logits = supervised_logits(model, pack)
        nll = supervised_nll(model, pack).numpy()
        wanted = [float(alone(model_alone(model), row)) for row in rows]
    assert logits.shape == (len(pack.targets), 300)
    assert np.bincount(pack.rows, weights=nll).tolist() == pytest.approx(wanted, rel=1e-5)


def model_alone(model: Any) -> Any:
    """Give a model Transformers' attention, to be asked about one document."""
    model.config._attn_implementation = "eager"
    return model
