"""The corpus: a stream of documents, each from its own seed, and the split into training and held-out text.

Document `k` of a split depends on nothing but the corpus seed, the split's name and `k`.
"""

import random
from collections import Counter
from collections.abc import Iterator
from typing import Literal

from scripts.base_model.chat import Message, chat
from scripts.base_model.prose import page
from scripts.base_model.richer import richer_chat

SEED = 20261
CHAT_SHARE = 0.75
"""Share of documents that are chats; by tokens it is lower, because prose documents are longer."""
RICHER_FROM = 80_000
"""From this training document on, chats are more varied and ask for copying. Every second held-out one is so."""
MOST_COPIES = 3
"""A document that comes up more often than this in the training split is skipped."""

Split = Literal["train", "held-out"]
Document = str | list[Message]


def document(split: Split, k: int) -> Document:
    """Write document `k` of a split: prose as a string, a chat as a list of messages."""
    rng = random.Random(f"{SEED}/{split}/{k}")
    if rng.random() >= CHAT_SHARE:
        return page(rng)
    richer = k >= RICHER_FROM if split == "train" else k % 2 == 1
    return richer_chat(rng) if richer else chat(rng)


def rendered(doc: Document) -> str:
    """Render a document as the model sees it: ChatML, or prose and its end mark."""
    if isinstance(doc, str):
        return doc + "<|endoftext|>"
    return "".join(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in doc)


def training_texts() -> Iterator[str]:
    """Yield rendered training documents without end, none more than `MOST_COPIES` times."""
    copies: Counter[str] = Counter()
    k = 0
    while True:
        text = rendered(document("train", k))
        k += 1
        copies[text] += 1
        if copies[text] <= MOST_COPIES:
            yield text


def held_out_documents(count: int, training: set[str]) -> tuple[list[Document], int]:
    """Draw `count` held-out documents whose text is not in the training texts.

    Returns:
        documents: The documents kept.
        rejected: How many were drawn and dropped because the same text is in the training split.
    """
    kept: list[Document] = []
    seen = set(training)
    k = rejected = 0
    while len(kept) < count:
        doc = document("held-out", k)
        k += 1
        text = rendered(doc)
        if text in seen:
            rejected += 1
            continue
        seen.add(text)
        kept.append(doc)
    return kept, rejected
