import pickle
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luthier.core.example import Example, Message, Source
from luthier.data.leakage.evaluations import Evaluation
from luthier.data.leakage.items import Item
from luthier.data.leakage.look import Found, Leak, Leaks, leaks_of, looker
from luthier.data.leakage.words import CHUNK
from luthier.recipe.data import Decontaminate

RANDOM = random.Random(5)
VOCABULARY = [f"{a}{b}{c}" for a in "bdfgklmn" for b in "aeiou" for c in "lmnrst"]


def prose(words: int, rng: random.Random = RANDOM) -> str:
    return " ".join(rng.choice(VOCABULARY) for _ in range(words))


def made(*questions: str, answers: tuple[str, ...] = (), name: str = "test.jsonl", **about: object) -> Evaluation:
    items = [
        Item(Source(name, line), question, answers[line - 1] if answers else "", **about)
        for line, question in enumerate(questions, start=1)
    ]
    return Evaluation(name, items)


def row(*said: str, line: int = 1) -> Example:
    roles = ("user", "assistant") * len(said)
    return Example(
        tuple(Message(role, text) for role, text in zip(roles, said, strict=False)), Source("rows.jsonl", line)
    )


def look(leaks: Leaks, *rows: Example) -> list[Leak | None]:
    return leaks.look(rows)[0]


def against(*evaluations: Evaluation, **options: object) -> Leaks:
    return leaks_of(evaluations, Decontaminate(against=("-",), **options))


