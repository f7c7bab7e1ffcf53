"""A faster way to the same ids: tiktoken in place of the tokenizer's own code, for byte-level BPE.

Tokenizers of Llama 3, Qwen, GPT-2 and their kin cut a text by one pattern and merge bytes by rank, which tiktoken does
five times as fast as `tokenizers` (docs/log.md). It is used only where tokenizer.json says nothing that tiktoken
can't do. The two read the pattern with different engines, which may not agree what kind of character a new emoji is:
every character is tried in both before a text that holds it goes the fast way. And they merge by rules that differ
where a vocabulary names one of several ways to a token: one text in `EVERY` is encoded by both, and the fast way is
given up for good where they disagree.

Shapes: T tokens of a text.
"""

import gc
import unicodedata
from importlib.util import find_spec
from itertools import pairwise
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
"""How a bare `ByteLevel` pre-tokenizer cuts: the pattern of GPT-2 (Radford et al. 2019)."""

EVERY = 64
"""Of so many texts one is encoded both ways."""

LONGEST = 20_000
"""Characters. In one word without end tiktoken takes time by the square of its length; such texts go the other way."""


class DiffersError(Exception):
    """tiktoken gave other ids than the tokenizer: everything it encoded must be encoded again."""


class FastBpe:
    """tiktoken with the vocabulary of a tokenizer. Made by `fast_bpe`."""

    def __init__(self, encoding: Any, lengths: NDArray[np.int64], backend: Any, *, composed: bool) -> None:
        self._encoding = encoding
        self._lengths = lengths
        self._backend = backend
        self._composed = composed
        self._same: set[str] = set()
        """Characters both engines read alike."""
        self._ascii = self._alike("".join(map(chr, range(128))))

    def _alike(self, text: str) -> bool:
        """Say whether every character of a text is read alike, beside letters, digits, spaces and its own kind."""
        for letter in {*text} - self._same:
            if unicodedata.category(letter) in ("Cn", "Cs"):
                return False  # newer than our Unicode: who knows whether it is composed; or half a character
            probe = f"a{letter}b {letter}{letter} {letter}1{letter}\n{letter}.{letter}'{letter}"
            slow = self._backend.encode(probe, add_special_tokens=False).ids
            if self._encoding.encode_ordinary(probe) != slow:
                return False
            self._same.add(letter)
        return True

    def _takes(self, text: str) -> bool:
        """Say whether a text is encoded this way."""
        plain = text.isascii()
        if len(text) > LONGEST or not (plain or not self._composed or unicodedata.is_normalized("NFC", text)):
            return False
        return self._ascii if plain else self._alike(text)

    def count(self, text: str) -> int | None:
        """Return the number of tokens; None for texts it leaves alone."""
        return len(self._encoding.encode_to_numpy(text, allowed_special="all")) if self._takes(text) else None

    def encode(self, text: str) -> tuple[NDArray[np.int32], NDArray[np.int64]] | None:
        """Return ids, shape (T,), and the characters each stands for, shape (T, 2); None for texts it leaves alone."""
        if not self._takes(text):
            return None
        plain = text.isascii()
        ids = self._encoding.encode_to_numpy(text, allowed_special="all").astype(np.int32)
        ends = np.cumsum(self._lengths[ids])
        offsets = np.empty((2, len(ids)), dtype=np.int64).T  # each column lies together: it is searched
        offsets[:, 1] = ends
        offsets[1:, 0] = ends[:-1]
        offsets[:1, 0] = 0
        return ids, offsets if plain else _characters(text, offsets)


