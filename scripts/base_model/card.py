"""Measure the trained base model on held-out text and write its model card.

Run from the repository root after training: `python -m scripts.base_model.card`.
"""

import argparse
import json
import math
import tempfile
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import torch
from scripts.base_model.corpus import RICHER_FROM, SEED, Document, held_out_documents, rendered, training_texts
from scripts.base_model.train import (
    LAST_LEARNING_RATE,
    OUTPUT,
    PEAK_LEARNING_RATE,
    ROW,
    ROWS_PER_STEP,
    STEPS,
    TOKENIZER_DOCUMENTS,
    VOCABULARY,
    WALLS_FROM,
    WARM_UP,
    WEIGHT_DECAY,
)
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, AutoTokenizer

HELD_OUT = 2000
SHINGLE = 8
PROMPTS: tuple[str, ...] = (
    "My mandolin started buzzing after I moved house, any idea?",
    "hello there, the pegs on my daughter's cello keep slipping. what would help her?",
    "I dropped my ukulele and now there is a crack in it. What should I do now?",
    "When exactly are you open during the week?",
    "I'd like to know how many strings there are on a lute.",
    "Could you tell me what a luthier does all day?",
    "Please tell me a little tale about a cat called Mimi.",
    "Which things do I need if I want to cut some wood?",
    "Tell me three birds, please.",
    "How would I bake some bread at home?",
    "What noise does an owl make at night?",
    "Hi, I am Belinda and my violin bow lost most of its hair. What now?",
    "Who was the first person on the moon?",
    "What is 7 + 5, please?",
)
"""Questions in words that the generator does not use; `write_card` checks that none is in the training."""


class Loss(NamedTuple):
    """Summed loss of some text: nats, the tokens they were summed over, and the UTF-8 bytes of the text."""

    nats: float
    tokens: int
    bytes: int


class Overlap(NamedTuple):
    """How near the held-out documents are to the training text, in shares of runs of eight words (0 to 1)."""

    shared_runs: float
    documents_nearly_covered: float


@torch.inference_mode()
def held_out_loss(model: Any, tokenizer: Any, documents: list[Document]) -> Loss:
    """Score every document alone, in float32, all tokens but the first."""
    nats, tokens, size = 0.0, 0, 0
    for text in map(rendered, documents):
        ids = torch.tensor([tokenizer(text, add_special_tokens=False)["input_ids"]])
        logits = model(input_ids=ids, use_cache=False).logits.float()
        nats += cross_entropy(logits[0, :-1], ids[0, 1:], reduction="sum").item()
        tokens += ids.shape[1] - 1
        size += len(text.encode())
    return Loss(nats, tokens, size)


def word_runs(text: str) -> list[tuple[str, ...]]:
    """Cut a text into all its runs of `SHINGLE` words."""
    words = text.split()
    return [tuple(words[n : n + SHINGLE]) for n in range(len(words) - SHINGLE + 1)]


def overlap(documents: list[Document], training: list[str]) -> Overlap:
    """Count which runs of words of the held-out documents stand somewhere in the training text."""
    runs = [set(word_runs(rendered(d))) for d in documents]
    wanted = set().union(*runs)
    found: set[tuple[str, ...]] = set()
    for text in training:
        found.update(r for r in word_runs(text) if r in wanted)
    shares = [len(r & found) / len(r) for r in runs if r]
    return Overlap(len(found) / len(wanted), sum(s > 0.9 for s in shares) / len(shares))


def texts_of_training(tokenizer: Any, tokens: int) -> list[str]:
    """Generate the training texts again, as many as make up `tokens` tokens."""
    texts: list[str] = []
    source, counted = training_texts(), 0
    while counted < tokens:
        batch = list(islice(source, 1000))
        counted += sum(len(e.ids) for e in tokenizer.backend_tokenizer.encode_batch(batch))
        texts += batch
    return texts


