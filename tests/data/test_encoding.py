from pathlib import Path

import pytest
from data_files import Write
from hypothesis import given
from hypothesis import strategies as st

from luthier.data.encoding import detect_encoding


def found_in(path: Path) -> str:
    return detect_encoding(lambda: path.open("rb"))


GERMAN = "question,answer\nDas Gerät läuft nicht,„Bitte prüfen“ – 5 € für die Änderung\n"


@pytest.mark.parametrize(
    ("text", "encoding", "found"),
    [
        (GERMAN, "utf-8", "utf-8"),
        (GERMAN, "utf-8-sig", "utf-8-sig"),
        (GERMAN, "utf-16", "utf-16"),
        (GERMAN, "utf-16-le", "utf-16-le"),
        (GERMAN, "utf-16-be", "utf-16-be"),
        (GERMAN, "utf-32", "utf-32"),
        (GERMAN, "utf-32-le", "utf-32-le"),
        (GERMAN, "cp1252", "cp1252"),
        ("question,answer\nI can’t log in,Try again\n", "cp1252", "cp1252"),
        ("Привет, где мой заказ? Спасибо большое за помощь", "cp1251", "cp1251"),
        ("こんにちは、注文はどこですか。届いていません。", "shift_jis", "cp932"),
        ("Привет, где мой заказ? Спасибо большое за помощь", "utf-16-le", "utf-16-le"),
        ("Привет, где мой заказ? Спасибо большое за помощь", "utf-16-be", "utf-16-be"),
        ("أين طلبي؟ طلبك في الطريق، يرجى الانتظار قليلا.", "utf-16-le", "utf-16-le"),
        ("我的订单在哪里？您的订单正在路上，请耐心等待。", "utf-16-le", "utf-16-le"),
        ("我的订单在哪里？您的订单正在路上，请耐心等待。", "gb18030", "gb18030"),
        ("Где мой заказ? Ваш заказ уже в пути, подождите немного, пожалуйста.", "cp866", "cp866"),
        ("Где мой заказ? Ваш заказ уже в пути, подождите немного, пожалуйста.", "iso8859_5", "iso8859-5"),
    ],
)
def test_the_encoding_is_found(write: Write, text: str, encoding: str, found: str) -> None:
    path = write("rows.csv", text.encode(encoding))
    assert found_in(path) == found
    assert path.read_bytes().decode(found) == text


def test_a_late_cp1252_character_counts_as_much_as_an_early_one(write: Write) -> None:
    path = write("rows.csv", b"plain,text\n" * 60_000 + "5 €,it’s late\n".encode("cp1252"))
    assert found_in(path) == "cp1252"


def test_a_damaged_byte_does_not_make_a_utf8_file_something_else(write: Write) -> None:
    assert found_in(write("rows.jsonl", "Käse für alle, für Änderung\n".encode() * 5 + b"\xff\n")) == "utf-8"


def test_iso_2022_passes_as_utf8_but_is_found(write: Write) -> None:
    assert found_in(write("rows.csv", "こんにちは".encode("iso2022_jp"))).startswith("iso2022_jp")


@pytest.mark.parametrize("text", ["\x1b$there,\x1b(B yes", "\x1b(B\x1b[m, plain", "\x1b$BF|\x1b(B and é"])
def test_codes_of_a_terminal_and_letters_beyond_ascii_are_no_iso_2022(write: Write, text: str) -> None:
    assert found_in(write("rows.csv", text.encode())) == "utf-8"


def test_nul_bytes_alone_do_not_make_utf16(write: Write) -> None:
    assert found_in(write("rows.csv", b"question,answer\nhi\0,there\n")) == "utf-8"


@given(content=st.binary(min_size=1, max_size=300))
def test_any_bytes_get_a_codec_that_exists(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path: Path = tmp_path_factory.mktemp("bytes") / "rows.csv"
    path.write_bytes(content)
    content.decode(found_in(path), errors="replace")
