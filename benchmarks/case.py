"""What every contestant gets: the same model, documents and optimizer steps, made from one seed."""

import json
import random
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from luthier.bundled import sample_paths
from luthier.core.example import Example, Message, Source
from luthier.model.facts import resolve
from luthier.model.load import load_tokenizer, stop_ids
from luthier.tokens.batch import members, steps_per_epoch
from luthier.tokens.encode import Limits, in_memory, read_examples
from luthier.tokens.render import Encoded, Renderer

SEED, BATCH, RANK, RATE = 0, 8, 16, 1e-4


@dataclass(frozen=True, slots=True)
class Case:
    model: Path
    documents: Path
    technique: str  # `lora` or `full`
    rounds: int
    """Timed passes over the documents. One more comes first: untimed, at learning rate 0."""

    def rows(self) -> list[Encoded]:
        """Return the documents as luthier renders them."""
        renderer = Renderer(load_tokenizer(self.model), stop_ids(self.model))
        return in_memory(read_examples(self.documents), renderer, Limits(512), processes=1).rows

    def batches(self) -> list[list[Encoded]]:
        """Return the documents of each optimizer step of a pass, as luthier chooses them."""
        rows = self.rows()
        steps = range(steps_per_epoch(len(rows), BATCH))
        return [[rows[i] for i in members(step, len(rows), batch_size=BATCH, seed=SEED)] for step in steps]


def make_case(folder: Path, *, model: str, documents: int, technique: str, rounds: int) -> Case:
    """Write what the contestants load; the documents have log-normal lengths, about a third of them is answer."""
    words = re.findall(r"[A-Za-z]+", sample_paths()[0].read_text(encoding="utf-8"))
    chance = random.Random(SEED)

    def say(median: int) -> str:
        return " ".join(chance.choices(words, k=min(60, 4 + round(median * chance.lognormvariate(0, 0.5)))))

    with (path := folder / "documents.jsonl").open("w", encoding="utf-8") as file:
        for line in range(1, documents + 1):
            messages = (Message("user", say(8)), Message("assistant", say(4)))
            file.write(json.dumps(Example(messages, Source("benchmark", line)).as_dict()) + "\n")
    if model == "random":
        _random_llama(folder / "model")
    return Case(folder / "model" if model == "random" else resolve(model), path, technique, rounds)


def _random_llama(folder: Path) -> None:
    """Write a Llama of 25M random weights, half of them a tied vocabulary of 32k, and a tokenizer of bytes."""
    letters = ["<pad>", "<eos>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE({letter: place for place, letter in enumerate(letters)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>", pad_token="<pad>").save_pretrained(folder)
    torch.manual_seed(SEED)
    wide = {"vocab_size": 32_000, "hidden_size": 384, "intermediate_size": 1024, "tie_word_embeddings": True}
    deep = {"num_hidden_layers": 8, "num_attention_heads": 6, "num_key_value_heads": 2}
    # Three times the usual spread of weights: documents that saw each other would move the loss.
    config = LlamaConfig(**wide, **deep, initializer_range=0.06)
    LlamaForCausalLM(config).save_pretrained(folder)