QUESTION = (
    "Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May. How many in all?"
)
PLANTED = {
    "verbatim": row(QUESTION, "72"),
    "in other case": row(QUESTION.upper(), "72"),
    "in other punctuation": row(QUESTION.replace(",", " -").replace(".", "!\n\n*"), "72"),
    "in full width": row("".join(chr(ord(c) + 0xFEE0) if c.isalnum() else c for c in QUESTION), "72"),
    "inside a longer text": row(f"{prose(300)}\n{QUESTION}\n{prose(300)}", "72"),
    "in the answer": row("Give me a maths problem", f"Here is one: {QUESTION}"),
    "over the border of turns": row(
        *QUESTION.split(" sold half ")[:1], f"sold half {QUESTION.split(' sold half ')[1]}"
    ),
    "in the worse ending": Example(
        (Message("user", "Ask"), Message("assistant", "No")),
        Source("rows.jsonl", 1),
        rejected=(Message("user", "Ask"), Message("assistant", QUESTION)),
    ),
    "in plain text": Example((Message("text", f"{prose(50)} {QUESTION.lower()}"),), Source("rows.jsonl", 1)),
    "in a text of several chunks": row(prose(CHUNK // 5) + " " + QUESTION + " " + prose(CHUNK // 5), "72"),
}


@pytest.mark.parametrize("how", PLANTED)
def test_a_planted_question_is_found(how: str) -> None:
    leaks = against(made(prose(40), QUESTION, prose(30)))
    [leak] = look(leaks, PLANTED[how])
    assert leak is not None
    assert (leak.item, leak.part, leak.coverage) == (Source("test.jsonl", 2), "question", 1.0)
    assert leak.span.startswith("natalia sold clips to 48 of")


def test_every_planted_item_is_found_and_nothing_else() -> None:
    rng = random.Random(7)
    questions = [prose(rng.randint(5, 90), rng) for _ in range(300)]
    clean = [row(prose(rng.randint(1, 200), rng), prose(rng.randint(1, 200), rng)) for _ in range(600)]
    planted = [row(f"{prose(9, rng)} {question} {prose(9, rng)}", prose(20, rng)) for question in questions]
    leaks, found = against(made(*questions)).look([*clean, *planted])
    assert leaks[:600] == [None] * 600
    assert [leak and leak.item.line for leak in leaks[600:]] == [*range(1, 301)]
    assert (found.rows, found.partly, len(found.items)) == ({0: 300}, {}, 300)


vocabulary = st.sampled_from(["a", "b", "c"])
a_text = st.lists(vocabulary, max_size=24).map(" ".join)


@given(
    questions=st.lists(a_text, min_size=1, max_size=2),
    rows=st.lists(a_text, min_size=1, max_size=5),
    ngram=st.integers(5, 8),
    coverage=st.sampled_from([0.3, 0.7, 1.0]),
)
def test_what_is_found_is_what_a_comparison_of_all_with_all_finds(
    questions: list[str], rows: list[str], ngram: int, coverage: float
) -> None:
    leaks = against(made(*questions), ngram=ngram, coverage=coverage)
    found = look(leaks, *(row(text) for text in rows))
    for text, leak in zip(rows, found, strict=True):
        shares = [_covered(question.split(), text.split(), ngram) for question in questions]
        best = max((share for share in shares if share >= coverage), default=None)
        assert (leak and leak.coverage) == best


def _covered(question: list[str], text: list[str], ngram: int) -> float:
    """Return the share of a question's words that lie in runs which the text has too; of short ones all or nothing."""
    if len(question) < 5:
        return 0
    length = min(ngram, len(question))
    runs = {tuple(text[at : at + length]) for at in range(len(text) - length + 1)}
    starts = [at for at in range(len(question) - length + 1) if tuple(question[at : at + length]) in runs]
    return len({place for at in starts for place in range(at, at + length)}) / len(question)


def test_half_a_question_is_a_leak_and_less_is_only_told() -> None:
    words = prose(40).split()
    leaks = against(made(" ".join(words)))
    rows = [row(" ".join(["x", *words[:size], "y"]), line=size) for size in (13, 19, 20, 39)]
    found, told = leaks.look(rows)
    assert [leak and (leak.covered, leak.of) for leak in found] == [None, None, (20, 40), (39, 40)]
    assert (told.rows, told.partly, told.items) == ({0: 2}, {0: 2}, {0: 2})
    assert found[2].refusal() == (
        "leaked",
        f"holds 20 of 40 words of the question at test.jsonl:1: {' '.join(words[:20])}"[:225],
        Source("test.jsonl", 1),
    )


def test_questions_of_five_words_and_more_are_found_as_a_whole_and_shorter_ones_listed() -> None:
    leaks = against(made("What is the capital of France?", "Who is he?", "Is it so, then, here"))
    rows = [
        row("tell me: what is the capital of france", "Paris"),
        row("What is the capital of Spain?", "Madrid"),
        row("Who is he?", "Him"),
        row("Is it so then here", "Yes"),
    ]
    found = look(leaks, *rows)
    assert [leak and leak.item.line for leak in found] == [1, None, None, 3]
    assert leaks.unchecked == {1}


def test_what_stands_below_a_short_question_is_part_of_it() -> None:
    [item] = made("Which one?").items
    leaks = against(Evaluation("test.jsonl", [item._replace(below="a red apple\na green pear")]))
    assert look(leaks, row("Which one? A. a red apple"), row("Which one? a red apple, a green pear"))[0] is None
    assert look(leaks, row("Which one? a red apple, a green pear"))[0] is not None


def test_a_question_that_many_items_ask_is_told_apart_by_its_choices() -> None:
    question = "Which of the following statements is true?"
    items = [Item(Source("t", n), question, below=f"{prose(9)}\n{prose(9)}") for n in range(1, 6)]
    leaks = against(Evaluation("t", items))
    assert look(leaks, row(question, "None")) == [None]
    [leak] = look(leaks, row(f"{question}\n{items[3].below}"))
    assert leak is not None
    assert leak.item == Source("t", 4)


def test_a_long_question_with_several_answers_is_looked_for_without_them() -> None:
    items = [Item(Source("t", n), QUESTION, below=prose(9)) for n in range(1, 6)]
    assert look(against(Evaluation("t", items)), row(QUESTION))[0] is not None


def test_items_that_only_signs_tell_apart_are_listed() -> None:
    items = [Item(Source("t", n), f"Close the brackets in this: {'[' * n}", below="]" * n) for n in range(1, 30)]
    leaks = against(Evaluation("t", items))
    assert leaks.unchecked == {*range(29)}
    assert look(leaks, row("Close the brackets in this: (")) == [None]


def test_a_preamble_that_many_items_share_is_no_leak_and_each_item_still_is() -> None:
    rng = random.Random(3)
    preamble = prose(40, rng)
    questions = [f"{preamble} {prose(12, rng)}" for _ in range(40)]
    leaks = against(made(*questions))
    assert look(leaks, row(preamble), row(f"{preamble} {prose(12, rng)}")) == [None, None]
    assert [leak and leak.item.line for leak in look(leaks, *(row(f"x {q} y") for q in questions))] == [*range(1, 41)]


def test_in_a_small_file_what_most_items_share_is_no_leak_either() -> None:
    rng = random.Random(4)
    preamble = prose(27, rng)
    questions = [f"{preamble} {prose(20, rng)}" for _ in range(6)]
    leaks = against(made(*questions))
    assert look(leaks, row(f"{preamble} {prose(20, rng)}")) == [None]
    assert None not in look(leaks, *(row(question) for question in questions))


def test_of_an_endless_item_the_beginning_is_looked_for() -> None:
    leaks = against(made("word " * 2_000_000, QUESTION))
    assert int(leaks.index.length.max()) < 300_000
    assert look(leaks, row(QUESTION))[0] is not None


def test_what_few_items_share_still_counts() -> None:
    start = prose(30)
    leaks = against(made(*(f"{start} {prose(3)}" for _ in range(8)), *(prose(20) for _ in range(9))))
    assert look(leaks, row(start))[0] is not None


def test_a_long_answer_leaks_as_a_question_does_and_a_short_one_does_not() -> None:
    long, short = prose(13), prose(12)
    leaks = against(made(prose(20), prose(20), answers=(long, short)))
    found = look(leaks, row("x", long), row("x", short))
    assert [leak and (leak.part, leak.item.line) for leak in found] == [("answer", 1), None]


def test_of_code_more_must_be_the_same() -> None:
    code = prose(50)
    most, half = (row(" ".join(code.split()[:size])) for size in (41, 26))
    prompt = frozenset({"question"})
    assert [bool(leak) for leak in look(against(made(code, code=prompt)), most, half)] == [True, False]
    assert [bool(leak) for leak in look(against(made(code)), most, half)] == [True, True]
    lax = against(made(code, code=prompt), code_coverage=0.5)
    assert [bool(leak) for leak in look(lax, most, half)] == [True, True]


def test_scripts_without_spaces_are_compared_by_character() -> None:
    long = "珍妮特的鸭子每天下 16 颗蛋。她每天早上早餐时吃 3 颗，每天用 4 颗为自己的朋友做松饼。"
    leaks = against(made(long, "什么是区块链技术的原理", "什么是区块链"))
    rows = [
        row(f"请回答：{long}谢谢", "9"),
        row(long.replace("，", " ").replace("。", "")),
        row("请问什么是区块链技术的原理？"),
        row("什么是区块链？"),
        row("珍妮特的猫每天都在睡觉，她早上吃面包。"),
    ]
    assert [leak and leak.item.line for leak in look(leaks, *rows)] == [1, 1, 2, None, None]
    assert leaks.unchecked == {2}


def test_the_same_item_in_two_files_is_counted_in_both() -> None:
    leaks = against(made(QUESTION, name="a"), made(prose(20), QUESTION, name="b"))
    [leak], found = leaks.look([row(QUESTION)])
    assert leak is not None
    assert leak.item == Source("a", 1)
    assert (found.rows, found.items) == ({0: 1, 1: 1}, {0: 1, 2: 1})
    assert {file: [sample.item for sample in samples] for file, samples in found.samples.items()} == {
        0: [Source("a", 1)],
        1: [Source("b", 2)],
    }


def test_the_item_that_is_held_most_is_named() -> None:
    some, all_of_it = prose(20), prose(20)
    leaks = against(made(some, all_of_it))
    [leak] = look(leaks, row(f"{' '.join(some.split()[:15])} x {all_of_it}"))
    assert leak is not None
    assert leak.item.line == 2


@given(
    st.lists(st.sampled_from([QUESTION, "x", "what is the capital of france", QUESTION[:70]]), max_size=30),
    st.integers(1, 9),
)
def test_batches_make_no_difference(said: list[str], size: int) -> None:
    leaks = against(made(QUESTION, "What is the capital of France?"), coverage=0.9)
    rows = [row(text, line=line) for line, text in enumerate(said, start=1)]
    whole, of_all = leaks.look(rows)
    parts, added = [], Found()
    for first in range(0, len(rows), size):
        part, found = leaks.look(rows[first : first + size])
        parts += part
        added.add(found)
    assert parts == whole
    assert added == of_all


def test_another_process_gets_the_same_answers() -> None:
    leaks = against(made(QUESTION, "What is the capital of France?"))
    rows = [*PLANTED.values(), row("what is the capital of france")]
    assert pickle.loads(pickle.dumps(leaks)).look(rows) == leaks.look(rows)


def test_where_no_item_can_be_looked_for_nothing_is_found() -> None:
    leaks = against(made("Why?", "", "42"))
    assert leaks.unchecked == {0, 1, 2}
    assert look(leaks, row("Why? 42")) == [None]


def test_hostile_texts_take_no_longer() -> None:
    leaks = against(made(QUESTION, *(prose(30) for _ in range(5))))
    hostile = [
        "a" * 3_000_000,
        "a " * 1_000_000,
        "\u0301" * 200_000,
        "\ufdfa" * 100_000,
        QUESTION[:80] * 3000,
        "\ud800 " * 9,
    ]
    assert len(look(leaks, *(row(text) for text in hostile))) == len(hostile)


def test_without_a_test_set_nothing_looks() -> None:
    assert looker(Decontaminate()) is None
