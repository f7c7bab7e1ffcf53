"""A Modelfile is read as Ollama reads it."""

import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luthier.core.errors import DataError
from luthier.export.modelfile import LARGEST, Modelfile, is_modelfile, parse, read

WHOLE = '''# made by hand
from ./model.gguf
TEMPLATE """{{ if .System }}S {{ .System }}
{{ end }}"U" {{ .Prompt }}
"""
# in between
PARAMETER stop "<|im_end|>"
Parameter  Stop\t<|x|>
PARAMETER num_ctx 4096
SYSTEM "You are
two lines"
MESSAGE user  Hi "there"
MESSAGE assistant """Hello
you"""
LICENSE one
LICENSE """
two
"""
ADAPTER ./lora
  RENDERER qwen3
PARSER qwen3
REQUIRES 0.14.0
DRAFT ./small.gguf
'''


def test_every_instruction_is_read():
    assert parse(WHOLE) == Modelfile(
        base="./model.gguf",
        template='{{ if .System }}S {{ .System }}\n{{ end }}"U" {{ .Prompt }}\n',
        system="You are\ntwo lines",
        adapter="./lora",
        messages=(("user", 'Hi "there"'), ("assistant", "Hello\nyou")),
        parameters=(("stop", "<|im_end|>"), ("stop", "<|x|>"), ("num_ctx", "4096")),
        licenses=("one", "\ntwo\n"),
        renderer="qwen3",
        parser="qwen3",
        requires="0.14.0",
        draft="./small.gguf",
    )
    assert parse(WHOLE).stop == ("<|im_end|>", "<|x|>")
    assert parse(WHOLE).values("num_ctx") == ("4096",)


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("SYSTEM plain text  ", "plain text"),
        ("system\ttabs\there", "tabs\there"),
        ('SYSTEM say "a" and "b"', 'say "a" and "b"'),
        ('SYSTEM "say "a" and"', 'say "a" and'),
        ('SYSTEM ""', ""),
        ('SYSTEM """"quoted""""', '"quoted"'),
        ('SYSTEM """a\n\n b """', "a\n\n b "),
        ('SYSTEM """a\r\nb"""\r\n', "a\r\nb"),
        ('SYSTEM """a""" b\nc"""', 'a""" b\nc'),
        ("SYSTEM a # no comment", "a # no comment"),
        ("SYSTEM zero\u200bwidth\u00a0space", "zerowidthspace"),
        ("SYSTEM one\nSYSTEM two", "two"),
    ],
)
def test_a_value_ends_where_ollama_ends_it(line, wanted):
    assert parse(f"FROM m\n{line}").system == wanted


@pytest.mark.parametrize(
    ("text", "line", "said", "hint"),
    [
        ("FROM m\n\nTEMPLAT x", 3, "unknown instruction `TEMPLAT`", "did you mean `TEMPLATE`?"),
        ("FROM m\n12345 x", 2, "unknown instruction `12345`", "a line begins with FROM"),
        ("FROM m\nSYSTEM", 2, "`SYSTEM` has no value", "write `SYSTEM"),
        ("FROM m\nPARAMETER stop", 2, "`PARAMETER stop` has no value", "write `PARAMETER stop"),
        ("FROM m\nMESSAGE tool x", 2, "unknown role `tool`", "system, user or assistant"),
        ('FROM m\nTEMPLATE """a\nb', 2, "the quotes of `TEMPLATE` are not closed", '"""'),
        ('FROM m\nSYSTEM "a\nb', 2, "the quotes of `SYSTEM` are not closed", "last thing on a line"),
    ],
)
def test_a_wrong_line_is_named_with_what_to_write(text, line, said, hint):
    with pytest.raises(DataError) as error:
        parse(text, "dir/Modelfile")
    assert error.value.place == f"dir/Modelfile:{line}"
    assert said in error.value.problem
    assert hint in error.value.hint


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("FROM m", True),
        ("# c\n\nfrom m", True),
        ("PARAMETER stop x", True),
        ("FORM m\nTEMPLATE x", True),
        ("{{ .Prompt }}", False),
        ("{{ .System }}\nfrom the user: {{ .Prompt }}", False),
        ("From\n{{ .Prompt }}", False),
        ("", False),
    ],
)
def test_a_file_without_keywords_is_a_bare_template(text, wanted):
    assert is_modelfile(text) is wanted


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_file_is_read_in_the_encodings_that_ollama_reads(tmp_path, encoding):
    (tmp_path / "Modelfile").write_bytes("FROM m\nSYSTEM é".encode(encoding))
    assert read(tmp_path / "Modelfile") == Modelfile(base="m", system="é")
    (tmp_path / "t").write_bytes("{{ .Prompt }} é\r\n".encode(encoding))
    assert read(tmp_path / "t") == Modelfile(template="{{ .Prompt }} é\r\n")


def test_a_file_that_is_no_text_or_too_large_is_refused(tmp_path):
    (tmp_path / "binary").write_bytes(b"FROM \xff\xfe\x80")
    with pytest.raises(DataError, match="not text"):
        read(tmp_path / "binary")
    (tmp_path / "large").write_bytes(b"x" * (LARGEST + 1))
    with pytest.raises(DataError, match="larger than"):
        read(tmp_path / "large")
    with pytest.raises(DataError, match="can't read the file"):
        read(tmp_path / "none")


def test_a_hostile_file_ends_soon():
    begun = time.monotonic()
    with pytest.raises(DataError):
        parse('FROM m\nSYSTEM """a\n' + '""\n' * 500_000)
    assert time.monotonic() - begun < 10


@given(st.text(alphabet='FROMTEMPLATEuser "\n\t\r#é\u200b', max_size=60))
def test_any_text_is_read_or_refused(text):
    with suppress(DataError):
        parse(text)


@given(st.text(alphabet='ab "\n\t', max_size=30).filter(lambda text: '"""' not in text and not text.endswith('"')))
def test_what_stands_in_triple_quotes_comes_back(text):
    # a line in it that ends with a quote does not end it; one quote right before the closing ones would
    assert parse(f'FROM m\nTEMPLATE """{text}"""').template == text
