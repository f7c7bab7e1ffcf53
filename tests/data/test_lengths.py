from luthier.core.example import Example, Message, Source
from luthier.data.lengths import Lengths, measure


def example(prompt: str, answer: str) -> Example:
    return Example((Message("user", prompt), Message("assistant", answer)), Source("x", 1))


def test_the_callers_tokenizer_counts() -> None:
    examples = [example("a b", "x " * number) for number in range(1, 601)]
    lengths = Lengths(measure(examples, lambda texts: [len(text.split()) for text in texts]), estimate=False)
    assert lengths.summary()["prompt"] == {
        "min": 2, "max": 2, "mean": 2.0, "median": 2.0, "p95": 2, "estimate": False,
    }  # fmt: skip
    assert lengths.summary()["answer"]["p95"] == 570
    assert lengths.summary()["total"]["median"] == 302.5


def test_without_a_tokenizer_bytes_give_an_estimate_that_says_so() -> None:
    lengths = Lengths(measure([example("é" * 4, "abcde")], None), estimate=True)
    assert lengths.summary()["prompt"]["max"] == 2
    assert lengths.summary()["answer"]["max"] == 2
    assert lengths.summary()["total"]["estimate"] is True
