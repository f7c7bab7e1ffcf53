"""What stays of a training has the template it was trained with, and no other."""

from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from luthier.model.adapters.adapted import Adapted
from luthier.model.load import load_tokenizer
from luthier.tokens.render import Renderer
from luthier.train.keep import keep

PLAIN = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
TOOLS = "{{ tools | tojson }}" + PLAIN


@pytest.fixture
def base(tiny_llama: Path, tmp_path: Path) -> Path:
    """A model with two templates."""
    tokenizer = load_tokenizer(tiny_llama)
    tokenizer.chat_template = {"default": PLAIN, "tool_use": TOOLS}
    tokenizer.save_pretrained(tmp_path / "base")
    (tmp_path / "base" / "generation_config.json").write_text('{"eos_token_id": [2, 3]}')
    assert (tmp_path / "base" / "additional_chat_templates" / "tool_use.jinja").is_file()
    return tmp_path / "base"


def kept(base: Path, out: Path, **how: str | dict[str, str]) -> Path:
    sizes = {"hidden_size": 4, "intermediate_size": 4, "num_attention_heads": 1, "num_hidden_layers": 1}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=8, **sizes))
    trained = {"model.norm.weight": model.model.norm.weight}
    adapted = Adapted(model, trained, "model.safetensors", lambda folder: None, torch.float32, frozen={})
    keep(adapted, Renderer(load_tokenizer(base), **how), base=base, out=out)  # type: ignore[arg-type]
    return out


def test_several_templates_of_the_model_all_stay(base: Path, tmp_path: Path) -> None:
    out = kept(base, tmp_path / "out")
    assert AutoTokenizer.from_pretrained(out).chat_template == {"default": PLAIN, "tool_use": TOOLS}
    assert (out / "generation_config.json").read_text() == '{"eos_token_id": [2, 3]}'


def test_a_chosen_template_takes_the_place_of_all_the_model_had(base: Path, tmp_path: Path) -> None:
    (base / "chat_template.json").write_text('{"chat_template": "old"}')
    out = kept(base, tmp_path / "out", template="{{ messages[0].content }}")
    assert AutoTokenizer.from_pretrained(out).chat_template == "{{ messages[0].content }}"
    assert sorted(path.name for path in out.rglob("*chat_template*")) == ["chat_template.jinja"]


def test_several_chosen_templates_stay_by_their_names(base: Path, tmp_path: Path) -> None:
    chosen = {"default": "{{ 'a' }}", "tool_use": "{{ 'b' }}"}
    assert AutoTokenizer.from_pretrained(kept(base, tmp_path / "out", template=chosen)).chat_template == chosen


def test_an_older_form_of_the_template_travels_too(base: Path, tmp_path: Path) -> None:
    (base / "chat_template.json").write_text('{"chat_template": "old"}')
    assert (kept(base, tmp_path / "out") / "chat_template.json").is_file()
