from luthier.core.example import Example, Message, Source
from luthier.data.lengths import Lengths


def example(prompt: str, answer: str) -> Example:
    return Example((Message("user", prompt), Message("assistant", answer)), Source("x", 1))


def test_the_callers_tokenizer_counts() -> None:
    lengths = Lengths(lambda texts: [len(text.split()) for text in texts])
    for number in range(1, 601):
        lengths.add(example("a b", "x " * number))
    lengths.flush()
    assert lengths.summary()["prompt"] == {
        "min": 2, "max": 2, "mean": 2.0, "median": 2.0, "p95": 2, "estimate": False,
    }  # fmt: skip
    assert lengths.summary()["answer"]["p95"] == 570
    assert lengths.summary()["total"]["median"] == 302.5


def test_without_a_tokenizer_bytes_give_an_estimate_that_says_so() -> None:
    lengths = Lengths(None)
    lengths.add(example("é" * 4, "abcde"))
    lengths.flush()
    assert lengths.summary()["prompt"]["max"] == 2
    assert lengths.summary()["answer"]["max"] == 2
    assert lengths.summary()["total"]["estimate"] is True
