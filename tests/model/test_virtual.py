from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from luthier.core.errors import RecipeError
from luthier.model.adapters import lora, virtual
from luthier.model.adapters.adapted import Adapted
from luthier.model.forward import Batching, Documents, packed_logits, padded_logits, set_batching
from luthier.model.generate import attending, generate
from luthier.model.load import load_model
from luthier.recipe.methods import Prefix, Prompt, Ptuning, Virtual
from luthier.train.keep import save_tensors

KINDS: dict[str, Virtual] = {
    "prompt": Prompt(tokens=5),
    "prompt-text": Prompt(tokens=5, text="Answer as the workshop does"),
    "ptuning": Ptuning(tokens=5, width=48),
    "prefix": Prefix(tokens=5, width=16),
    "prefix-bare": Prefix(tokens=5, projection=False, init="random"),
}


def moved(model: Any, options: Virtual) -> Adapted:
    """Return the model with virtual tokens that are no longer where they started."""
    adapted = virtual.attach(model, options, base="b", seed=0)  # type: ignore[arg-type]
    with torch.no_grad():
        for number, parameter in enumerate(adapted.trainable.values()):
            parameter.add_(torch.linspace(-0.3, 0.3, parameter.numel()).view_as(parameter) * (1 + number % 2))
    return adapted


def kept(adapted: Adapted, folder: Path) -> Path:
    assert adapted.finish is not None
    save_tensors(adapted.finish(adapted.trainable), folder / adapted.weight_file)
    adapted.describe(folder)
    return folder


def texts() -> list[torch.Tensor]:
    return [torch.arange(start, start + length) for start, length in ((3, 17), (40, 9), (80, 24))]


def pack(documents: Sequence[torch.Tensor], shared: Sequence[int] | None = None) -> Documents:
    """Return documents as a pack, every token but the first learned; of the shared ones only what is their own."""
    common = np.array(shared or [0] * len(documents), dtype=np.int32)
    own = [document[int(skip) :] for document, skip in zip(documents, common, strict=True)]
    bounds = np.concatenate([[0], np.cumsum([len(part) for part in own])])
    learned = [np.arange(len(d)) >= max(1, skip) for d, skip in zip(documents, common, strict=True)]
    places = [np.arange(len(d)) - skip for d, skip in zip(documents, common, strict=True)]
    at = []
    for d, (rows, place) in enumerate(zip(learned, places, strict=True)):
        before = place[rows] - 1 + bounds[d]
        if common[d]:
            before[0] = bounds[d - 1] + common[d] - 1
        at.append(before)
    return Documents(
        input_ids=torch.cat(own).numpy(),
        position_ids=np.concatenate([np.arange(skip, len(d)) for d, skip in zip(documents, common, strict=True)]),
        bounds=bounds.astype(np.int32),
        shared=common,
        predict_at=np.concatenate(at),
        targets=np.concatenate([d.numpy()[rows] for d, rows in zip(documents, learned, strict=True)]),
        document=np.repeat(np.arange(len(documents)), [rows.sum() for rows in learned]),
        documents=len(documents),
        width=32,
    )


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("kind", ["tiny_llama", "tiny_qwen2"])
def test_packed_and_padded_documents_are_what_peft_computes_row_by_row(
    options: Virtual, kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    path = request.getfixturevalue(kind)
    adapted = moved(load_model(path), options)
    theirs = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(path), str(kept(adapted, tmp_path))).eval()
    skipped = 0 if isinstance(options, Prefix) else options.tokens
    adapted.model.eval()
    with torch.no_grad():
        alone = [theirs(input_ids=ids[None]).logits[0, skipped:-1] for ids in texts()]
        bare = torch.cat([theirs.get_base_model()(input_ids=ids[None]).logits[0, :-1] for ids in texts()])
        expected = torch.cat(alone)
        assert (expected - bare).abs().max() > 1e-3
        assert (packed_logits(adapted.model, pack(texts())) - expected).abs().max() < 2e-6
        with attending(adapted.model, "sdpa"):
            assert (padded_logits(adapted.model, pack(texts())) - expected).abs().max() < 2e-6
        with adapted.model.disable_adapter():
            assert (packed_logits(adapted.model, pack(texts())) - bare).abs().max() < 2e-6
        back = lora.load(load_model(path), tmp_path)
        assert (packed_logits(back, pack(texts())) - expected).abs().max() < 2e-6


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_a_document_that_shares_its_beginning_shares_the_virtual_tokens(options: Virtual, tiny_llama: Path) -> None:
    adapted = moved(load_model(tiny_llama), options)
    adapted.model.eval()
    first = torch.arange(3, 20)
    second = torch.cat([first[:6], torch.arange(60, 71)])
    with torch.no_grad():
        whole = packed_logits(adapted.model, pack([first, second]))
        parts = packed_logits(adapted.model, pack([first, second], [0, 6]))
    own = [*range(16), *range(16 + 5, 16 + 16)]
    assert (parts - whole[own]).abs().max() < 2e-6


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_answers_are_those_of_reading_everything_again(options: Virtual, tiny_llama: Path, tmp_path: Path) -> None:
    adapted = moved(load_model(tiny_llama), options)
    theirs = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_llama), str(kept(adapted, tmp_path)))
    prompts = [[3, 9, 4], [8, 1, 30, 31, 90, 6], [7] * 4]
    answers = generate(adapted.model, prompts, stop_ids=frozenset(), max_new_tokens=6, pad_id=0)
    for prompt, answer in zip(prompts, answers, strict=True):
        ids = list(prompt)
        with torch.no_grad():
            for token in answer:
                logits = theirs.eval()(input_ids=torch.tensor([ids])).logits[0, -1]
                assert logits[token] > logits.max() - 1e-5
                ids.append(token)
        assert len(answer) == 6


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_virtual_tokens_alone_learn_and_their_start_is_the_seeds(options: Virtual, tiny_llama: Path) -> None:
    one, other = (virtual.attach(load_model(tiny_llama), options, base="b", seed=0) for _ in range(2))  # type: ignore[arg-type]
    assert all(torch.equal(one.trainable[name], other.trainable[name]) for name in one.trainable)
    assert {p.dtype for p in one.trainable.values()} == {torch.float32}
    packed_logits(one.model.train(), pack(texts())).logsumexp(-1).sum().backward()
    assert all(p.grad is not None for p in one.trainable.values())
    assert {id(p) for p in one.trainable.values()} == {id(p) for p in one.model.parameters() if p.grad is not None}


def test_prefixes_on_a_model_that_is_not_packed_are_refused_before_training(tiny_llama: Path) -> None:
    model = load_model(tiny_llama)
    set_batching(model, Batching("padded", "as if its attention could not be exchanged"))
    with pytest.raises(RecipeError, match="packed attention") as caught:
        virtual.attach(model, Prefix(), base="b", seed=0)
    assert "technique=prompt" in caught.value.hint
