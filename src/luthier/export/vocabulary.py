"""A Hugging Face tokenizer as llama.cpp keeps it: pieces, types, merges or scores, special tokens.

Two families are covered: byte-level BPE (llama.cpp's model "gpt2") and SentencePiece-style BPE with byte
fallback (model "llama"). Everything is read from `tokenizer.json`, because that is what training used.
llama.cpp splits text with regular expressions it knows by name; we choose the name by the regex and refuse
one we don't know, since a wrong split gives other token ids without any error.
"""

from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from luthier.core.errors import ModelError
from luthier.core.example import Message
from luthier.core.text import one_line
from luthier.export.safetensors_file import read_json
from luthier.model.load import stop_ids
from luthier.tokens.render import Renderer

CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + TAIL
QWEN2 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + TAIL
TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

PRE_TOKENIZERS = {
    (("regex", GPT2),): ("gpt-2", None),
    (("digits", ""), ("regex", GPT2)): ("smollm", None),
    (("regex", LLAMA3),): ("smaug-bpe", "llama-bpe"),
    (("regex", QWEN2),): ("qwen2", None),
    (("regex", TEKKEN),): (None, "tekken"),
}
"""How text is cut before merging -> llama.cpp's name for it, without and with `ignore_merges`.

`ignore_merges` takes a word that is in the vocabulary whole instead of merging up to it. llama.cpp switches
it by the name; `smaug-bpe` is its name for the Llama 3 regex with it off.
"""

SPACE = "▁"


class TokenType(IntEnum):
    """llama.cpp's kinds of token (enum llama_token_type)."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What goes under `tokenizer.ggml.*`. Lists are in order of token id and as long as the embedding."""

    model: str
    pre: str
    tokens: list[str]
    types: list[int]
    scores: list[float] | None
    merges: list[str] | None
    add_space_prefix: bool
    add_bos: bool
    add_eos: bool
    special: dict[str, int]
    """`bos`, `eos`, `pad`, `unk` -> id, those that the tokenizer has."""
    template: str | list[dict[str, str]] | None
    """The chat template; of several, each as `{"name", "template"}`, one of them `default`."""


def load_tokenizer(folder: Path) -> Any:
    """Return the tokenizer of a model folder, as transformers loads it.

    Raises:
        ModelError: It can't be loaded.
    """
    try:
        return AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    except Exception as error:  # the `tokenizers` package raises nothing more specific for a damaged file
        raise ModelError(
            f"can't load the tokenizer: {one_line(str(error), 160)}",
            hint="the folder needs `tokenizer.json` and `tokenizer_config.json`",
            place=str(folder),
        ) from error


def unsupported(folder: Path, what: str) -> ModelError:
    """Return the error for a tokenizer that llama.cpp would read differently."""
    return ModelError(
        f"can't write this tokenizer to GGUF: {what}",
        hint="serve the merged model with vLLM or transformers instead, which use `tokenizer.json` as it is",
        place=str(folder),
    )


def parts_of(section: Any, inner: str) -> list[dict[str, Any]]:
    """Return the steps of a normalizer or pre-tokenizer: a `Sequence` flattened, None as nothing."""
    if not section:
        return []
    if section.get("type") == "Sequence":
        return [part for step in section[inner] for part in parts_of(step, inner)]
    return [section]


def cutting(folder: Path, steps: list[dict[str, Any]]) -> tuple[tuple[str, str], ...]:
    """Return how a byte-level tokenizer cuts text, in the form of the keys of `PRE_TOKENIZERS`.

    Raises:
        ModelError: A step has no counterpart in llama.cpp.
    """
    found: list[tuple[str, str]] = []
    for step in steps:
        kind = step.get("type")
        if kind == "Split" and step.get("behavior") == "Isolated" and not step.get("invert"):
            found.append(("regex", step.get("pattern", {}).get("Regex", "")))
        elif kind == "Digits" and step.get("individual_digits"):
            found.append(("digits", ""))
        elif kind == "ByteLevel" and not step.get("add_prefix_space"):
            found += [("regex", GPT2)] if step.get("use_regex", True) else []
        else:
            raise unsupported(folder, f"the pre-tokenizer step {one_line(str(step), 120)} has no counterpart")
    return tuple(found)


