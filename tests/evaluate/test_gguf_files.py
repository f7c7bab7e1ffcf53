"""A GGUF file is measured and asked through llama.cpp as its source is through Transformers."""

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from luthier.core.example import Example
from luthier.evaluate.candidates import Gguf, Local
from luthier.evaluate.compare import Asked, compare
from luthier.evaluate.reading import Reading
from luthier.export.gguf import to_gguf
from luthier.model.llamacpp import SECONDS, ask, continuation, forced, known_tokens, patience
from luthier.model.load import load_tokenizer
from luthier.recipe.evaluate import Evaluate
from luthier.tokens.encode import Limits

pytestmark = pytest.mark.skipif(importlib.util.find_spec("xllamacpp") is None, reason="needs xllamacpp")


@pytest.fixture(scope="module")
def file(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    to_gguf(tiny_llama, path, quant="f32", name="tiny")
    return path


def test_the_likelihood_and_answers_of_a_gguf_file_are_those_of_its_source(
    file: Path, tiny_llama: Path, rows: tuple[Example, ...], tmp_path: Path
) -> None:
    asked = Asked(examples=lambda: rows, limits=Limits(512), capacity=512, precision="fp32")
    options = Evaluate(answers=4, samples=4, max_new_tokens=8)
    base = Local(str(tiny_llama), tiny_llama)
    data: dict[str, Any] = compare([base, Gguf(str(file), file)], asked, options, out=tmp_path / "evaluate").data
    assert data["verdict"] == "same"
    assert data["perplexity"]["change"]["value"] == pytest.approx(1, abs=2e-3)
    assert [one["tuned"] for one in data["samples"]] == [one["base"] for one in data["samples"]]
    assert data["models"]["tuned"] == str(file)


def test_forced_tokens_are_told_also_where_they_are_half_a_character(file: Path, tiny_llama: Path) -> None:
    ids = load_tokenizer(tiny_llama).encode("Grüße an 木 und 🎻, the peg.", add_special_tokens=False)
    ids += [load_tokenizer(tiny_llama).eos_token_id]
    places = [*range(1, len(ids))]
    (answer,) = ask(file, [forced(ids, places, vocabulary=len(known_tokens(file)))])
    plain = AutoModelForCausalLM.from_pretrained(tiny_llama)
    with torch.no_grad():
        logits = plain(input_ids=torch.tensor([ids]), use_cache=False).logits[0]
    wanted = [float(logits[place - 1].log_softmax(-1)[ids[place]]) for place in places]
    assert answer["logprobs"] == pytest.approx(wanted, abs=5e-3)
    assert not np.isclose(min(wanted), max(wanted))


def test_a_large_model_has_as_long_for_each_question_as_for_one() -> None:
    one = continuation([1, 2], max_tokens=4)
    assert patience([one] * 64) >= 64 * SECONDS
    assert patience([forced([1, 2, 3, 4], [1, 2, 3], vocabulary=9)]) >= 3 * SECONDS


def test_the_tokens_of_a_file_are_compared_by_their_numbers(file: Path, tiny_llama: Path) -> None:
    known = known_tokens(file)
    assert Reading(tiny_llama).has(dict(enumerate(known)))
    assert not Reading(tiny_llama).has(dict(enumerate(known[::-1])))


def test_a_gguf_file_of_other_tokens_answers_in_its_own_template_ends_at_texts_and_draws(
    file: Path, tiny_llama: Path, rows: tuple[Example, ...], tmp_path: Path
) -> None:
    other = shutil.copytree(tiny_llama, tmp_path / "other")
    told = json.loads((other / "tokenizer.json").read_text(encoding="utf-8"))
    vocabulary = told["model"]["vocab"]
    told["model"]["vocab"] = dict(zip(vocabulary, reversed(vocabulary.values()), strict=True))
    (other / "tokenizer.json").write_text(json.dumps(told), encoding="utf-8")
    asked = Asked(examples=lambda: rows, limits=Limits(512), capacity=512, precision="fp32")

    def answers(base: Path, **options: Any) -> tuple[list[str], dict[str, Any]]:
        how = Evaluate(answers=3, samples=3, max_new_tokens=8, **options)
        data = compare([Local("base", base), Gguf(str(file), file)], asked, how, out=tmp_path / "evaluate").data
        return [one["tuned"] for one in data["samples"]], data

    whole, _ = answers(tiny_llama)
    stop = whole[0][2:4]
    own, data = answers(other, stop=(stop,))
    assert own == [text.partition(stop)[0] for text in whole]
    assert data["perplexity"]["tuned"] is None
    assert data["not_compared"] == "no other model here has the tokens of the GGUF file"
    drawn = [answers(tiny_llama, sampling={"temperature": 2.0, "seed": 1})[0] for _ in range(2)]
    assert drawn[0] == drawn[1] != whole
