"""Rows that say the same in other words, by embeddings that these tests make: hashed groups of three letters."""

import json
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pytest
from data_files import Prepared, Write, prepare_sources
from hypothesis import given, settings
from hypothesis import strategies as st

from luthier.core.errors import Failed, RecipeError
from luthier.data.semantic import search as searching
from luthier.data.semantic.embeddings import Embeddings
from luthier.data.semantic.search import search

PARAPHRASES = [
    ("How do I reset my password?", "How can I reset my password please?"),
    ("My card was declined at the shop", "At the shop my card was declined"),
    ("What is the exchange rate for euros today?", "What's today's exchange rate for euros?"),
]
OTHERS = ["Where is the nearest branch?", "Close the account of my late father", "I lost my phone in Madrid"]


def letters(texts: list[str]) -> np.ndarray:
    """How often each group of three letters occurs in a text, groups hashed to 512 places."""
    found = np.zeros((len(texts), 512))
    for row, text in enumerate(texts):
        for word in text.lower().replace("?", "").split():
            for at in range(len(word)):
                found[row, crc32(f" {word} "[at : at + 3].encode()) % 512] += 1
    return found


def embed_zeros(texts: list[str]) -> np.ndarray:
    return np.zeros((len(texts), 3))


def embed_nan(texts: list[str]) -> list[list[float]]:
    return [[1.0, float("nan")] for _ in texts]


def embed_flat(texts: list[str]) -> list[float]:
    return [1.0 for _ in texts]


def embed_fewer(texts: list[str]) -> np.ndarray:
    return np.ones((len(texts) - 1, 3))


def embed_uneven(texts: list[str]) -> np.ndarray:
    return np.ones((len(texts), len(texts)))


def embed_words(texts: list[str]) -> list[str]:
    return texts


def embed_raises(texts: list[str]) -> None:
    message = "out of memory"
    raise ValueError(message)


def rows_of(prompts: list[str]) -> str:
    return "".join(json.dumps({"prompt": each, "answer": f"answer {n}"}) + "\n" for n, each in enumerate(prompts))


def prepared(folder: Path, path: Path, embed: str = "letters", **options: Any) -> Prepared:
    asked = {"embed": f"{__name__}:{embed}", "key": "prompt", "threshold": 0.7, **options}
    return prepare_sources(folder, path, clean={"semantic_duplicates": asked})


def test_paraphrases_that_share_few_pairs_of_words_are_dropped_with_their_match(write: Write, tmp_path: Path) -> None:
    prompts = [one for one, _ in PARAPHRASES] + OTHERS + [other for _, other in PARAPHRASES]
    path = write("rows.jsonl", rows_of(prompts))
    assert prepare_sources(tmp_path / "without", path).rows("dropped") == []
    found = prepared(tmp_path / "with", path)
    dropped = found.rows("dropped")
    assert [(row["line"], row["matched"]["line"]) for row in dropped] == [(7, 1), (8, 2), (9, 3)]
    assert {row["reason"] for row in dropped} == {"semantic_duplicate"}
    assert all(0.7 <= float(row["detail"].split()[0]) <= 1 for row in dropped)
    assert dropped[0]["detail"].endswith(f"similar to {path}:1")
    assert dropped[0]["row"]["messages"][0]["content"] == prompts[6]
    assert not [*(tmp_path / "with" / "data").glob(".*")]


def test_rows_that_are_told_stay_and_are_held_back_with_all_that_say_the_same(write: Write, tmp_path: Path) -> None:
    prompts = [text for pair in PARAPHRASES for text in pair] + [f"{n} {OTHERS[n % 3]} {n}{n}" for n in range(60)]
    found = prepared(tmp_path, write("rows.jsonl", rows_of(prompts)), action="tell", threshold=0.75)
    where = {row["source"]["line"] - 1: part for part in ("train", "valid") for row in found.rows(part)}
    assert len(where) == len(prompts)
    vectors = letters(prompts)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    pairs = np.argwhere(np.tril(vectors @ vectors.T, -1) >= 0.75)
    assert len(pairs) > 3
    assert all(where[one] == where[other] for one, other in pairs.tolist())


