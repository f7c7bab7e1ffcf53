"""Batched greedy decoding is one-by-one greedy decoding, and that of Transformers."""

from pathlib import Path
from typing import Any

import pytest
import torch
from architectures import PADDED, save
from transformers import AutoModelForCausalLM

from luthier.model import generate as module
from luthier.model.generate import Room, attending, generate, room, without_dropout
from luthier.model.kernels import attention
from luthier.model.load import load_model
from luthier.model.sampling import Sampling

PAD = 0
NEVER: frozenset[int] = frozenset()
PROMPTS = [[5, 9, 31, 40], [7], [100, 101, 102, 103, 104, 105, 106, 107, 8], [60, 61], [7, 200, 13, 14, 15, 16]]


def sharpened(model: Any) -> Any:
    """Widen the random weights: flat logits would hide a mistake, and rounding would decide."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim == 2:
                weight.mul_(1.0 if "embed" in name else 6.0)
    return model


@pytest.fixture(scope="module", params=["tiny_llama", "tiny_qwen2"])
def path(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def model(path: Path) -> Any:
    return sharpened(load_model(path))


def alone(
    model: Any, prompt: list[int], *, stop_ids: frozenset[int], most: int, attention: str | None = "sdpa"
) -> list[int]:
    """Decode one prompt without cache, padding or batch: the definition. None is the attention it has."""
    ids = list(prompt)
    with torch.no_grad(), attending(model, attention or model.config._attn_implementation):
        while len(ids) - len(prompt) < most:
            token = int(model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].argmax())
            if token in stop_ids:
                break
            ids.append(token)
    return ids[len(prompt) :]


def test_a_batch_answers_as_each_prompt_alone(model: Any) -> None:
    answers = generate(model, PROMPTS, stop_ids=NEVER, max_new_tokens=20, pad_id=PAD)
    assert answers == [alone(model, prompt, stop_ids=NEVER, most=20) for prompt in PROMPTS]
    assert len({tuple(answer) for answer in answers}) == len(PROMPTS)


def test_an_answer_ends_before_its_stop_token_and_the_others_go_on(model: Any) -> None:
    free = generate(model, PROMPTS, stop_ids=NEVER, max_new_tokens=20, pad_id=PAD)
    stops = frozenset({free[0][3], free[2][8]})
    answers = generate(model, PROMPTS, stop_ids=stops, max_new_tokens=20, pad_id=PAD)
    assert answers == [alone(model, prompt, stop_ids=stops, most=20) for prompt in PROMPTS]
    assert not stops & {token for answer in answers for token in answer}
    assert len({len(answer) for answer in answers}) > 1


def test_it_is_what_transformers_generates(model: Any, path: Path) -> None:
    plain = sharpened(AutoModelForCausalLM.from_pretrained(path, attn_implementation="sdpa")).eval()
    stop = generate(model, PROMPTS[:1], stop_ids=NEVER, max_new_tokens=9, pad_id=PAD)[0][-1]
    answers = generate(model, PROMPTS, stop_ids=frozenset({stop}), max_new_tokens=16, pad_id=PAD)
    for prompt, answer in zip(PROMPTS, answers, strict=True):
        ids = torch.tensor([prompt])
        theirs = plain.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=16,
            eos_token_id=stop,
            pad_token_id=PAD,
        )[0, len(prompt) :].tolist()
        assert answer == (theirs[: theirs.index(stop)] if stop in theirs else theirs)


def test_small_batches_change_nothing(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = generate(model, PROMPTS, stop_ids=NEVER, max_new_tokens=6, pad_id=PAD)
    monkeypatch.setattr(module, "BATCH_TOKENS", 1)
    assert [len(batch) for batch in module._batches([3, 9, 4], 6)] == [1, 1, 1]
    assert generate(model, PROMPTS, stop_ids=NEVER, max_new_tokens=6, pad_id=PAD) == whole


def test_an_adapter_is_heard(tiny_llama: Path) -> None:
    from luthier.model.adapters import lora
    from luthier.recipe.methods import Lora

    adapted = lora.attach(sharpened(load_model(tiny_llama)), Lora(rank=4), base=str(tiny_llama), seed=0).model
    before = generate(adapted, PROMPTS, stop_ids=NEVER, max_new_tokens=8, pad_id=PAD)
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight.data, std=0.5)
    after = generate(adapted, PROMPTS, stop_ids=NEVER, max_new_tokens=8, pad_id=PAD)
    with adapted.disable_adapter():
        assert generate(adapted, PROMPTS, stop_ids=NEVER, max_new_tokens=8, pad_id=PAD) == before
    assert after != before
    assert adapted.get_base_model().config._attn_implementation == attention.NAME


def test_the_model_is_left_as_it_was(model: Any) -> None:
    model.train()
    try:
        with attending(model, "sdpa"), without_dropout(model):
            assert (model.training, model.config._attn_implementation) == (False, "sdpa")
        generate(model, PROMPTS, stop_ids=NEVER, max_new_tokens=2, pad_id=PAD)
        assert model.training
        with pytest.raises(IndexError):
            generate(model, [[10**6]], stop_ids=NEVER, max_new_tokens=2, pad_id=PAD)
        assert model.training
        assert model.config._attn_implementation == attention.NAME
    finally:
        model.eval()


def test_progress_counts_to_the_number_of_prompts(model: Any) -> None:
    told: list[int] = []
    generate(model, PROMPTS, stop_ids=NEVER, max_new_tokens=2, pad_id=PAD, on_done=told.append)
    assert told == [1, 2, 3, 4, 5]


def test_no_prompts_no_answers(model: Any) -> None:
    assert generate(model, [], stop_ids=NEVER, max_new_tokens=4, pad_id=PAD) == []


def test_an_empty_prompt_is_refused(model: Any) -> None:
    with pytest.raises(ValueError, match="prompt 1 is empty"):
        generate(model, [[5], []], stop_ids=NEVER, max_new_tokens=4, pad_id=PAD)


def test_the_answer_ends_where_the_context_ends(model: Any) -> None:
    assert room(model, 500, max_new_tokens=100) == Room(read=500, answer=12)
    assert room(model, 100, max_new_tokens=100) == Room(read=100, answer=100)
    answers = generate(model, [[5] * 500, [6] * 509, [7]], stop_ids=NEVER, max_new_tokens=15, pad_id=PAD)
    assert [len(answer) for answer in answers] == [12, 3, 15]


def test_a_prompt_that_fills_the_context_is_clipped_from_the_left(model: Any) -> None:
    long = [(7 * i) % 250 + 3 for i in range(600)]
    assert room(model, 600, max_new_tokens=4) == Room(read=256, answer=4)
    clipped, short = generate(model, [long, long[-256:]], stop_ids=NEVER, max_new_tokens=4, pad_id=PAD)
    assert clipped == short


@pytest.mark.parametrize("kind", ["gemma2", "gpt_oss", "mistral"])
def test_capped_scores_sinks_and_windows_are_heard_in_answers(kind: str, tmp_path: Path) -> None:
    """Transformers' `sdpa` leaves caps and sinks out: answers come from the explicit attention."""
    model = sharpened(load_model(save(kind, tmp_path)))
    answers = generate(model, PROMPTS, stop_ids=NEVER, max_new_tokens=12, pad_id=PAD)
    assert answers == [alone(model, prompt, stop_ids=NEVER, most=12, attention="eager") for prompt in PROMPTS]
    assert model.config._attn_implementation == attention.NAME


