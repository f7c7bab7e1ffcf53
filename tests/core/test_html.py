import base64
import hashlib
import math
import re
from html.parser import HTMLParser

from hypothesis import given, settings
from hypothesis import strategies as st

from luthier.core.charts import ticks
from luthier.core.html import to_html
from luthier.core.report import (
    Bars,
    Change,
    Changes,
    Comparison,
    Curve,
    Finding,
    Histogram,
    Intervals,
    Number,
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

texts = st.text(max_size=40) | st.text(alphabet=st.sampled_from("<>&\"'`/=! ab\n\x1b\u202e-"), max_size=40)
numbers = st.floats() | st.integers(-5, 5).map(float)
lines = st.lists(st.tuples(texts, st.lists(st.tuples(numbers, numbers), max_size=6).map(tuple)), max_size=4)


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append(tag)
        assert not [name for name, _ in attrs if name.startswith("on") or name in ("href", "src")]
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        self.texts.append(data)


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    return reader


def page(*blocks, **parts) -> Report:
    return Report("A report", "All is well.", {}, sections=(Section("Evidence", blocks),), **parts)


def filled(text: str) -> Report:
    return Report(
        title=text,
        summary=text,
        data={},
        sections=(
            Section(
                text,
                (
                    Paragraph(text),
                    Table(text, ("what", text), ((text, text),)),
                    Curve(text, text, text, ((text, ((0, 1), (1, 2))), (text, ()))),
                    Histogram(text, text, (0, 1, 2), ((text, (1, 2)),), 1.5, text),
                    Intervals(text, text, ((text, ((text, Number(1, 9, 0, 2)), (text + "2", Number(1, 9)))),)),
                    Bars(text, text, ((text, 3),)),
                    Changes(text, (Change(text, text, text, text[1:]),)),
                    Comparison(text, ((text, text),)),
                    TokenText(text, (Token(text, 1, "learned", special=True), Token(text, 2, "cut")), text, 1),
                ),
            ),
        ),
        findings=(Finding("warning", text, text),),
        next_steps=(text,),
    )


@settings(max_examples=50, deadline=None)
@given(texts.filter(str.strip))
def test_data_text_never_becomes_markup(text: str) -> None:
    expected = [tag for tag in read(to_html(filled("words"))).tags if tag not in ("code", "span", "p", "i")]
    assert [tag for tag in read(to_html(filled(text))).tags if tag not in ("code", "span", "p", "i")] == expected


@settings(max_examples=50, deadline=None)
@given(texts.filter(str.strip))
def test_an_answer_reads_as_it_is(text: str) -> None:
    assert safe(text) in read(to_html(page(Comparison("?", (("base", text),))))).texts


@settings(max_examples=100, deadline=None)
@given(lines)
def test_any_curve_can_be_drawn(drawn) -> None:
    text = to_html(page(Curve("Loss", "step", "nats", tuple(drawn))))
    read(text)
    drawing = "".join(re.findall(r'(?:points|d|x|y|cx|cy)="([^"]*)"', text))
    assert "nan" not in drawing
    assert "inf" not in drawing


def test_the_page_loads_and_runs_nothing() -> None:
    text = to_html(filled("words"))
    assert "default-src 'none'; style-src 'unsafe-inline'" in text
    assert "script" not in read(text).tags
    assert "http" not in text.replace("http-equiv", "")
    assert "url(" not in text


def test_the_one_script_is_named_by_its_hash() -> None:
    text = to_html(page(Records("Dropped", (Record("duplicate", "a.jsonl", 1, "</script>", ""),), 1)))
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert re.search(r"[^\x00-\x7f]|<", script) is None or "</" not in script


def test_a_histogram_tells_every_bar_and_the_limit() -> None:
    text = to_html(page(Histogram("Tokens", "tokens", (0, 10, 20), (("prompt", (3, 0)),), 15, "longest: 15", True)))
    assert text.count('<rect class="bar"') == 1
    assert "<title>0 to 10: 3</title>" in text
    assert 'class="limit" d="M' in text
    assert ">20+<" in text
    assert "beyond what is drawn" in to_html(page(Histogram("T", "t", (0, 1), (("a", (1,)),), 5, "longest: 5")))


def test_a_value_that_is_no_number_leaves_a_gap() -> None:
    points = ((0, 1.0), (1, 2.0), (2, math.nan), (3, 1.0), (4, 1.5))
    # Two pieces of a line, in the wide and in the narrow drawing.
    assert to_html(page(Curve("Loss", "step", "nats", (("train", points),)))).count("<polyline") == 4


def test_one_point_is_a_dot() -> None:
    text = to_html(page(Curve("Loss", "step", "nats", (("train", ((7, 1.0),)),))))
    assert text.count("<circle") == 2
    assert "<polyline" not in text


def test_a_curve_without_numbers_says_so() -> None:
    assert "No values to draw" in to_html(page(Curve("Loss", "step", "nats", (("train", ((0, math.nan),)),))))


def test_a_long_line_is_thinned_but_keeps_its_peak() -> None:
    points = tuple((float(step), 9.0 if step == 4321 else 1.0) for step in range(10_000))
    text = to_html(page(Curve("Loss", "step", "nats", (("train", points),))))
    pieces = re.findall(r'points="([^"]*)"', text)
    assert max(len(piece.split()) for piece in pieces) <= 700
    assert min(float(pair.split(",")[1]) for pair in pieces[0].split()) < 60


def test_ticks_are_round() -> None:
    assert ticks(0.1, 0.95, 5) == [0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0]
    assert ticks(1, 240, 8) == [0, 50, 100, 150, 200, 250]
    assert ticks(0, 3, 8, whole=True) == [0, 1, 2, 3]


def test_findings_tell_their_level_in_words() -> None:
    text = to_html(page(findings=(Finding("failure", "it got worse"), Finding("ok", "it ran"))))
    assert "<b>Failure</b>" in text
    assert "<b>OK</b>" in text


def test_numbers_are_aligned_right() -> None:
    text = to_html(page(Table("T", ("rows", "n"), (("all", "1,204"),))))
    assert '<th scope="col" class="number">n</th>' in text
    assert '<td class="number">1,204</td>' in text


def test_each_token_has_a_frame_that_names_its_id_and_kind() -> None:
    words = (
        Token("<|user|>", 9, "context", special=True),
        Token("a<b", 10, "context"),
        Token(" so", 11, "learned"),
        Token("", 12, "learned"),
        Token("\n", 13, "cut"),
    )
    text = to_html(page(TokenText("row 1", words, "a `note`", 1)))
    for piece in (
        '<span class="context"><span class="special" title="id 9 · context · special">&lt;|user|&gt;</span>',
        '<span class="differs" title="id 10 · context · first difference"><i>▶</i>a&lt;b</span></span>',
        '<u class="learned"><span title="id 11 · learned"> so</span>',
        '<span title="id 12 · learned"><i>∅</i></span></u>',
        '<s class="cut"><span title="id 13 · cut"><i>⏎</i>\n</span></s>',
        "a <code>note</code>",
    ):
        assert piece in text


def test_the_legend_stands_once_before_the_first_tokens() -> None:
    block = TokenText("row 1", (Token("a", 1, "learned"),))
    sections = (Section("Words", (Paragraph("p"),)), Section("Rows", (block, block)), Section("More", (block,)))
    text = to_html(Report("R", "S", {}, sections=sections))
    assert text.count("legend kinds") == 1
    assert text.index(">Rows<") < text.index("legend kinds") < text.index("row 1")
    assert "legend kinds" not in to_html(page(Paragraph("p")))


def test_a_row_that_is_left_out_says_why_and_has_no_tokens() -> None:
    text = to_html(page(TokenText("row 1", (), "left out: too long")))
    assert "left out: too long" in text
    assert 'class="tokens"></div>' not in text


def test_a_long_row_is_folded_and_whole() -> None:
    words = tuple(Token(f" w{index}", index, "context") for index in range(401))
    folded = to_html(page(TokenText("row 1", words)))
    assert "<summary>401 tokens</summary>" in folded
    assert all(f'title="id {index} ·' in folded for index in range(401))
    assert "<details" not in to_html(page(TokenText("row 1", words[:400])))


def test_many_rows_stay_small_enough_to_open() -> None:
    words = tuple(Token(" word", 150_000, "learned" if index % 2 else "context") for index in range(500))
    assert len(to_html(page(*[TokenText("row", words)] * 200))) < 15_000_000
