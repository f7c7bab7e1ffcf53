"""Rows a model is judged by are found in the rows it learned from, whatever is left of them."""

from luthier.core.example import Example, Message, Source
from luthier.data.leakage.seen import seen

LONG = (
    "A cooper makes barrels of staves that are bent over a small fire, bound with iron hoops and planed inside by hand "
    "before two round heads of oak close them at both ends"
)


def row(line: int, prompt: str, answer: str, file: str = "learned.jsonl") -> Example:
    return Example((Message("user", prompt), Message("assistant", answer)), Source(file, line))


LEARNED = [
    row(1, "Where is the key?", "Under the mat."),
    row(2, "Who made this barrel?", "The cooper."),
    row(3, LONG + ".", "So it is."),
    row(4, f"First of all: {' '.join(LONG.split()[:14])} and nothing else at all.", "Perhaps."),
    *(row(line, f"Something else, number {line}, of no concern to anybody here.", f"{line}") for line in range(5, 60)),
]


def test_each_row_is_told_by_the_most_that_is_left_of_it() -> None:
    judged = [
        row(1, "  where is the KEY?", "Under the mat.", "judged.jsonl"),
        row(2, "Who made this barrel?", "Nobody knows.", "judged.jsonl"),
        row(3, f"Tell me whether this is so. {LONG}", "It is.", "judged.jsonl"),
        row(4, f"{' '.join(LONG.split()[:14])} {' '.join(f'word{n}' for n in range(40))}", "No.", "judged.jsonl"),
        row(5, "What does a lutenist play when all the strings of the lute are broken?", "Nothing.", "judged.jsonl"),
    ]
    assert seen(judged, learned=iter(LEARNED)) == ["row", "prompt", "near", "words", ""]


def test_plain_texts_are_found_too() -> None:
    text = Example((Message("text", LONG),), Source("judged.txt", 1))
    learned = Example((Message("text", f"Of trades. {LONG}. Of tools."),), Source("learned.txt", 1))
    assert seen([text], learned=[learned]) == ["near"]
    assert seen([text], learned=[]) == [""]
    assert seen([], learned=[learned]) == []


def test_an_answer_that_many_rows_share_is_no_row_that_was_learned() -> None:
    assert seen([row(1, "And how are barrels made?", f"{LONG}.")], learned=[row(2, "What is made here?", LONG)]) == [""]
