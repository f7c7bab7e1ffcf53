import math
import unicodedata
from itertools import groupby

from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from luthier.core.markdown import (
    code_spans,
    command_and_why,
    numeric_columns,
    pieces,
    sparkline,
    spelled,
    to_markdown,
)
from luthier.core.report import (
    Bars,
    Change,
    Changes,
    Comparison,
    Curve,
    Finding,
    Histogram,
    Paragraph,
    Record,
    Records,
    Report,
    Section,
    Table,
    Token,
    TokenText,
)
from luthier.core.text import safe

PARSER = MarkdownIt("commonmark").enable("table")
"""An independent reader of Markdown."""

HARMLESS = {
    "text",
    "softbreak",
    "hardbreak",
    "strong_open",
    "strong_close",
    "code_inline",
    "em_open",
    "em_close",
}

hostile = st.text(alphabet=st.sampled_from("`*_[]()<>|~$&#:;!\\/@.-=+ \n\tab1é\x1b\u202e\ud800"), max_size=40)
texts = st.text(max_size=40) | hostile


def page(*blocks) -> Report:
    return Report("A report", "All is well.", {}, sections=(Section("Evidence", blocks),))


def shown(markdown: str) -> list:
    return [child for token in PARSER.parse(markdown) for child in token.children or ()]


@given(texts, texts)
def test_data_text_never_becomes_markup(prompt: str, answer: str) -> None:
    tokens = PARSER.parse(to_markdown(page(Comparison(prompt, (("base", answer),)))))
    blocks = {token.type.removesuffix("_open").removesuffix("_close") for token in tokens}
    assert blocks <= {"heading", "paragraph", "inline", "blockquote"}
    assert {child.type for token in tokens for child in token.children or ()} <= HARMLESS


@given(hostile.filter(str.strip))
def test_data_text_reads_as_it_is(answer: str) -> None:
    tokens = shown(to_markdown(page(Comparison("?", (("base", answer),)))))
    at = max(i for i, token in enumerate(tokens) if token.content == "base")
    # The parser, too, writes half characters as a replacement character.
    told = "".join(token.content for token in tokens[at:]).removeprefix("base").replace("\u2060", "")
    assert "".join(told.split()) == "".join(safe(answer).split())


@given(st.lists(st.tuples(texts, texts, texts), max_size=4))
def test_tables_keep_their_columns(rows: list[tuple[str, str, str]]) -> None:
    tokens = PARSER.parse(to_markdown(page(Table("", ("what", "`n`", "a|b"), tuple(rows)))))
    kinds = [token.type for token in tokens]
    assert kinds.count("th_open") == 3
    assert kinds.count("td_open") == 3 * len(rows)
    assert {child.type for token in tokens for child in token.children or ()} <= HARMLESS


def test_short_rows_are_filled_up() -> None:
    assert "| a   | 1   |\n" in to_markdown(page(Table("", ("x", "y"), (("a", "1"), ("b", "c"))))).replace(
        "  1 ", "1   "
    )
    assert PARSER.render(to_markdown(page(Table("", ("x",), (("a", "b"), ("c",)))))).count("<td") == 4


def test_addresses_do_not_become_links() -> None:
    markdown = to_markdown(page(Comparison("see https://a.example, www.b.example or me@c.example", ())))
    assert "https://" not in markdown
    assert "www." not in markdown
    assert "me@c" not in markdown


def test_findings_tell_their_level_and_hint() -> None:
    report = Report("R", "S", {}, findings=(Finding("warning", "12 rows were cut", "raise `max_length`"),))
    assert "- **warning**: 12 rows were cut\\\n  Hint: raise `max_length`" in to_markdown(report)


def test_line_breaks_and_indentation_of_an_answer_stay() -> None:
    html = PARSER.render(to_markdown(page(Comparison("?", (("base", "def f():\n    return 1\n\nend"),)))))
    assert "<p>def f():<br />\n\u00a0\u00a0\u00a0\u00a0return 1</p>" in html


def test_next_steps_cannot_leave_their_block() -> None:
    html = PARSER.render(to_markdown(Report("R", "S", {}, next_steps=("echo '\n```\n<b>'  # why",))))
    assert "<b>" not in html


