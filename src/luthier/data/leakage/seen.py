"""Rows a model is judged by, looked for in the rows it learned from.

What is the same is told by the keys that find duplicates, what is nearly the same by runs of 13 words, as for items of
test sets (`index`); of a prompt of 5 to 12 words, all of it must be there. Answers to other prompts are not looked for:
that many rows are answered in the same words is what is to be learned. Memory grows with the rows that are looked
for, not with those that were learned.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from itertools import islice

from luthier.core.example import Example
from luthier.data.keys import parted
from luthier.data.leakage.evaluations import Evaluation
from luthier.data.leakage.index import build
from luthier.data.leakage.items import Item
from luthier.data.leakage.look import text_of
from luthier.data.leakage.texts import texts_of
from luthier.data.leakage.words import chunks
from luthier.data.near.compared import prompt

NGRAM = 13

MOST = 0.8
"""Part of a prompt that makes it nearly the same."""

BATCH = 2_000

ORDER = ("", "words", "near", "prompt", "row")
"""What may be found of a row, the least first."""


def seen(rows: Sequence[Example], *, learned: Iterable[Example]) -> list[str]:
    """Return of each row what of it stands in the rows that were learned, one of `ORDER`."""
    parts = [parted(row) for row in rows]
    keys, prompts = defaultdict(list), defaultdict(list)
    for place, part in enumerate(parts):
        keys[part.key()].append(place)
        if part.prompt:
            prompts[_key(part.prompt)].append(place)
    items = [Item(row.source, asked := prompt(row), "" if asked else _answer(row)) for row in rows]
    texts, _ = texts_of([Evaluation("rows", [*items])], ngram=NGRAM)
    index = build(texts, ngram=NGRAM)
    found = [0] * len(rows)

    def tell(places: Iterable[int], kind: str) -> None:
        for place in places:
            found[place] = max(found[place], ORDER.index(kind))

    source = iter(learned)
    while batch := [*islice(source, BATCH)]:
        for example in batch:
            part = parted(example)
            tell(keys.get(part.key(), ()), "row")
            tell(prompts.get(_key(part.prompt), ()), "prompt")
        for _, words in chunks([text_of(example) for example in batch]):
            for match in index.matches(words):
                near = match.covered >= MOST * match.of
                tell(texts[match.text].items, "near" if near else "words")
    return [ORDER[kind] for kind in found]


def _key(turns: Sequence[str]) -> bytes:
    return blake2b("\x1e".join(turns).encode(), digest_size=16).digest()


def _answer(example: Example) -> str:
    last = example.messages[-1]
    return last.text if last.role == "assistant" else ""