def pre_name(folder: Path, data: dict[str, Any]) -> str:
    """Return llama.cpp's name of the pre-tokenizer of a byte-level tokenizer.

    Raises:
        ModelError: Its regex is not one that llama.cpp knows.
    """
    steps = cutting(folder, parts_of(data.get("pre_tokenizer"), "pretokenizers"))
    names = PRE_TOKENIZERS.get(steps)
    whole = bool(data["model"].get("ignore_merges"))
    name = names[whole] if names else None
    if names and name is None and merges_reach_all(data):
        name = names[not whole]
    if name is None:
        known = ", ".join(sorted({n for pair in PRE_TOKENIZERS.values() for n in pair if n}))
        raise unsupported(folder, f"its pre-tokenizer {one_line(str(steps), 160)} is none of: {known}")
    return name


def merges_reach_all(data: dict[str, Any]) -> bool:
    """Say whether merges lead to every piece, as after training: then `ignore_merges` changes nothing."""
    reachable = {"".join(pair) for pair in merge_pairs(data)}
    reachable.update(added["content"] for added in data.get("added_tokens") or [])
    return all(len(piece) == 1 or piece in reachable for piece in data["model"]["vocab"])


def merge_pairs(data: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the merges as pairs, best first. `tokenizer.json` has them as lists, older ones as "a b"."""
    pairs = []
    for merge in data["model"]["merges"]:
        first, second = merge.split(" ", 1) if isinstance(merge, str) else merge
        pairs.append((first, second))
    return pairs


def check_normalizer(folder: Path, steps: list[dict[str, Any]]) -> None:
    """Refuse a normalizer that changes text in a way llama.cpp does not.

    NFC is let through: text typed or stored in the usual way is NFC already, and the certificate compares
    real rows.
    """
    for step in steps:
        if step.get("type") != "NFC":
            raise unsupported(folder, f"the normalizer {one_line(str(step), 120)} has no counterpart")


def space_prefix(folder: Path, data: dict[str, Any]) -> bool:
    """Return whether a SentencePiece-style tokenizer puts a space before a text.

    Raises:
        ModelError: It does something with spaces that llama.cpp does not.
    """
    normal = parts_of(data.get("normalizer"), "normalizers")
    pre = parts_of(data.get("pre_tokenizer"), "pretokenizers")
    replace = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
    if not pre and normal == [{"type": "Prepend", "prepend": SPACE}, replace]:
        return True
    if not pre and normal == [replace]:
        return False
    if not normal and len(pre) == 1 and pre[0].get("type") == "Metaspace" and not pre[0].get("split"):
        scheme = pre[0].get("prepend_scheme", "always")
        if pre[0].get("replacement") == SPACE and scheme in ("always", "never"):
            return bool(scheme == "always")
    what = one_line(str({"normalizer": normal, "pre_tokenizer": pre}), 160)
    raise unsupported(folder, f"its treatment of spaces has no counterpart: {what}")


def scores_of(data: dict[str, Any], tokens: list[str], types: list[int]) -> list[float]:
    """Return the scores by which llama.cpp's SentencePiece merging follows the order of the merges.

    It joins the neighbours whose union has the highest score, so a merge's rank, negated, is its result's
    score. Pieces that no merge makes come last; bytes are never joined.
    """
    ranks: dict[str, int] = {}
    for rank, pair in enumerate(merge_pairs(data)):
        ranks.setdefault("".join(pair), rank)
    last = len(ranks) + len(tokens)
    return [
        -float(ranks.get(token, last)) if kind == TokenType.NORMAL else 0.0
        for token, kind in zip(tokens, types, strict=True)
    ]


def pieces(folder: Path, data: dict[str, Any], size: int) -> tuple[list[str], list[int]]:
    """Return the pieces and their types in order of id, filled up to `size` with unused ones.

    Raises:
        ModelError: An id is beyond the embedding, or two pieces share one.
    """
    tokens: list[str | None] = [None] * size
    types = [int(TokenType.UNUSED)] * size
    sentencepiece = bool(data["model"].get("byte_fallback"))

    def put(token: str, index: int, kind: TokenType) -> None:
        if not 0 <= index < size:
            raise unsupported(folder, f"token {one_line(token, 40)!r} has id {index}, the embedding {size} rows")
        tokens[index], types[index] = token, int(kind)

    for token, index in data["model"]["vocab"].items():
        is_byte = sentencepiece and len(token) == 6 and token.startswith("<0x") and token.endswith(">")
        put(token, index, TokenType.BYTE if is_byte else TokenType.NORMAL)
    for added in data.get("added_tokens") or []:
        kind = TokenType.CONTROL if added.get("special") else TokenType.USER_DEFINED
        text = added["content"]
        if kind is TokenType.USER_DEFINED and sentencepiece:
            text = text.replace(SPACE, " ")
        put(text, added["id"], kind)
    unknown = data["model"].get("unk_token")
    if sentencepiece and unknown in data["model"]["vocab"]:
        types[data["model"]["vocab"][unknown]] = int(TokenType.UNKNOWN)
    filled = [f"[PAD{index}]" if token is None else token for index, token in enumerate(tokens)]
    if len(set(filled)) != size:
        raise unsupported(folder, "two ids have the same text")
    return filled, types


def around(folder: Path, tokenizer: Any) -> tuple[bool, bool]:
    """Return whether llama.cpp is to add bos and eos to a prompt, by trying what the tokenizer does.

    transformers adds them to a plain text and never to a rendered chat; llama.cpp knows one switch for both.
    A model with a chat template was trained on rendered chats, so there the switch follows the template: bos
    only if the template itself begins with it (llama.cpp then takes care not to double it).

    Raises:
        ModelError: It adds anything else.
    """
    bare = list(tokenizer.encode("a", add_special_tokens=False))
    full = list(tokenizer.encode("a", add_special_tokens=True))
    for add_bos in (False, True):
        for add_eos in (False, True):
            before = [tokenizer.bos_token_id] if add_bos else []
            after = [tokenizer.eos_token_id] if add_eos else []
            if full == [*before, *bare, *after]:
                if tokenizer.chat_template:
                    return add_bos and template_writes_bos(folder, tokenizer), False
                return add_bos, add_eos
    raise unsupported(folder, f"it encodes 'a' as {full}, which is not bos + text + eos")


def template_writes_bos(folder: Path, tokenizer: Any) -> bool:
    """Return whether a chat rendered by the template begins with the bos token.

    Raises:
        ModelError: The template can't render a plain question.
    """
    try:
        text = Renderer(tokenizer, stop_ids(folder), place=str(folder)).text([Message("user", "a")])
    except ModelError as error:
        raise unsupported(folder, f"its chat template fails: {one_line(error.problem, 120)}") from error
    return bool(tokenizer.bos_token and text.startswith(tokenizer.bos_token))


def read_vocabulary(folder: Path, size: int) -> Vocabulary:
    """Return the tokenizer of a model folder in llama.cpp's terms.

    Args:
        folder: A folder with `tokenizer.json`.
        size: Rows of the model's embedding.

    Raises:
        ModelError: llama.cpp would tokenize differently.
    """
    data = read_json(folder / "tokenizer.json", limit=1 << 30)
    model = data.get("model")
    if not isinstance(model, dict) or model.get("type") != "BPE":
        kind = model.get("type") if isinstance(model, dict) else model
        raise unsupported(folder, f"it is of the kind {one_line(str(kind), 40)}, only BPE is covered")
    tokenizer = load_tokenizer(folder)
    tokens, types = pieces(folder, data, size)
    names = ("bos", "eos", "pad", "unk")
    ids = {name: getattr(tokenizer, f"{name}_token_id") for name in names}
    add_bos, add_eos = around(folder, tokenizer)
    sentencepiece = bool(model.get("byte_fallback"))
    if not sentencepiece:
        check_normalizer(folder, parts_of(data.get("normalizer"), "normalizers"))
    return Vocabulary(
        model="llama" if sentencepiece else "gpt2",
        pre="default" if sentencepiece else pre_name(folder, data),
        tokens=tokens,
        types=types,
        scores=scores_of(data, tokens, types) if sentencepiece else None,
        merges=None if sentencepiece else [merge_text(pair) for pair in merge_pairs(data)],
        add_space_prefix=sentencepiece and space_prefix(folder, data),
        add_bos=add_bos,
        add_eos=add_eos,
        special={name: value for name, value in ids.items() if value is not None},
        template=templates(tokenizer.chat_template),
    )


def templates(own: str | dict[str, str] | None) -> str | list[dict[str, str]] | None:
    """Return chat templates as GGUF keeps them. Where none of several is the default, the first by name is."""
    if not isinstance(own, dict):
        return own
    first = own.get("default", own[min(own)])
    return [{"name": name, "template": text} for name, text in {**own, "default": first}.items()]


def merge_text(pair: tuple[str, str]) -> str:
    """Return a merge as GGUF has it: "a b". Byte-level pieces hold no space, so the text has exactly one."""
    return " ".join(part.replace(" ", "Ġ") for part in pair)