def test_a_curve_is_told_in_numbers() -> None:
    curve = Curve("Loss", "step", "nats", (("train", ((0, 3.0), (1, math.nan), (2, 1.0))), ("valid", ())))
    markdown = to_markdown(page(curve))
    assert "**Loss, over step**" in markdown
    assert "| train | █ ▁   |     3 |    1 |      1 |       3 |" in markdown


def test_numbers_stand_to_the_right_and_the_first_column_never() -> None:
    rows = (
        ("1", "1,204", "−3.1 %", "8.21 (8.02 to 8.40)", "one", "15.0 GB"),
        ("2", "—", "", "n/a", "1", "1 B"),
    )
    assert numeric_columns(rows) == [False, True, True, True, False, True]


@given(st.lists(st.floats()), st.integers(1, 40))
def test_a_sparkline_is_never_wider_than_asked(values: list[float], width: int) -> None:
    assert len(sparkline(values, width)) <= min(width, len(values))


def test_equal_values_are_a_level_line() -> None:
    assert sparkline([2.0, 2.0, 2.0]) == "▅▅▅"


@given(texts)
def test_code_spans_lose_nothing(text: str) -> None:
    assert "".join(f"`{piece}`" if code else piece for piece, code in code_spans(text)) == text


def test_a_next_step_is_a_command_and_why() -> None:
    assert command_and_why("luthier evaluate RUN  # is it better?") == (
        "luthier evaluate RUN",
        "is it better?",
    )
    assert command_and_why("luthier serve '#1'") == ("luthier serve '#1'", "")


def test_paragraphs_keep_code() -> None:
    assert "kept in `model/`\n\nand `more`" in to_markdown(page(Paragraph("kept in `model/`\n\nand `more`")))


tokens = st.builds(
    Token,
    text=texts | st.sampled_from(["", " ", "\n", " a ", "\u27e6", "``````"]),
    id=st.integers(0, 200_000),
    kind=st.sampled_from(["learned", "context", "cut"]),
    special=st.booleans(),
)
token_texts = st.lists(tokens, max_size=30).map(tuple)


def run(kind: str, *words: str) -> tuple[Token, ...]:
    return tuple(Token(word, 0, kind) for word in words)


def flowing(words: tuple[Token, ...], *, differs_at: int | None = None, edge: int = 0) -> str:
    return "".join(piece.text for piece in pieces(TokenText("", words, "", differs_at), brackets=True, edge=edge))


@given(texts | st.text(st.characters(categories=["Cc", "Cf", "Cs", "Zs", "Zl", "Zp", "L"])))
def test_what_can_not_be_seen_has_a_sign(text: str) -> None:
    told = "".join(words for words, _ in spelled(text))
    assert told == safe(told)
    assert {unicodedata.category(letter) for letter in told.replace("\n", "")}.isdisjoint({"Cc", "Cs", "Zl", "Zp"})
    assert {letter for letter in told if unicodedata.category(letter) == "Zs"} <= {" "}
    # Some signs of Arabic, Syriac and hieroglyphs count as format characters but are drawn.
    assert all(letter in text for letter in told if unicodedata.category(letter) == "Cf")
    assert not set(told) & set("\u00ad\u200b\u200d\u2060\u2063\ufeff\U000e0001")


@given(token_texts)
def test_tokens_stay_in_their_fence(words: tuple[Token, ...]) -> None:
    block = TokenText("a `row`", words, "a *note*")
    kinds = [token.type for token in PARSER.parse(to_markdown(page(block)))]
    assert kinds.count("fence") == (1 if words else 0)
    assert set(kinds) <= {"heading_open", "heading_close", "paragraph_open", "paragraph_close", "inline", "fence"}


@given(token_texts)
def test_no_data_passes_for_a_bracket(words: tuple[Token, ...]) -> None:
    text = flowing(words)
    stretches = [kind for kind, _ in groupby(token.kind for token in words)].count("learned")
    assert text.count("⟦") == text.count("⟧") == stretches
    assert text.count("⟨") == text.count("⟩") == sum(token.special for token in words)


def test_every_kind_is_told_without_colour() -> None:
    end = Token("<|end|>", 2, "learned", special=True)
    words = (*run("context", "Q:", " why"), *run("learned", " so", " it"), end, *run("cut", " and", "\n"))
    assert flowing(words) == "Q: why⟦␣so it⟨<|end|>⟩⟧✂␣and⏎✂\n"