@torch.inference_mode()
def answer(model: Any, tokenizer: Any, question: str) -> str:
    """Answer greedily."""
    inputs = tokenizer.apply_chat_template(
        [{"role": "user", "content": question}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    out = model.generate(**inputs, max_new_tokens=200, do_sample=False)
    return str(tokenizer.decode(out[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)).strip()


def card(
    training: dict[str, Any],
    loss: Loss,
    near: Overlap,
    samples: list[tuple[str, str]],
    *,
    documents: int,
    chats: float,
    rejected: int,
    megabytes: float,
) -> str:
    """Write the text of the model card."""
    shown = "\n\n".join(f"**{q}**\n\n" + "\n".join(f"> {line}" for line in a.splitlines()) for q, a in samples)
    resumed = (
        f" The run was stopped and resumed from snapshots, last at step {training['resumed_at']:,}."
        if training["resumed_at"]
        else ""
    )
    return f"""---
license: apache-2.0
language:
- en
library_name: transformers
pipeline_tag: text-generation
tags:
- luthier
- tiny
- synthetic-data
---

# The luthier base model

A very small English language model that comes with luthier, so that a whole fine-tuning chain (prepare,
train, evaluate, export, serve) runs in minutes on a laptop without a network. It knows one small invented
world: a town with an instrument workshop. It is made to be fine-tuned as a demonstration. It is not made to
be relied on.

## Data

Every word was written by a program in the luthier repository (`scripts/base_model`): tables of facts
(`world.py`), prose (`prose.py`), chats (`chat.py`) and, from document {RICHER_FROM:,} on, chats in more wordings
and tasks of exact copying (`richer.py`). No text was copied from anywhere and no real person
is in it; names are common first names or invented syllables, addresses end in `example.org`, telephone
numbers begin with 555.

| | |
|---|---|
| seed | {SEED} |
| training documents | {documents:,} ({chats:.0%} of the text is chat, the rest prose) |
| training tokens | {training["tokens"]:,} (one pass; no document more than three times) |
| held-out documents | {HELD_OUT:,}, from other seeds |

Held-out documents equal to a training document: 0 by construction; {rejected:,} candidates were dropped
because the same short text is in the training split. They are near all the same, because both come from one
generator: {near.shared_runs:.0%} of their runs of {SHINGLE} words also stand in the training text, and
{near.documents_nearly_covered:.0%} of the documents consist of such runs by more than 90%. The held-out
figures show that the model learned the generator, and nothing beyond it.

## Tokenizer

Byte-level BPE with {VOCABULARY:,} entries, trained on the first {TOKENIZER_DOCUMENTS:,} training documents,
with the public pre-tokenizer pattern of Qwen2 and NFC. All 256 bytes are in it, so every text can be
encoded. Special tokens: `<|pad|>`, `<|im_start|>`, `<|im_end|>` (end of a turn), `<|endoftext|>` (end of a
text). There is no BOS. The chat template is ChatML without a hidden system message, and marks the
assistant's tokens for training.

## Architecture

Llama: {training["parameters"]:,} parameters, width 256, 5 layers, 4 heads with 2 key-value heads of 64,
feed-forward 768, tied embeddings, trained on rows of {ROW} tokens (position limit 1024). The weights are
bfloat16, {megabytes:.1f} MB.

## Training

{STEPS:,} steps of {ROWS_PER_STEP} rows of {ROW} tokens. Whole documents are packed into a row; from step
{WALLS_FROM:,} on each sees only itself. AdamW (betas 0.9 and 0.95, weight decay {WEIGHT_DECAY}), peak learning rate
{PEAK_LEARNING_RATE} after {WARM_UP} warm-up steps, then a cosine; from step {WALLS_FROM:,} on a straight line from
{LAST_LEARNING_RATE} to zero. Gradient norm clipped at 1; bfloat16 autocast, `torch.compile`. One core of an x86 server
CPU with AVX-512 and bfloat16 instructions, shared with other work: {training["minutes"]:.0f} minutes,
{training["tokens_per_second"]:,.0f} tokens/s, torch {training["torch"]}.{resumed}

## Held-out perplexity

| | |
|---|---|
| per token | {math.exp(loss.nats / loss.tokens):.3f} ({loss.tokens:,} tokens) |
| per byte | {math.exp(loss.nats / loss.bytes):.4f} ({loss.bytes:,} bytes, marks included) |

## Sample answers

Greedy decoding of the weights in this folder. None of these questions is in the training text word for word. They
are not a clean test: the wordings of `richer.py` were written after earlier answers to them had been seen, and some
come close to them.

{shown}

## Limits

* It knows the invented workshop and a few hundred everyday facts. Prices, hours and repair advice are
  invented.
* Outside that world it should say that it does not know, but it often answers with something fluent and
  wrong.
* Questions in unusual words can lead it to the answer of a neighbouring question.
* Its language is plain, short and repetitive. Stories follow a few plots. It cannot reason, and its sums are often
  wrong. In long lists it repeats itself, and it misspells names it has not met.
* English only. Do not use it for anything that matters.

## Make it again

```console
$ OMP_NUM_THREADS=1 taskset -c 0 python -m scripts.base_model.train
$ python -m scripts.base_model.card
```

Or `make base-model`, which does both. The data, their order and the initial weights follow from the seed. The same
weights can be expected only with one thread, the same torch and the same kind of CPU; docs/log.md says how far this was
checked. Elsewhere expect the same quality and other digits.

## Licence

Apache-2.0, weights and data alike.
"""


def write_card(work: Path, model_folder: Path) -> None:
    """Measure the model in `model_folder` and write its README.md there."""
    torch.set_num_threads(1)
    training = json.loads((work / "training.json").read_text())
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32)
    model.eval()
    texts = texts_of_training(tokenizer, training["tokens"])
    chat_bytes = sum(len(t) for t in texts if t.startswith("<|im_start|>"))
    everything = "\n".join(texts).casefold()
    for prompt in PROMPTS:
        assert prompt.casefold() not in everything, prompt
    documents, rejected = held_out_documents(HELD_OUT, set(texts))
    loss = held_out_loss(model, tokenizer, documents)
    near = overlap(documents, texts)
    samples = [(p, answer(model, tokenizer, p)) for p in PROMPTS]
    text = card(
        training,
        loss,
        near,
        samples,
        documents=len(texts),
        chats=chat_bytes / sum(map(len, texts)),
        rejected=rejected,
        megabytes=(model_folder / "model.safetensors").stat().st_size / 1e6,
    )
    (model_folder / "README.md").write_text(text, encoding="utf-8")
    print(
        json.dumps(
            {
                "perplexity_per_token": math.exp(loss.nats / loss.tokens),
                "perplexity_per_byte": math.exp(loss.nats / loss.bytes),
                **loss._asdict(),
                **near._asdict(),
                "documents": len(texts),
                "rejected": rejected,
            },
            indent=2,
        )
    )
    print("\n\n".join(f"Q: {q}\nA: {a}" for q, a in samples))


def main() -> None:
    """Read the command line and write the card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--work", type=Path, default=Path(tempfile.gettempdir()) / "base_model", help="where training logged"
    )
    parser.add_argument("--model", type=Path, default=OUTPUT, help="folder of the trained model")
    options = parser.parse_args()
    write_card(options.work, options.model)


if __name__ == "__main__":
    main()
