"""Models are opened one after the other: an adapter shares its base's weights, two whole models are never together."""

import gc
import json
import shutil
import weakref
from pathlib import Path
from typing import Any

from tokenizers import AddedToken

from luthier.core.progress import Silent
from luthier.evaluate.candidates import Local, each, names, readings
from luthier.evaluate.subject import Loaded, Setting, Subject
from luthier.model.companions import json_object
from luthier.model.forward import plain
from luthier.model.load import load_tokenizer
from luthier.workflow.candidates import candidates

SETTING = Setting(capacity=512, precision="fp32", max_new_tokens=4)


class Open:
    """What is kept of each model: where its embeddings are, and which of the models before it are still in memory."""

    def __init__(self) -> None:
        self.models: list[weakref.ref[Any]] = []
        self.found: list[tuple[int, int]] = []

    def __call__(self, subject: Subject) -> str:
        assert isinstance(subject, Loaded)
        gc.collect()
        model = plain(subject.model)
        alive = [ref() for ref in self.models]
        self.found.append((model.get_input_embeddings().weight.data_ptr(), sum(one is not None for one in alive)))
        self.models.append(weakref.ref(model))
        return subject.name


def opened(candidates: list[Local]) -> Open:
    kept = Open()
    called = each(candidates, readings(candidates), SETTING, Silent(), kept)
    assert called == names(len(candidates))
    return kept


def test_base_and_adapter_share_their_weights_in_memory(tiny_llama: Path, random_adapter: Path) -> None:
    base, adapter = Local("base", tiny_llama), Local("adapter", random_adapter, tiny_llama)
    kept = opened([base, adapter])
    assert kept.found[0][0] == kept.found[1][0]


def test_weights_of_two_models_are_never_in_memory_together(
    tiny_llama: Path, random_adapter: Path, tmp_path: Path
) -> None:
    other = Local("other", shutil.copytree(tiny_llama, tmp_path / "other"))
    adapter = Local("adapter", random_adapter, tiny_llama)
    kept = opened([Local("base", tiny_llama), other, adapter, adapter])
    assert [alive for _, alive in kept.found] == [0, 0, 0, 0]


def test_models_with_the_same_tokens_read_alike_and_others_as_themselves(tiny_llama: Path, tmp_path: Path) -> None:
    same = shutil.copytree(tiny_llama, tmp_path / "same")
    other = shutil.copytree(tiny_llama, tmp_path / "other")
    told = json.loads((other / "tokenizer.json").read_text(encoding="utf-8"))
    vocabulary = told["model"]["vocab"]
    told["model"]["vocab"] = dict(zip(vocabulary, reversed(vocabulary.values()), strict=True))
    (other / "tokenizer.json").write_text(json.dumps(told), encoding="utf-8")
    found = readings([Local("base", tiny_llama), Local("same", same), Local("other", other)])
    assert found[0] is found[1]
    assert found[1] is not None
    assert found[1].home == same
    assert found[2] is not None
    assert found[2].home == other


def with_token(model: Path, token: str) -> Path:
    """Let the tokenizer of a model know a token more than the model has embeddings for."""
    tokenizer = load_tokenizer(model)
    tokenizer.add_tokens([AddedToken(token)])
    tokenizer.save_pretrained(model)
    return model


def test_a_model_without_the_embeddings_of_added_tokens_reads_as_itself(tiny_llama: Path, tmp_path: Path) -> None:
    rows = json_object(tiny_llama / "config.json")["vocab_size"]
    own = load_tokenizer(tiny_llama).get_vocab()
    grown = shutil.copytree(tiny_llama, tmp_path / "grown")
    for number in range(max(own.values()) + 1, rows + 1):
        with_token(grown, f"<new {number}>")
    found = readings([Local("base", tiny_llama), Local("grown", grown)])
    assert found[0] is not found[1]
    found = readings([Local("base", shutil.copytree(grown, tmp_path / "same")), Local("grown", grown)])
    assert found[0] is found[1]  # both tokenizers know more than their models: no text holds it


def test_tokens_that_training_added_are_others_where_another_training_added_others(
    tiny_llama: Path, tmp_path: Path
) -> None:
    number = len(load_tokenizer(tiny_llama).get_vocab())
    one, other = (with_token(shutil.copytree(tiny_llama, tmp_path / name), f"<{name}>") for name in ("call", "tool"))
    for model, name in ((one, "call"), (other, "tool")):
        (model / "new_tokens.json").write_text(json.dumps({f"<{name}>": number}), encoding="utf-8")
    found = readings([Local("base", tiny_llama), Local("one", one), Local("other", other)])
    assert found[0] is found[1]
    assert found[2] is not found[1]


def test_an_adapter_goes_on_the_base_it_names_whatever_it_is_compared_with(
    tiny_llama: Path, random_adapter: Path, tmp_path: Path
) -> None:
    alike = shutil.copytree(tiny_llama, tmp_path / "alike")
    _, adapter = candidates([str(random_adapter)], str(alike))
    assert isinstance(adapter, Local)
    assert adapter.base == tiny_llama
    moved = shutil.copytree(random_adapter, tmp_path / "moved")
    about = json_object(moved / "adapter_config.json")
    (moved / "adapter_config.json").write_text(
        json.dumps({**about, "base_model_name_or_path": "gone/from/here"}), encoding="utf-8"
    )
    _, adapter = candidates([str(moved)], str(alike))
    assert isinstance(adapter, Local)
    assert adapter.base == alike