@pytest.mark.parametrize("kind", PADDED)
def test_a_model_that_cannot_be_packed_answers_as_each_prompt_alone(kind: str, tmp_path: Path) -> None:
    model = sharpened(load_model(save(kind, tmp_path)))
    prompts = [*PROMPTS, [9, 8, 7, 6], [50, 51]]  # some are of one length
    free = [alone(model, prompt, stop_ids=NEVER, most=10, attention=None) for prompt in prompts]
    assert generate(model, prompts, stop_ids=NEVER, max_new_tokens=10, pad_id=PAD) == free
    stops = frozenset({free[0][3], free[2][5]})
    answers = generate(model, prompts, stop_ids=stops, max_new_tokens=10, pad_id=PAD)
    assert answers == [alone(model, prompt, stop_ids=stops, most=10, attention=None) for prompt in prompts]


def test_a_cache_that_forgets_is_not_used(tmp_path: Path) -> None:
    """RWKV's state in Transformers 5.23 is right for one prompt and wrong for two."""
    with torch.no_grad():
        assert not module._remembers(load_model(save("rwkv", tmp_path / "rwkv")))
        assert module._remembers(load_model(save("mamba", tmp_path / "mamba")))


DRAWN = Sampling(temperature=0.8, top_p=0.9, seed=3)


def drawn(model: Any, prompts: list[list[int]], sampling: Sampling = DRAWN) -> list[list[int]]:
    return generate(model, prompts, stop_ids=NEVER, max_new_tokens=12, pad_id=PAD, sampling=sampling)


def test_what_is_drawn_depends_on_prompt_and_seed_alone(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    together = drawn(model, [*PROMPTS, PROMPTS[0]])
    assert together[0] != together[5]
    assert drawn(model, PROMPTS[::-1]) == together[4::-1]
    monkeypatch.setattr(module, "BATCH_TOKENS", 1)
    assert drawn(model, [*PROMPTS, PROMPTS[0]]) == together
    assert drawn(model, PROMPTS, Sampling(0.8, 0.9, seed=4)) != together[:5]


def test_next_to_no_temperature_and_the_smallest_nucleus_are_greedy(model: Any) -> None:
    greedy = generate(model, PROMPTS, stop_ids=NEVER, max_new_tokens=12, pad_id=PAD)
    assert drawn(model, PROMPTS, Sampling(temperature=1e-4)) == greedy
    assert drawn(model, PROMPTS, Sampling(top_p=1e-9)) == greedy


def test_a_model_that_cannot_be_packed_draws_the_same_in_any_batch(tmp_path: Path) -> None:
    model = load_model(save("mamba", tmp_path))
    prompts = [*PROMPTS, [9, 8, 7, 6], [50, 51]]
    assert drawn(model, prompts) == [drawn(model, [prompt])[0] for prompt in prompts]
