"""Models are opened one after the other: an adapter shares its base's weights, two whole models are never together."""

import gc
import json
import shutil
import weakref
from pathlib import Path
from typing import Any

from luthier.core.progress import Silent
from luthier.evaluate.candidates import Local, each, names, readings
from luthier.evaluate.subject import Loaded, Setting, Subject
from luthier.model.forward import plain

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
