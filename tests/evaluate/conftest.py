"""Rows nobody learned from, and adapters for the tiny models of tests/conftest.py."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from luthier.core.example import Example, Message, Source
from luthier.model.adapters import lora
from luthier.model.load import load_model, load_tokenizer, stop_ids
from luthier.recipe.methods import Lora
from luthier.tokens.render import Encoded, Renderer

WORKS = ("the bridge", "the bow", "the peg", "the case")


def example(number: int) -> Example:
    work = WORKS[number % 4]
    return Example(
        (
            Message("user", f"Is {work} ready? Ticket {number}."),
            Message("assistant", f"Yes, {work} is ready." + " Come by." * (number % 2)),
        ),
        Source("rows.jsonl", number + 1),
    )


@pytest.fixture(scope="session")
def rows() -> tuple[Example, ...]:
    return tuple(example(number) for number in range(24))


@pytest.fixture(scope="session")
def renderer(tiny_llama: Path) -> Renderer:
    return Renderer(load_tokenizer(tiny_llama), stop_ids(tiny_llama))


@pytest.fixture(scope="session")
def encoded(rows: tuple[Example, ...], renderer: Renderer) -> list[Encoded]:
    found = [renderer.encode(row) for row in rows]
    assert all(isinstance(texts, tuple) and len(texts) == 1 for texts in found)
    return [texts[0] for texts in found]


@pytest.fixture(scope="session")
def make_adapter(tiny_llama: Path, encoded: list[Encoded], tmp_path_factory: pytest.TempPathFactory):
    """Return a function that writes a LoRA adapter: random, or trained on the rows for some steps."""
    from luthier.model.forward import supervised_nll
    from luthier.tokens.pack import packs

    def make(steps: int, *, name: str = "adapter") -> Path:
        folder = tmp_path_factory.mktemp(name)
        torch.manual_seed(3)
        adapted = lora.attach(load_model(tiny_llama), Lora(rank=8), base=str(tiny_llama), seed=0)
        learning = adapted.trainable
        optimizer = torch.optim.AdamW(learning.values(), lr=2e-2)
        for _ in range(steps):
            loss = sum(supervised_nll(adapted.model, pack).mean() for pack in packs(encoded, range(24), 2048))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if not steps:
            for tensor in learning.values():
                torch.nn.init.normal_(tensor.data, std=0.3)
        adapted.describe(folder)
        save_file({key: value.detach().contiguous() for key, value in learning.items()}, folder / adapted.weight_file)
        return folder

    return make


@pytest.fixture(scope="session")
def random_adapter(make_adapter) -> Path:
    return make_adapter(0, name="random")


@pytest.fixture(scope="session")
def trained_adapter(make_adapter) -> Path:
    return make_adapter(25, name="trained")