@pytest.mark.parametrize(
    ("embed", "said"),
    [
        ("embed_zeros", "returned nothing but zeros for 'How do I reset"),
        ("embed_nan", "returned numbers that are not finite for 'How do I reset"),
        ("embed_flat", "returned an array of shape (300,) for 256 texts"),
        ("embed_fewer", "returned an array of shape (255, 3) for 256 texts"),
        ("embed_uneven", "returned 44 numbers a text, and 256 before"),
        ("embed_words", "failed on 256 texts: ValueError: could not convert string"),
        ("embed_raises", "failed on 256 texts: ValueError: out of memory"),
    ],
)
def test_what_are_no_embeddings_ends_with_what_came_back(embed: str, said: str, write: Write, tmp_path: Path) -> None:
    path = write("rows.jsonl", rows_of([f"{PARAPHRASES[0][0]} {n * 7919}" for n in range(300)]))
    with pytest.raises(Failed) as error:
        prepared(tmp_path, path, embed)
    assert said.replace("(300,)", "(256,)") in error.value.problem
    assert error.value.place == "data.clean.semantic_duplicates.embed"


@pytest.mark.parametrize("named", ["test_semantic:nothing", "no_such_module_here:embed", "data:embed"])
def test_a_function_that_is_not_there_is_told_before_rows_are_read(named: str, write: Write, tmp_path: Path) -> None:
    path = write("rows.jsonl", rows_of(OTHERS))
    with pytest.raises(RecipeError, match="there is none"):
        prepare_sources(tmp_path, path, clean={"semantic_duplicates": {"embed": named}})
    assert not (tmp_path / "data").exists()


def embedded(folder: Path, vectors: np.ndarray) -> Embeddings:
    found = Embeddings(folder / "vectors", lambda texts: vectors[[int(text) for text in texts]], "vectors")
    found.add(map(str, range(len(vectors))), lambda done: None)
    return found


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 60), st.sampled_from([0.5, 0.9, 1.0]), st.sampled_from([4, 7, 64]))
def test_rows_kept_are_those_that_comparing_one_by_one_keeps(
    tmp_path_factory: pytest.TempPathFactory, seed: int, rows: int, threshold: float, block: int
) -> None:
    draw = np.random.default_rng(seed)
    centres = draw.normal(size=(8, 5))
    vectors = centres[draw.integers(8, size=rows)] + draw.normal(size=(rows, 5)) * draw.choice([0, 0.3], (rows, 1))
    labels = draw.integers(2, size=rows)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    similar = unit @ unit.T
    kept: list[int] = []
    for row in range(rows):
        if not any(similar[row, one] >= threshold - 1e-5 and labels[row] == labels[one] for one in kept):
            kept.append(row)
    embeddings = embedded(tmp_path_factory.mktemp("vectors"), vectors)
    before, searching.BLOCK = searching.BLOCK, block
    try:
        same = search(embeddings, labels, threshold, tell=lambda done: None)
    finally:
        searching.BLOCK = before
        embeddings.close()
    assert np.flatnonzero(same.matched < 0).tolist() == kept
    for row in np.flatnonzero(same.matched >= 0).tolist():
        assert same.matched[row] in kept
        assert same.alike[row] == pytest.approx(similar[row, same.matched[row]], abs=1e-5)
    for one, other in np.argwhere((similar >= threshold - 1e-5) & (labels[:, None] == labels)).tolist():
        assert same.cluster[one] == same.cluster[other]


@pytest.mark.parametrize("scale", [1e-300, 1e300])
def test_length_of_an_embedding_does_not_matter(scale: float, tmp_path: Path) -> None:
    embeddings = embedded(tmp_path, np.array([[3.0, 4.0], [3.0 * scale, 4.0 * scale], [4.0, -3.0]]))
    assert embeddings[0:3] == pytest.approx(np.array([[0.6, 0.8], [0.6, 0.8], [0.8, -0.6]]))
    assert search(embeddings, np.zeros(3, np.int64), 1.0, tell=lambda done: None).matched.tolist() == [-1, 0, -1]
    embeddings.close()
