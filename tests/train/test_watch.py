import os
import signal
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from luthier.core.errors import ModelError
from luthier.model.kernels import attention
from luthier.model.load import load_model
from luthier.train.watch import StopRequest, distortion


def test_packing_computes_what_the_models_own_attention_does(tiny_llama: Path, tiny_qwen2: Path) -> None:
    for path in (tiny_llama, tiny_qwen2):
        assert distortion(load_model(path), vocabulary=250) < 1e-5


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
