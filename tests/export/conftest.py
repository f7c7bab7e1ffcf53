"""Small real models: random weights, a tokenizer trained here, adapters made by PEFT."""

import json
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from luthier.export.vocabulary import QWEN2

KINDS = {
    "llama": (LlamaConfig, LlamaForCausalLM),
    "mistral": (MistralConfig, MistralForCausalLM),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM),
}
LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
SENTENCES = [
    "The quick brown fox jumps over the lazy dog, doesn't it? I'll say it's 1234 times quicker.",
    "Ein Käfer überquert die Straße; 第二行 と 日本語。 Привет, мир! 😀👍🏽",
    "def main():\n    return {'a': 1.5e-3, \"b\": [1, 22, 333]}\n\n\n# tabs\tand  spaces   ",
    "Please answer the customer's question politely. The order 10023 was shipped on 2026-03-01.",
] * 3
CHATML = (
    "{%- for m in messages %}"
    "{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{%- endif %}"
)


def trained_byte_level(regex):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(regex), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    tokenizer.add_tokens(["<tool_call>"])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=CHATML,
        clean_up_tokenization_spaces=False,
    )


def sentencepiece_style():
    trained = Tokenizer(models.BPE())
    trained.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    trainer = trainers.BpeTrainer(vocab_size=200, special_tokens=["<unk>", "<s>", "</s>"], show_progress=False)
    trained.train_from_iterator([s for s in SENTENCES if s.isascii()], trainer)
    data = json.loads(trained.to_str())["model"]
    start = len(data["vocab"])
    vocab = data["vocab"] | {f"<0x{byte:02X}>": start + byte for byte in range(256)}
    merges = [tuple(merge) for merge in data["merges"]]
    tokenizer = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = trained.normalizer
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def pytest_configure(config):
    # PEFT 0.21 asks for a name that transformers 5.23 has renamed; both work.
    config.addinivalue_line("filterwarnings", "ignore:`is_gradient_checkpointing`:FutureWarning")


@pytest.fixture(scope="session")
def byte_level():
    return trained_byte_level(QWEN2)


@pytest.fixture(scope="session")
def byte_level_with():
    return trained_byte_level


@pytest.fixture(scope="session")
def sentencepiece():
    return sentencepiece_style()


@pytest.fixture(scope="session")
def make_model(byte_level):
    def make(folder: Path, kind="llama", *, dtype=torch.bfloat16, tokenizer=byte_level, shard="5GB", **settings):
        torch.manual_seed(7)
        config_class, model_class = KINDS[kind]
        config = config_class(
            **{
                "vocab_size": len(tokenizer) + 5,
                "hidden_size": 256,
                "intermediate_size": 320,
                "num_hidden_layers": 2,
                "num_attention_heads": 4,
                "num_key_value_heads": 2,
                "max_position_embeddings": 512,
                "tie_word_embeddings": False,
                # Wide enough that answers differ in probability: flat distributions hide mistakes.
                "initializer_range": 0.06,
                "bos_token_id": tokenizer.bos_token_id,
                "eos_token_id": tokenizer.eos_token_id,
                "pad_token_id": tokenizer.pad_token_id,
                **settings,
            }
        )
        model = model_class(config)
        for name, weight in model.named_parameters():
            if weight.ndim == 1:
                torch.nn.init.normal_(weight, mean=1.0 if "norm" in name else 0.0, std=0.2)
        model.to(dtype).save_pretrained(folder, max_shard_size=shard)
        tokenizer.save_pretrained(folder)
        return folder

    return make


@pytest.fixture(scope="session")
def make_adapter():
    def make(base: Path, folder: Path, *, model_class=LlamaForCausalLM, dtype=torch.float32, **settings):
        torch.manual_seed(11)
        model = model_class.from_pretrained(base, dtype=dtype)
        lora = LoraConfig(**{"r": 4, "lora_alpha": 8, "target_modules": LINEAR, **settings})
        adapted = get_peft_model(model, lora)
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight, std=0.1)
        # With the head among the targets PEFT would add a copy of the base's embeddings, and warn.
        adapted.save_pretrained(folder, save_embedding_layers=False)
        return folder

    return make


@pytest.fixture(scope="session")
def llama(make_model, tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("models") / "llama")


@pytest.fixture(scope="session")
def adapter(llama, make_adapter, tmp_path_factory):
    return make_adapter(llama, tmp_path_factory.mktemp("adapters") / "plain", target_modules=[*LINEAR, "lm_head"])
