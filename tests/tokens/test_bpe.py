"""The faster encoder gives the ids and places of the slower one, or declines."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import vocabularies
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from luthier.model.load import load_tokenizer
from luthier.tokens.bpe import LONGEST, FastBpe, fast_bpe

pytest.importorskip("tiktoken")

SHARED = Path(__file__).parents[3] / "shared"
REAL = [SHARED / "models" / "tokenizers" / name for name in ("qwen2", "pythia")]
TEXTS = [
    *(SHARED / "data" / "oasst").glob("*.jsonl"),
    *(SHARED / "data" / "mgsm").glob("*.tsv"),
    SHARED / "data" / "tinyshakespeare" / "input.txt",
    SHARED / "data" / "gsm8k" / "test.jsonl",
    Path(__file__),
]


@pytest.fixture(scope="module")
def backend(tiny_llama: Path) -> Any:
    return load_tokenizer(tiny_llama).backend_tokenizer


@pytest.fixture(scope="module")
def fast(backend: Any) -> FastBpe:
    made = fast_bpe(backend)
    assert made is not None
    return made


def same(fast: FastBpe, backend: Any, text: str) -> bool:
    """Say whether the fast way took the text; where it did, it must agree."""
    found = fast.encode(text)
    if found is None:
        return False
    encoding = backend.encode(text, add_special_tokens=False)
    ids, offsets = found
    assert ids.tolist() == encoding.ids
    assert offsets.tolist() == [list(pair) for pair in encoding.offsets]
    assert ids.dtype == np.int32
    assert offsets.shape == (len(ids), 2)
    return True


unicode = st.text(st.characters(exclude_categories=["Cs"]))
pieces = st.sampled_from(
    [
        *vocabularies.SPECIAL[:3],
        "<|im_",
        "|>",
        "'s",
        "'S",
        "'ſ",
        "'ll",
        " ",
        "  ",
        "\n",
        "\r\n",
        "\t",
        "\u00a0",
        "\u2028",
        "12",
        "½",
        "٣",
        "é",
        "e\u0301",
        "\u0344",
        "ﬁ",
        "각",
        "\u1100\u1161",
        "🎻",
        "👩‍👩‍👧",
        "🇩🇪",
        "👍🏽",
        "ß",
        "İ",
        "ǅ",
        "字",
        "\ufeff",
        "\u200b",
        "\ufffd",
        "\x00",
        "\x85",
        "\U000e0041",
        "\U0001fae9",
        "\U00016d67",
        "\U000113c2",
        "\U000113c9",
    ]
)
mixed = st.lists(st.one_of(pieces, st.text("ab .,'\n", max_size=5), unicode), max_size=8).map("".join)


@given(unicode)
@settings(deadline=None, max_examples=300)
def test_ids_and_places_of_any_text_are_those_of_tokenizers(fast: FastBpe, backend: Any, text: str) -> None:
    same(fast, backend, text)


@given(mixed)
@settings(deadline=None, max_examples=500)
def test_ids_and_places_of_difficult_text_are_those_of_tokenizers(fast: FastBpe, backend: Any, text: str) -> None:
    same(fast, backend, text)


@pytest.mark.parametrize(
    "text", ["", "a", "Why?\n", "é", "🎻 strings", "<|im_start|>user\nx<|im_end|>", "don't  DON'T"]
)
def test_ordinary_text_goes_the_fast_way(fast: FastBpe, backend: Any, text: str) -> None:
    assert same(fast, backend, text)


@pytest.mark.parametrize("text", ["e\u0301", "x" * (LONGEST + 1), "\ud800", "\u0378", "a\u0345\u0301"])
def test_text_that_is_not_composed_or_endless_or_no_text_is_left_alone(fast: FastBpe, text: str) -> None:
    assert fast.encode(text) is None


def test_every_character_alone_gives_the_same_or_is_left_alone(fast: FastBpe, backend: Any) -> None:
    letters = [chr(code) for code in range(0x3100) if not 0xD800 <= code < 0xE000]
    letters += [chr(code) for code in range(0x3100, 0x32000, 17) if not 0xD800 <= code < 0xE000]
    taken = sum(same(fast, backend, f"a{letter} {letter}b") for letter in letters)
    assert taken > len(letters) * 0.6


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_real_texts_have_the_same_ids(fast: FastBpe, backend: Any, path: Path) -> None:
    if not path.is_file():
        pytest.skip("no such text here")
    for text in paragraphs(path)[:200]:
        same(fast, backend, text)


def paragraphs(path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8", errors="ignore")
    found: list[str] = []
    for line in text.splitlines(keepends=True) if path.suffix == ".jsonl" else text.split("\n\n"):
        try:
            row = json.loads(line) if path.suffix == ".jsonl" else line
        except ValueError:
            row = line
        found += [str(value) for value in row.values()] if isinstance(row, dict) else [str(row)]
    return [text[:LONGEST] for text in found]


@pytest.mark.slow
@pytest.mark.parametrize("folder", REAL, ids=lambda folder: folder.name)
def test_published_tokenizers_have_the_same_ids_or_are_declined(folder: Path) -> None:
    if not folder.is_dir():
        pytest.skip("no such tokenizer here")
    from transformers import AutoTokenizer

    if (folder / "tokenizer_config.json").is_file():
        backend = AutoTokenizer.from_pretrained(str(folder)).backend_tokenizer
    else:
        backend = Tokenizer.from_file(str(folder / "tokenizer.json"))
    fast = fast_bpe(backend)
    if folder.name == "pythia":
        assert fast is None  # its added tokens are runs of spaces, each the beginning of another
        return
    assert fast is not None
    texts = [text for path in TEXTS if path.is_file() for text in paragraphs(path)[:300]]
    taken = sum(same(fast, backend, text) for text in texts)
    assert taken > 0.9 * len(texts)

    @given(mixed)
    @settings(deadline=None, max_examples=500)
    def any_text(text: str) -> None:
        same(fast, backend, text)

    any_text()


# What it declines ----------------------------------------------------------------------------------------


def changed(backend: Any, change: Callable[[dict[str, Any]], object]) -> FastBpe | None:
    description = json.loads(backend.to_str())
    change(description)
    return fast_bpe(Tokenizer.from_str(json.dumps(description)))


def added(**more: Any) -> Callable[[dict[str, Any]], object]:
    token = {
        "id": 400,
        "content": "<x>",
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": False,
        "special": True,
    }
    return lambda told: told["added_tokens"].append({**token, **more})


BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": True}
DECLINED: dict[str, Callable[[dict[str, Any]], object]] = {
    "an added token that takes spaces on its left": added(lstrip=True),
    "an added token that takes spaces on its right": added(rstrip=True),
    "an added token that is a word": added(single_word=True),
    "an added token that begins another": added(content="<|im_"),
    "an added token found after others": added(normalized=True),
    "a prefix space": lambda told: told["pre_tokenizer"]["pretokenizers"][1].update(add_prefix_space=True),
    "two patterns": lambda told: told["pre_tokenizer"]["pretokenizers"].insert(
        0, {"type": "Digits", "individual_digits": True}
    ),
    "two patterns, one of bytes": lambda told: told["pre_tokenizer"]["pretokenizers"][1].update(use_regex=True),
    "a pattern that removes": lambda told: told["pre_tokenizer"]["pretokenizers"][0].update(behavior="Removed"),
    "a pattern turned around": lambda told: told["pre_tokenizer"]["pretokenizers"][0].update(invert=True),
    "a string as pattern": lambda told: told["pre_tokenizer"]["pretokenizers"][0].update(pattern={"String": " "}),
    "no pattern": lambda told: told.update(pre_tokenizer={**BYTES, "use_regex": False}),
    "no steps": lambda told: told.update(pre_tokenizer={"type": "Sequence", "pretokenizers": []}),
    "no pre-tokenizer": lambda told: told.update(pre_tokenizer=None),
    "another form of letters": lambda told: told.update(normalizer={"type": "NFKC"}),
    "small letters": lambda told: told.update(normalizer={"type": "Lowercase"}),
    "places without spaces": lambda told: told.update(post_processor={**BYTES, "trim_offsets": True}),
    "dropout": lambda told: told["model"].update(dropout=0.1),
    "merges in another order": lambda told: told["model"]["merges"].reverse(),
    "a token that no merge makes": lambda told: told["model"]["vocab"].update(violins=321),
    "a merge that is missing": lambda told: told["model"]["merges"].pop(),
    "a token that is no bytes": lambda told: told["model"]["vocab"].update({"字": 321}),
}


@pytest.mark.parametrize("change", DECLINED.values(), ids=DECLINED.keys())
def test_what_tiktoken_can_not_do_is_declined(backend: Any, change: Callable[[dict[str, Any]], object]) -> None:
    assert changed(backend, change) is None


@pytest.mark.parametrize("kind", ["llama2", "mistral"])
def test_sentencepiece_is_declined(kind: str) -> None:
    assert fast_bpe(vocabularies.tokenizer_of(kind, "<s>", "</s>").backend_tokenizer) is None


def test_other_kinds_of_model_are_declined() -> None:
    from tokenizers import models

    assert fast_bpe(Tokenizer(models.WordPiece({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))) is None
    assert fast_bpe(Tokenizer(models.Unigram([("a", 0.0), ("b", -1.0)]))) is None
    assert fast_bpe(Tokenizer(models.WordLevel({"a": 0}, unk_token="a"))) is None


def test_a_vocabulary_without_all_bytes_is_declined(backend: Any) -> None:
    def change(told: dict[str, Any]) -> None:
        vocabulary = told["model"]["vocab"]
        vocabulary["violins"] = vocabulary.pop("ÿ")

    assert changed(backend, change) is None


@given(mixed)
@settings(deadline=None, max_examples=100)
def test_the_pattern_of_gpt2_is_the_one_of_a_bare_byte_level_step(backend: Any, text: str) -> None:
    description = json.loads(backend.to_str())
    description.update(pre_tokenizer=BYTES, normalizer=None)
    gpt2 = Tokenizer.from_str(json.dumps(description))
    fast = fast_bpe(gpt2)
    assert fast is not None
    same(fast, gpt2, text)


@given(mixed)
@settings(deadline=None, max_examples=100)
def test_a_vocabulary_without_added_tokens_gives_the_same(text: str) -> None:
    bare = vocabularies.bare("bytes")
    fast = fast_bpe(bare)
    assert fast is not None
    same(fast, bare, text)


def test_a_vocabulary_that_names_every_way_to_a_token_is_taken_as_llama_3_s(backend: Any) -> None:
    description = json.loads(backend.to_str())
    model = description["model"]
    vocabulary = model["vocab"]
    singles = {token for token in vocabulary if len(token) == 1}
    model["merges"] = [
        [token[:cut], token[cut:]]
        for token, _ in sorted(vocabulary.items(), key=lambda entry: entry[1])
        if token not in singles and token not in {entry["content"] for entry in description["added_tokens"]}
        for cut in range(1, len(token))
        if token[:cut] in vocabulary and token[cut:] in vocabulary
    ]
    model["ignore_merges"] = True
    every_way = Tokenizer.from_str(json.dumps(description))
    quick = fast_bpe(every_way)
    assert quick is not None
    text = "The violin buzzes because the wood has shrunk; fitting it takes an hour."
    found = quick.encode(text)
    assert found is not None
    assert found[0].tolist() == every_way.encode(text, add_special_tokens=False).ids
