import json
import shutil
from pathlib import Path

import pytest

from luthier.core.errors import ModelError
from luthier.model.facts import facts, fingerprint, resolve


@pytest.fixture
def copy(tiny_llama: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_llama, tmp_path / "model"))


def test_size_and_shape_are_known_without_loading(tiny_llama: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    known = facts(str(tiny_llama))
    model = AutoModelForCausalLM.from_pretrained(tiny_llama, dtype=torch.float32)
    assert known.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert known.weight_bytes == 4 * known.parameters
    assert (known.architecture, known.dtype, known.context) == ("LlamaForCausalLM", "F32", 512)


def test_the_bundled_model_is_small_and_of_the_promised_kind() -> None:
    known = facts("bundled")
    assert known.architecture == "LlamaForCausalLM"
    assert 3_000_000 <= known.parameters <= 8_000_000
    assert known.vocabulary >= 4096
    assert sum(file.stat().st_size for file in resolve("bundled").iterdir()) <= 16_000_000


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda path: shutil.rmtree(path), "no such model folder"),
        (lambda path: (path / "config.json").unlink(), "no config.json"),
        (lambda path: (path / "model.safetensors").unlink(), r"no \*.safetensors"),
        (lambda path: (path / "model.safetensors").rename(path / "pytorch_model.bin"), "pickled weights"),
        (lambda path: (path / "tokenizer.json").unlink(), "no tokenizer"),
        (lambda path: (path / "config.json").write_text("{"), "not JSON"),
        (lambda path: (path / "config.json").write_text("{}"), "model_type"),
        (lambda path: (path / "model.safetensors").write_bytes(b"abc"), "no whole safetensors"),
        (lambda path: (path / "model.safetensors").write_bytes((99).to_bytes(8, "little") + b"{}"), "no whole safet"),
        (lambda path: (path / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"[]"), "can't be read"),
        (lambda path: truncate(path / "model.safetensors"), "should have"),
        (lambda path: own_code(path), "its own code"),
    ],
)
def test_a_folder_that_is_no_model_says_what_is_wrong(damage, words: str, copy: Path) -> None:
    damage(copy)
    with pytest.raises(ModelError, match=words) as caught:
        facts(str(copy))
    assert caught.value.hint


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def own_code(path: Path) -> None:
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoModel": "mine.Mine"}}))


def test_an_adapter_is_not_taken_for_a_model(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match="an adapter, not a model"):
        facts(str(tmp_path))


def test_the_fingerprint_follows_the_files(copy: Path, tiny_llama: Path) -> None:
    assert fingerprint(copy) == fingerprint(tiny_llama)
    (copy / "chat_template.jinja").write_text("another")
    assert fingerprint(copy) != fingerprint(tiny_llama)
