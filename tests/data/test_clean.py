import pytest

from luthier.core.example import Example, Message, Source
from luthier.data.clean import Cleaner, control, empty, html, mojibake, whitespace
from luthier.recipe.data import Clean


def example(*texts: str, line: int = 1) -> Example:
    roles = ("user", "assistant") * len(texts)
    return Example(tuple(map(Message, roles, texts)), Source("x", line))


@pytest.mark.parametrize(
    ("dirty", "clean"),
    [
        ("I donâ€™t know", "I don’t know"),
        ("cafÃ© Ã  la carte", "café à la carte"),
        ("one line cafÃ©\nanother café", "one line café\nanother café"),
    ],
)
def test_mojibake_is_repaired(dirty: str, clean: str) -> None:
    assert mojibake.apply([dirty]) == [clean]


@pytest.mark.parametrize(
    "text",
    [
        "“quotes” – dashes…",
        "ＦＵＬＬ width",
        "ﬁne ligature",
        "e\u0301 not composed",
        "&amp; <b>",
        "Ça va à Ñuñoa",
        "日本語",
    ],
)
def test_good_text_is_not_touched_by_the_encoding_repair(text: str) -> None:
    assert mojibake.apply([text]) == [text]


@pytest.mark.parametrize(
    ("dirty", "clean"),
    [
        ("<p>Hi,<br>\nmy order</p>", "Hi,\nmy order"),
        ("one<br/>two<BR />three", "one\ntwo\nthree"),
        ("<ul><li>one</li><li>two</li></ul>", "- one\n- two"),
        ("AT&amp;T &lt;3 &#39;x&#39; &nbsp;y", "AT&T <3 'x' \xa0y"),
        ("<div>if a < b<br>then c</div>", "if a < b\nthen c"),
        ('<a href="https://example.com/html">link</a> here', "link here"),
        ("<style>p {}</style><p>text</p><script>x()</script>", "text"),
        ("<p>your website is down</p>", "your website is down"),
    ],
)
def test_html_becomes_text(dirty: str, clean: str) -> None:
    assert [text.strip() for text in html.apply([dirty])] == [clean]


@pytest.mark.parametrize(
    "texts",
    [
        ["if a < b and c > d"],
        ["List<int> xs = new Map<String, a>();"],
        ["List<a> x; f<b>(1)"],
        ["R&D, AT&T; &copyright; &nothing;"],
        ["Use `<br>` for a line break"],
        ["Write an HTML paragraph", "<p>Hello</p>"],
        ["Create a website for my shop", "<div><h1>Shop</h1></div>"],
        ["```\n<p>code</p>\n```"],
        ['x.split("<title>")[1]'],
        ["<think>let me see</think> 42"],
        ["1 <2 and 3>2", "<|im_start|>"],
        [
            "Show my list in React",
            "const List = ({ items }) => {\n  return (\n    <ul>\n      <li>x</li>\n    </ul>);}",
        ],
    ],
)
def test_what_only_looks_like_html_or_talks_about_it_stays(texts: list[str]) -> None:
    assert html.apply(texts) == texts


@pytest.mark.parametrize(
    ("dirty", "clean"),
    [
        ("a\u200bb\ufeff", "ab"),
        ("nul\0 bell\a", "nul bell"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("half \ud800 char", "half \ufffd char"),
        ("\u202egpj.exe", "gpj.exe"),
        ("soft\u00adhyphen", "softhyphen"),
        ("hidden\U000e0041\U000e0042", "hidden"),
        ("latin\u200djoiner", "latinjoiner"),
    ],
)
def test_invisible_characters_go(dirty: str, clean: str) -> None:
    assert control.apply([dirty]) == [clean]


@pytest.mark.parametrize(
    "text",
    [
        "tab\tand\nline",
        "👨\u200d👩\u200d👧 family",
        "می\u200cخواهم",
        "שלום \u200eabc",
        "\U0001f3f4\U000e0067\U000e007f",
        "é日本",
    ],
)
def test_invisible_characters_with_a_meaning_stay(text: str) -> None:
    assert control.apply([text]) == [text]


@pytest.mark.parametrize(
    ("dirty", "clean"),
    [
        ("  a \t\r\nb  \n\n\n\n\n\nc\n", "a\nb\n\n\nc"),
        ("a\rb\u2028c", "a\nb\nc"),
        (" \n\t ", ""),
        ("def f():\n    return 1\n\n\ndef g():", "def f():\n    return 1\n\n\ndef g():"),
        ("    return 1\n    return 2\n", "    return 1\n    return 2"),
        ("  one line", "one line"),
    ],
)
def test_white_space_is_trimmed_and_code_keeps_its_shape(dirty: str, clean: str) -> None:
    assert whitespace.apply([dirty]) == [clean]


def test_each_step_counts_the_rows_it_changed_and_shows_them() -> None:
    cleaner = Cleaner(Clean(whitespace=False))
    _, notes = cleaner.clean([example("cafÃ© <b>now</b>", "fine"), example("fine", "fine"), example("fine", "")])
    counts = {name: (noted.changed, noted.dropped) for name, noted in notes.items()}
    assert (counts["mojibake"], counts["html"], counts["control"], counts["empty"]) == ((1, 0), (1, 0), (0, 0), (0, 1))
    assert notes["mojibake"].samples[0].before == "cafÃ© <b>now</b>"
    assert notes["mojibake"].samples[0].after == "café <b>now</b>"


def test_a_clean_example_comes_back_as_it_is() -> None:
    asked = example("Q", "A")
    assert Cleaner(Clean()).clean([asked])[0][0] is asked


def test_an_empty_answer_is_refused_and_a_call_of_a_tool_is_none() -> None:
    assert empty.refusal(example("Q", " \n"), min_answer_chars=1) is not None
    assert empty.refusal(example("Q", "abc"), min_answer_chars=4) is not None
    assert empty.refusal(example("", "A"), min_answer_chars=1) is None
    call = Message("assistant", "", {"tool_calls": [{"id": "1"}]})
    assert empty.refusal(Example((call,), Source("x", 1)), min_answer_chars=1) is None
