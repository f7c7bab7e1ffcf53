"""What every cleaning step must do, whatever the text."""

import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luthier.core.example import Example, Message, Source
from luthier.data.clean import STEPS, Cleaner
from luthier.data.clean.step import Notes, turns
from luthier.data.clean.vocabulary import Vocabulary
from luthier.data.reasons import REASONS
from luthier.data.rows import Refusal
from luthier.recipe.data import Boilerplate, Clean, Fillers, Language, Length, Lengths, Transcript

pytest.importorskip("py3langid", reason="the extra `data` is not installed")

REWRITING = Clean(
    unicode="nfc",
    punctuation=True,
    transcript=Transcript(names=("Agent",)),
    fillers=Fillers(languages=("en", "de", "es", "fr", "it", "pt", "nl", "ja", "zh"), words=("basically",)),
    boilerplate=Boilerplate(lines=("Acme GmbH",)),
    special_tokens="remove",
    residue="remove",
    length=Lengths(
        prompt=Length(min_chars=2, max_words=90), answer=Length(max_chars=300), row=Length(min_words=2, max_tokens=80)
    ),
    language=Language(keep=("en",)),
    echo="drop",
    refusals="drop",
    repetition="drop",
    profanity="mask",
)
OTHERWISE = Clean(
    unicode="nfkc",
    transcript=Transcript(speakers="remove"),
    special_tokens="neutralise",
    residue="drop",
    roles="drop",
    language=Language(),
)
NOT_TWICE = ("mojibake", "html")
"""`&amp;lt;` is `&lt;` once unescaped, and that is what its author wrote."""
MODEL = Vocabulary(special=("<pad>", "[CLS]"))

PIECES = st.sampled_from(
    [
        *(
            "word",
            "Um",
            "uh,",
            ",",
            ", you know,",
            ".",
            "...",
            " ",
            "\n",
            "\n\n",
            "    ",
            "\t",
            "Hello",
            "don’t",
            "“so”",
            "—",
        ),
        *(
            "[00:01:23]",
            "Speaker 1:",
            "SPEAKER_02 >",
            ">> ",
            "Agent:",
            "[Music]",
            "♪",
            "1\n00:00:01,000 --> 00:00:02,000\n",
        ),
        *(
            "<|im_start|>",
            "<|im_end|>",
            "</s>",
            "<s>",
            "[INST]",
            "<s>x</s>",
            "<pad>",
            "[CLS]",
            "<",
            "|>",
            "<|",
            "<bos>",
        ),
        *(
            "### Response:",
            "Assistant:",
            "Human:",
            "{{user}}",
            "Below is an instruction that describes a task. Go.\n\n",
        ),
        *(
            "© 2024 Acme. All rights reserved.",
            "\n-- \nBo\n",
            "We use cookies.",
            "Acme GmbH",
            "```",
            "`um`",
            "~~~",
            "\ufdd0",
        ),
        *(
            "<p>",
            "<br>",
            "&amp;",
            "&lt;",
            "\u200b",
            "\u202e",
            "e\u0301",
            "ＡＢ！",
            "嗯，",
            "日本語",
            "\x00",
            "\ud800",
            "donâ€™t",
        ),
        *("x = 1", "def f():", "return x;", "http://a.example", "I'm sorry, but as an AI I cannot help with that."),
    ]
)
TEXTS = st.lists(PIECES, max_size=12).map("".join) | st.text(max_size=60)
TURNS = st.builds(Message, st.sampled_from(["system", "user", "assistant", "tool"]), TEXTS)


@st.composite
def examples(draw: st.DrawFn) -> list[Example]:
    """Rows as a reader gives them: conversations that end in an answer, pairs, judged answers, texts with a class."""
    rows = []
    for line in range(1, draw(st.integers(1, 3)) + 1):
        prompt, answer = tuple(draw(st.lists(TURNS, max_size=5))), Message("assistant", draw(TEXTS))
        row = Example((*prompt, answer), Source("x", line))
        kind = draw(st.sampled_from(["conversation", "pair", "judged", "class", "text"]))
        if kind == "pair":
            row = replace(row, rejected=(*prompt, Message("assistant", draw(TEXTS))))
        elif kind == "judged":
            row = replace(row, label=draw(st.booleans()))
        elif kind in ("class", "text"):
            role, label = ("user", "greeting") if kind == "class" else ("text", None)
            row = Example((Message(role, draw(TEXTS)),), Source("x", line), label=label)
        rows.append(row)
    return rows


@pytest.mark.parametrize("options", [Clean(), REWRITING, OTHERWISE], ids=["default", "rewriting", "otherwise"])
@given(rows=examples())
def test_a_step_answers_for_every_row_in_order_finds_nothing_twice_and_keeps_what_is_pinned(
    options: Clean, rows: list[Example]
) -> None:
    *others, last = rows[0].messages
    marked = replace(rows[0], messages=(*others, replace(last, extra={"learn": [[0, 1]]})))
    for name, make in STEPS.items():
        if (step := make(options, MODEL)) is None:
            continue
        results = step(rows, Notes())
        assert len(results) == len(rows), name
        for row, result in zip(rows, results, strict=True):
            if isinstance(result, Refusal):
                assert result.reason in REASONS, name
            else:
                assert (result.source, result.label) == (row.source, row.label), name
        assert results == [result for row in rows for result in step([row], Notes())], f"{name}: alone and in a batch"
        if name not in NOT_TWICE:
            once = [result for result in results if isinstance(result, Example)]
            assert step(once, Notes()) == once, name
        [pinned] = step([marked], Notes())
        assert isinstance(pinned, Refusal) or turns(pinned) == turns(marked), name


HOSTILE = [
    *(
        "<p",
        "&a",
        "<a ",
        "<!--",
        "\x1b[",
        "Ã",
        " ",
        "\n",
        "\t",
        "a",
        "-",
        ":",
        ",",
        "`",
        "`a`",
        "~",
        "{",
        "{{",
        "[",
        "(",
        "<",
    ),
    *(
        "um ",
        "um, ",
        ", um",
        ",   ",
        ", you know",
        "[00:",
        "[00:00:00]",
        "0:00 ",
        "1\n",
        "Speaker ",
        ">> ",
        "[ ",
        "\n-- \n",
    ),
    *(
        "<|a",
        "|>",
        "<s>",
        "</s>",
        "<s></s>",
        "\n</s> ",
        "<｜",
        "[INST] ",
        "### Response:",
        "Human:",
        "\nHuman: ",
        "Assistant: ",
    ),
    *(
        "©2024 ",
        "We use cookies ",
        "this email confidential ",
        "as an ",
        "I'm sorry, ",
        "sorry ",
        "嗯",
        "日",
        "ก",
        "e\u0301",
        "\u0f72\u0f71",
        "\ufdd0",
        "<b>x</b><!--",
    ),
    *(
        "if a ",
        "x = ",
        "def ",
        "abcdefgh",
        "all rights reserved ",
        "http://",
        "<a@",
        "!",
        "“",
        "—",
        "\u200b",
        "Ã©",
        "\r",
    ),
]


@pytest.mark.parametrize("options", [Clean(), REWRITING], ids=["default", "rewriting"])
def test_no_text_takes_the_steps_more_than_a_moment(options: Clean) -> None:
    cleaner = Cleaner(options, MODEL)
    for piece in HOSTILE:
        hostile = (piece * 100_000)[:100_000] + "x"
        row = Example((Message("user", "Q"), Message("assistant", hostile)), Source("x", 1))
        began = time.process_time()
        cleaner.clean([row])
        assert time.process_time() - began < 2, piece