def test_text_that_looks_like_a_special_token_is_not_one() -> None:
    assert flowing((Token("<|end|>", 2, "context"), Token("<|end|>", 3, "context", special=True))) == (
        "<|end|>⟨<|end|>⟩"
    )


def test_a_line_break_is_seen_and_breaks_and_no_bracket_starts_a_line() -> None:
    assert flowing(run("learned", "a ", "\n", "\n", "  b\tc", ".\r\n")) == "⟦a␣⏎\n⏎\n  b⇥c.\\x0d⏎⟧\n"


def test_an_empty_token_has_a_sign() -> None:
    assert flowing((*run("context", "a", "", "b"), Token("", 1, "context", special=True))) == "a∅b⟨∅⟩"


def test_the_first_difference_has_brackets_of_its_own() -> None:
    assert flowing(run("learned", "a", "\n", "b"), differs_at=1) == "⟦a▶⏎◀\nb⟧"


def test_what_can_not_be_seen_is_spelled_and_french_stays_as_it_is() -> None:
    assert flowing(run("context", "«a»\u200b\u202e\ufe0f\ud83e\U000e0041⟦")) == (
        r"«a»\x200b\x202e\xfe0f\xd83e\xe0041\x27e6"
    )


@given(token_texts.filter(bool), st.integers(1, 3), st.data())
def test_leaving_out_hides_neither_learned_tokens_nor_the_first_difference(words, edge, data) -> None:
    named = tuple(Token(f"<{index}>", index, token.kind, token.special) for index, token in enumerate(words))
    at = data.draw(st.integers(0, len(named) - 1))
    text = flowing(named, differs_at=at, edge=edge)
    assert all(token.text in text for token in named if token.kind == "learned")
    assert f"▶{named[at].text}◀" in text.replace("⟨", "").replace("⟩", "")


def test_what_is_left_out_is_counted() -> None:
    words = run("context", *(f"<{index}>" for index in range(20)))
    assert flowing(words, edge=2) == "<0><1> ⋯ 16 tokens ⋯ <18><19>"
    assert flowing(words, differs_at=10, edge=2) == "<0><1> ⋯ 7 tokens ⋯ <9>▶<10>◀<11> ⋯ 6 tokens ⋯ <18><19>"
    assert flowing(words[:6], edge=2) == "<0><1><2><3><4><5>"


def test_the_legend_stands_once_and_tells_what_there_is() -> None:
    block = TokenText("row 1", run("learned", "a"))
    sections = (Section("Words", (Paragraph("p"),)), Section("Rows", (block, block)), Section("More", (block,)))
    plain = to_markdown(Report("R", "S", {}, sections=sections))
    assert plain.count("⟦learned⟧ · context · ⟨special token⟩ · ⏎ line break") == 1
    assert plain.index("## Rows") < plain.index("⟦learned⟧") < plain.index("**row 1**")
    cut = TokenText("row 2", run("cut", "a"), differs_at=0)
    assert "⟨special token⟩ · ✂cut✂ · ▶first difference◀ · " in to_markdown(page(cut))
    assert "learned" not in to_markdown(page(Paragraph("p")))


def test_what_a_page_draws_is_a_table_elsewhere() -> None:
    drawn = (
        Histogram("Tokens", "tokens", (0, 10, 20, 30), (("prompt", (3, 0, 1)),), beyond=True),
        Bars("Labels", "label", (("good", 3), ("bad", 1))),
        Changes("Before and after", (Change("control", "a.jsonl:1", "a\u200bb", "ab!"),)),
        Records("Dropped", (Record("duplicate", "a.jsonl", 2, "x\u202ey", "like a.jsonl:1"),), 9, "All are there."),
    )
    text = to_markdown(Report("R", "S", {}, (Section("Data", drawn),)))
    for line in (
        "| 0 to 10     |      3 |",
        "| 20 and more |      1 |",
        "| good  |    3 | 75.0% |",
        "| control | a.jsonl:1 | a\\[-\\\\x200b-\\]b{+!+}",
        "**Dropped: 1 of 9. All are there.**",
        "x\\\\x202ey",
    ):
        assert line in text, (line, text)
