import os
import signal
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from luthier.core.errors import ModelError
from luthier.model.kernels import attention
from luthier.model.load import load_model
from luthier.train.watch import StopRequest, distortion, heeds


def test_packing_computes_what_the_models_own_attention_does(tiny_llama: Path, tiny_qwen2: Path) -> None:
    for path in (tiny_llama, tiny_qwen2):
        assert distortion(load_model(path), vocabulary=250) < 1e-5


def test_an_architecture_with_attention_of_its_own_is_noticed(tiny_llama: Path) -> None:
    config = AutoConfig.for_model("bloom", vocab_size=300, hidden_size=64, n_layer=1, n_head=4)
    torch.manual_seed(0)
    bloom = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).eval()
    assert not heeds(Ignoring(bloom), vocabulary=250)
    assert heeds(load_model(tiny_llama), vocabulary=250)


class Ignoring(torch.nn.Module):
    """A model that takes any argument and uses those it knows, as architectures with their own attention do."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, *, bounds: list[int], position_ids: torch.Tensor, **inputs: object) -> object:
        return self.inner(**inputs)


def test_attention_with_sinks_is_refused_not_computed_without_them() -> None:
    config = AutoConfig.for_model(
        "gpt_oss",
        vocab_size=300,
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        num_local_experts=2,
        num_experts_per_tok=1,
    )
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, attn_implementation=attention.NAME).eval()
    with pytest.raises(ModelError, match="sinks"):
        distortion(model, vocabulary=250)


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
