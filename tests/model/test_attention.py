"""Packed attention is Transformers' own attention of each document alone."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from transformers.models.gemma2 import modeling_gemma2
from transformers.models.gpt_oss import modeling_gpt_oss

from luthier.model.kernels.attention import packed_attention

BOUNDS = [0, 8, 9, 20]


class Layer(torch.nn.Module):
    """What Transformers' functions read of an attention layer: four heads share two keys."""

    num_key_value_groups = 2
    head_dim = 8

    def __init__(self) -> None:
        super().__init__()
        self.sinks = torch.nn.Parameter(torch.randn(4))


def tensors(seed: int = 0) -> list[torch.Tensor]:
    torch.manual_seed(seed)
    return [3 * torch.randn(1, heads, 20, 8, requires_grad=True) for heads in (4, 2, 2)]


def theirs(function: Any, layer: Layer, inputs: list[torch.Tensor], window: int | None, **more: Any) -> torch.Tensor:
    """Return what a modelling file's explicit attention gives, a document at a time."""
    pieces = []
    for start, end in pairwise(BOUNDS):
        places = torch.arange(end - start)
        behind = places[:, None] - places[None, :]
        seen = (behind >= 0) & (behind < (window or 99))
        mask = torch.where(seen, 0.0, torch.finfo(torch.float32).min)[None, None]
        parts = [tensor[:, :, start:end] for tensor in inputs]
        pieces.append(function(layer, *parts, mask, scaling=0.3, **more)[0])
    return torch.cat(pieces, dim=1)


@pytest.mark.parametrize("window", [None, 3])
def test_capped_scores_are_those_of_gemma2(window: int | None) -> None:
    layer, inputs = Layer().eval(), tensors()
    more = {"scaling": 0.3, "sliding_window": window}
    got, _ = packed_attention(layer, *inputs, None, bounds=BOUNDS, softcap=2.0, **more)
    wanted = theirs(modeling_gemma2.eager_attention_forward, layer, inputs, window, softcap=2.0)
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5)
    uncapped, _ = packed_attention(layer, *inputs, None, bounds=BOUNDS, **more)
    assert float((uncapped - wanted).detach().abs().max()) > 0.1


@pytest.mark.parametrize("window", [None, 3])
def test_sinks_are_those_of_gpt_oss_and_learn(window: int | None) -> None:
    layer, inputs = Layer().eval(), tensors()
    more = {"scaling": 0.3, "sliding_window": window}
    got, _ = packed_attention(layer, *inputs, None, bounds=BOUNDS, s_aux=layer.sinks, **more)
    wanted = theirs(modeling_gpt_oss.eager_attention_forward, layer, inputs, window)
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5)
    leaves = [*inputs, layer.sinks]
    ours = torch.autograd.grad(got.square().sum(), leaves)
    others = torch.autograd.grad(wanted.square().sum(), leaves)
    for one, other in zip(ours, others, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    bare, _ = packed_attention(layer, *inputs, None, bounds=BOUNDS, **more)
    assert float((bare - wanted).detach().abs().max()) > 0.1


@pytest.mark.parametrize("window", [None, 3, 11, 12])
def test_scores_written_out_are_what_the_fused_kernel_computes(window: int | None) -> None:
    inputs = tensors()
    fused, _ = packed_attention(Layer(), *inputs, None, bounds=BOUNDS, sliding_window=window)
    never = torch.full((4,), float("-inf"))
    written, _ = packed_attention(Layer(), *inputs, None, bounds=BOUNDS, sliding_window=window, s_aux=never)
    torch.testing.assert_close(written, fused, rtol=1e-5, atol=1e-5)


def test_dropout_of_written_out_scores_keeps_their_mean() -> None:
    query, key, value = tensors()
    value = torch.ones_like(value)
    torch.manual_seed(0)
    draws = [
        packed_attention(Layer(), query, key, value, None, bounds=[0, 20], softcap=5.0, dropout=0.2)[0]
        for _ in range(200)
    ]
    assert torch.stack(draws).mean().item() == pytest.approx(1.0, abs=0.02)
    assert draws[0].std() > 0.05


def test_a_mask_of_the_architecture_is_refused() -> None:
    with pytest.raises(TypeError, match="mask of its own"):
        packed_attention(Layer(), *tensors(), torch.ones(1, 1, 20, 20), bounds=BOUNDS)