def _characters(text: str, offsets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return byte places as character places. A token that holds a part of a character stands for all of it."""
    data = np.frombuffer(text.encode(), dtype=np.uint8)
    character = np.cumsum((data & 0xC0) != 0x80) - 1
    found = np.empty_like(offsets)
    found[:, 0] = character[offsets[:, 0]]
    found[:, 1] = character[offsets[:, 1] - 1] + 1
    return found


def fast_bpe(backend: Any) -> FastBpe | None:
    """Return tiktoken with the vocabulary of a `tokenizers.Tokenizer`; None where it might give other ids."""
    if find_spec("tiktoken") is None:
        return None
    collecting = gc.isenabled()
    # A vocabulary is half a million small objects, none of them garbage: looking costs a third of the time.
    gc.disable()
    try:
        return _made(backend)
    finally:
        if collecting:
            gc.enable()


def _made(backend: Any) -> FastBpe | None:
    description = orjson.loads(backend.to_str())
    pattern = _pattern(description["pre_tokenizer"])
    added = {entry["content"]: entry["id"] for entry in description["added_tokens"]}
    if pattern is None or not _plain_model(description) or not _plain_added(description["added_tokens"]):
        return None
    ranks = _ranks(description["model"], added)
    if ranks is None or _trims(description["post_processor"]):
        return None
    import tiktoken

    try:
        encoding = tiktoken.Encoding("own", pat_str=pattern, mergeable_ranks=ranks, special_tokens=added)
    except ValueError:  # a pattern only the other engine can read
        return None
    lengths = np.zeros(max([*ranks.values(), *added.values()]) + 1, dtype=np.int64)
    for token, number in ranks.items():
        lengths[number] = len(token)
    for text, number in added.items():
        lengths[number] = len(text.encode())
    composed = description["normalizer"] is not None
    return FastBpe(encoding, lengths, backend, composed=composed)


def _pattern(pre: dict[str, Any] | None) -> str | None:
    """Return the one pattern by which a byte-level pre-tokenizer cuts."""
    steps = pre["pretokenizers"] if pre and pre["type"] == "Sequence" else [pre or {"type": ""}]
    *cuts, last = steps or [{"type": ""}]
    if last["type"] != "ByteLevel" or last.get("add_prefix_space") or len(cuts) > 1:
        return None
    if not cuts:
        return GPT2 if last.get("use_regex", True) else None
    cut = cuts[0]
    isolated = cut["type"] == "Split" and cut["behavior"] == "Isolated" and not cut["invert"]
    if not isolated or last.get("use_regex", True):
        return None
    pattern: str | None = cut["pattern"].get("Regex")
    return pattern


def _plain_model(description: dict[str, Any]) -> bool:
    model, normalizer = description["model"], description["normalizer"]
    unusual = ("dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback")
    return (
        model["type"] == "BPE"
        and not any(model.get(key) for key in unusual)
        and (normalizer is None or normalizer["type"] == "NFC")
    )


def _plain_added(added: list[dict[str, Any]]) -> bool:
    """Say whether added tokens are found as they stand, all in one go, and none is the beginning of another."""
    names = sorted(entry["content"] for entry in added)
    unusual = any(entry["lstrip"] or entry["rstrip"] or entry["single_word"] or not entry["content"] for entry in added)
    one_go = len({entry["normalized"] for entry in added}) < 2  # those that are normalized are looked for later
    return one_go and not unusual and not any(second.startswith(first) for first, second in pairwise(names))


def _trims(post: dict[str, Any] | None) -> bool:
    """Say whether spaces are left out of the places of tokens afterwards."""
    steps = (post or {}).get("processors", [post or {}])
    return any(step.get("trim_offsets") for step in steps)


def _ranks(model: dict[str, Any], added: dict[str, int]) -> dict[bytes, int] | None:
    """Return bytes to id, where ids rise in the order of the merges, one or all ways for each token.

    tiktoken merges any two pieces that make a token, the lowest first. Trained vocabularies name the one way that was
    met; those converted from tiktoken (Llama 3) name all.
    """
    vocabulary = model["vocab"]
    letters = _letters()
    try:
        ranks = {
            bytes(letters[letter] for letter in token): number
            for token, number in vocabulary.items()
            if token not in added
        }
    except KeyError:
        return None
    pairs = [merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"]]
    order = [vocabulary.get(first + second, -1) for first, second in pairs]
    rising = all(earlier <= later for earlier, later in pairwise([0, *order]))
    whole = all(bytes([byte]) in ranks for byte in range(256)) and len(ranks) == 256 + len({*order})
    return ranks if rising and whole else None


def _letters() -> dict[str, int]:
    """Return which byte each letter of a byte-level vocabulary stands for (GPT-2's table).

    Printable bytes stand for themselves; the others follow in order from U+0100.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(others)}
