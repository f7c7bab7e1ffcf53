"""Tiny real models: random weights, a real byte-level BPE tokenizer, a real chat template. No download."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from warm import Warm

settings.register_profile("luthier", deadline=None)  # a busy machine is slow, not wrong
settings.load_profile("luthier")

CHATML = (
    "{%- for message in messages -%}"
    "{{ '<|im_start|>' + message.role + '\n' }}"
    "{%- if message.role == 'assistant' -%}"
    "{% generation %}{{ message.content + '<|im_end|>' }}{% endgeneration %}"
    "{%- else -%}{{ message.content + '<|im_end|>' }}{%- endif -%}{{ '\n' }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\n' }}{%- endif -%}"
)

SENTENCES = [
    "The violin buzzes when I play the low string.",
    "A new bridge costs twenty euros, and fitting it takes an hour.",
    "Keep the guitar in its case; dry air cracks the top.",
    "Why does the peg slip? Because the wood has shrunk.",
]

SPECIAL = ["<|pad|>", "<|im_start|>", "<|im_end|>", "<|endoftext|>"]
PATTERN = (  # of Qwen2: Transformers puts it in for every model of that type, whatever tokenizer.json says
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def make_tokenizer(folder: Path) -> int:
    """Write a byte-level BPE tokenizer with a ChatML template, and return its size."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES * 4, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|pad|>")
    fast.chat_template = CHATML
    fast.save_pretrained(str(folder))
    return len(fast)


def make_model(folder: Path, kind: str = "llama", *, layers: int = 2, seed: int = 0) -> Path:
    """Write a random model of `kind` ("llama" or "qwen2") with a tokenizer; weights are float32."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    folder.mkdir(parents=True, exist_ok=True)
    size = make_tokenizer(folder)
    config = AutoConfig.for_model(
        kind,
        vocab_size=size,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=kind == "qwen2",
        bos_token_id=None,
        eos_token_id=2,
        pad_token_id=0,
    )
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.save_pretrained(str(folder))
    return folder


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("models") / "llama")


@pytest.fixture(scope="session")
def tiny_qwen2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("models") / "qwen2", "qwen2")


@pytest.fixture(scope="session")
def warm(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    process = Warm(tiny_llama, tmp_path_factory.mktemp("warm"))
    yield process
    process.close()


@pytest.fixture
def tickets(tmp_path: Path) -> Path:
    """Forty distinct questions with answers, as JSONL."""
    rows = [
        {
            "question": f"{SENTENCES[i % 4]} This is ticket {i}.",
            "answer": f"Thank you. {SENTENCES[(i + 1) % 4]} Case {i * 7}.",
        }
        for i in range(40)
    ]
    path = tmp_path / "tickets.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
