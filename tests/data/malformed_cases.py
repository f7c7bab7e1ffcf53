"""Damaged and odd contents of files, and what must become of them: kept rows, reasons in order, or one exact error."""

# ruff: noqa: E501 - a table reads best with a case to a line

import bz2
import gzip
import io
import json
import lzma
from collections.abc import Callable
from dataclasses import dataclass

import polars as pl
import zstandard
from made_files import workbook, zipped

from luthier.recipe.methods import Rows

GOOD = b'{"prompt": "Q", "answer": "A"}\n'
OTHER = b'{"prompt": "Q2", "answer": "A2"}\n'
THIRD = b'{"prompt": "Q3", "answer": "A3"}\n'
CSV = b"prompt,answer\nQ,A\n"
DEEP = b"[" * 10_000 + b"]" * 10_000


@dataclass(frozen=True)
class Case:
    name: str
    file: str
    content: bytes
    kept: int = 0
    dropped: tuple[str, ...] = ()
    """Reasons in the order of the file."""
    error: str = ""
    """A piece of the message, where nothing can be used."""
    detail: str = ""
    """A piece of what is told about the first dropped row."""
    rows: Rows = "conversation"


def lines(*texts: str | bytes) -> bytes:
    return b"".join(text.encode() if isinstance(text, str) else text for text in texts)


def answer(value: str) -> bytes:
    """Return a line whose answer is a piece of JSON."""
    return f'{{"prompt": "Q", "answer": {value}}}\n'.encode()


def messages(value: str) -> bytes:
    """Return a line whose conversation is a piece of JSON."""
    return f'{{"messages": {value}}}\n'.encode()


# fmt: off
# Texts ---------------------------------------------------------------------------------------------------------------

ENCODED = [
    Case("UTF-8 BOM", "a.jsonl", b"\xef\xbb\xbf" + GOOD, kept=1),
    Case("BOM between joined files", "a.jsonl", GOOD + b"\xef\xbb\xbf" + OTHER, kept=2),
    Case("UTF-8 BOM in CSV", "a.csv", b"\xef\xbb\xbf" + CSV, kept=1),
    Case("UTF-8 BOM in a JSON array", "a.json", b"\xef\xbb\xbf[" + GOOD + b"]", kept=1),
    Case("BOM before a quoted header", "a.csv", b'\xef\xbb\xbf"prompt","answer"\nQ,A\n', kept=1),
    Case("UTF-16 with BOM", "a.jsonl", GOOD.decode().encode("utf-16"), kept=1),
    Case("UTF-16 without BOM", "a.csv", CSV.decode().encode("utf-16-le"), kept=1),
    Case("UTF-16 of the other order", "a.jsonl", GOOD.decode().encode("utf-16-be"), kept=1),
    Case("UTF-16 JSON array", "a.json", b"[%s]".replace(b"%s", GOOD).decode().encode("utf-16-le"), kept=1),
    Case("UTF-16 cut in the middle of a character", "a.jsonl", (GOOD + OTHER).decode().encode("utf-16")[:-3], kept=1, dropped=("invalid_encoding",)),
    Case("UTF-32", "a.json", b"[%s]".replace(b"%s", GOOD).decode().encode("utf-32"), kept=1),
    Case("UTF-32 without BOM", "a.jsonl", GOOD.decode().encode("utf-32-le"), kept=1),
    Case("cp1252", "a.csv", "prompt;answer\nWhat’s up?;5 € for a café\n".encode("cp1252"), kept=1),
    Case("Shift-JIS", "a.jsonl", '{"prompt": "注文はどこですか。届いていません。", "answer": "確認いたします。"}\n'.encode("shift_jis"), kept=1),
    Case("GB 18030", "a.csv", "prompt,answer\n我的订单在哪里,您的订单正在路上请耐心等待\n".encode("gb18030"), kept=1),
    Case("Windows-1251", "a.csv", "prompt,answer\nГде мой заказ?,Ваш заказ уже в пути\n".encode("cp1251"), kept=1),
    Case("Shift-JIS in gz", "a.jsonl.gz", gzip.compress('{"prompt": "注文はどこですか。届いていません。", "answer": "確認いたします。"}\n'.encode("shift_jis")), kept=1),
    Case("cp1252 in zst", "a.csv.zst", zstandard.compress("prompt;answer\nWhat’s up?;5 € for a café\n".encode("cp1252")), kept=1),
    Case("UTF-16 in a zip", "a.zip", zipped({"a.csv": CSV.decode().encode("utf-16")}), kept=1),
    Case("Cyrillic in UTF-16 without BOM", "a.csv", "prompt,answer\nГде мой заказ?,Ваш заказ уже в пути\n".encode("utf-16-le"), kept=1),
    Case("ISO-2022-JP", "a.csv", "prompt,answer\nこんにちは,さようなら\n".encode("iso2022_jp"), kept=1),
    Case("one bad byte in UTF-8", "a.jsonl", lines('{"prompt": "ä", "answer": "öüß ÄÖÜ"}\n', b'{"prompt": "\xff", "answer": "A"}\n'), kept=1, dropped=("invalid_encoding",), detail="byte 0xff at 13 is not UTF-8"),
    Case("one bad byte in a UTF-8 CSV", "a.csv", CSV + "ä,öüßÄÖ\n".encode() + b"\xff,A\n", kept=2, dropped=("invalid_encoding",), detail="not utf-8"),
    Case("one bad byte in a UTF-8 array", "a.json", lines("[", '{"prompt": "ä", "answer": "öüß ÄÖÜ"},', b'{"prompt": "\xff", "answer": "A"}]'), kept=1, dropped=("invalid_encoding",)),
    Case("overlong form", "a.jsonl", lines('{"prompt": "ä", "answer": "öüßÄÖÜäöü"}\n', b'{"prompt": "\xc0\xaf", "answer": "A"}\n'), kept=1, dropped=("invalid_encoding",)),
    Case("surrogate written as UTF-8", "a.jsonl", lines('{"prompt": "ä", "answer": "öüßÄÖÜäöüäöüß"}\n', b'{"prompt": "\xed\xa0\x80", "answer": "A"}\n'), kept=1, dropped=("invalid_encoding",)),
    Case("character cut at the end of the file", "a.jsonl", lines('{"prompt": "ä", "answer": "öüßÄÖÜ"}\n', b'{"prompt": "\xc3'), kept=1, dropped=("invalid_encoding",)),
    Case("CRLF", "a.jsonl", GOOD.replace(b"\n", b"\r\n") + OTHER.replace(b"\n", b"\r\n"), kept=2),
    Case("CRLF in CSV", "a.csv", CSV.replace(b"\n", b"\r\n"), kept=1),
    Case("CR alone in CSV", "a.csv", CSV.replace(b"\n", b"\r"), kept=1),
    Case("mixed line ends in CSV", "a.csv", b"prompt,answer\r\nQ,A\nQ2,A2\rQ3,A3\r\n", kept=3),
    Case("no newline at the end", "a.jsonl", (GOOD + OTHER).rstrip(b"\n"), kept=2),
    Case("blank lines are no rows", "a.jsonl", b"\n\n" + GOOD + b"  \n\t\n" + OTHER, kept=2),
    Case("NUL bytes in a line", "a.jsonl", GOOD + b"\0\0\0\n" + OTHER, kept=2, dropped=("invalid_json",), detail="expecting value"),
    Case("NULs at the end, as a full disk leaves them", "a.jsonl", GOOD + OTHER + b"\0" * 4096, kept=2, dropped=("invalid_json",)),
    Case("NUL in a cell", "a.csv", CSV + b"Q\0x,A\n", kept=2),
    Case("form feed and line separator in a text", "a.jsonl", '{"prompt": "Q", "answer": "one\u2028two\x0cthree"}\n'.encode().replace(b"\x0c", b"\\f"), kept=1),
    Case("line separator in a cell", "a.csv", "prompt,answer\nQ,one\u2028two\x85three\n".encode(), kept=1),
    Case("byte order mark of UTF-16 before UTF-8", "a.jsonl", b"\xff\xfe" + GOOD, error="none of the 1 rows can be read"),
    Case("EBCDIC", "a.jsonl", GOOD.decode().encode("cp500"), kept=1),
]

VALUES = [
    Case("lone surrogate", "a.jsonl", answer(r'"half \ud800"'), kept=1),
    Case("lone low surrogate", "a.jsonl", answer(r'"half \udc00"'), kept=1),
    Case("surrogates the wrong way round", "a.jsonl", answer(r'"\ude00\ud83d"'), kept=1),
    Case("lone surrogate in a tool call", "a.jsonl", GOOD + messages(r'[{"role": "user", "content": "x"}, {"role": "assistant", "content": "y", "name": "\udfff"}]'), kept=1, dropped=("not_unicode",)),
    Case("surrogate pair", "a.jsonl", answer(r'"\ud83d\ude00"'), kept=1),
    Case("NUL as an escape", "a.jsonl", answer(r'"a\u0000b"'), kept=1),
    Case("duplicate keys: the last wins", "a.jsonl", b'{"prompt": "Q", "answer": "", "answer": "A"}\n', kept=1),
    Case("NaN beside the answer", "a.jsonl", b'{"prompt": "Q", "answer": "A", "score": NaN}\n', kept=1),
    Case("NaN as the answer", "a.jsonl", GOOD + answer("NaN"), kept=1, dropped=("does_not_fit",)),
    Case("Infinity", "a.jsonl", GOOD + b'{"prompt": -Infinity, "answer": "A"}\n', kept=1, dropped=("does_not_fit",)),
    Case("a number beyond all floats", "a.jsonl", GOOD + answer("1e999"), kept=1, dropped=("does_not_fit",)),
    Case("number of 5,000 digits", "a.jsonl", GOOD + answer("9" * 5000), kept=1, dropped=("invalid_json",), detail="4300 digits"),
    Case("number of 5,000 digits in an array", "a.json", b"[" + GOOD + b"," + answer("9" * 5000) + b"]", kept=1, dropped=("invalid_json",), detail="4300 digits"),
    Case("number above 64 bits", "a.jsonl", answer("123456789012345678901234567890"), kept=1),
    Case("number with a plus", "a.jsonl", GOOD + answer("+1"), kept=1, dropped=("invalid_json",), detail="expecting value at column 27"),
    Case("number with a leading zero", "a.jsonl", GOOD + answer("017"), kept=1, dropped=("invalid_json",), detail="expecting ',' delimiter"),
    Case("number in hexadecimal", "a.jsonl", GOOD + answer("0x10"), kept=1, dropped=("invalid_json",), detail="expecting ',' delimiter"),
    Case("number that ends in a point", "a.jsonl", GOOD + answer("1."), kept=1, dropped=("invalid_json",), detail="expecting ',' delimiter"),
    Case("number that begins with a point", "a.jsonl", GOOD + answer(".5"), kept=1, dropped=("invalid_json",), detail="expecting value"),
    Case("None, as Python writes it", "a.jsonl", GOOD + answer("None"), kept=1, dropped=("invalid_json",), detail="expecting value"),
    Case("True, as Python writes it", "a.jsonl", GOOD + answer("True"), kept=1, dropped=("invalid_json",), detail="expecting value"),
    Case("undefined, as JavaScript writes it", "a.jsonl", GOOD + answer("undefined"), kept=1, dropped=("invalid_json",), detail="expecting value"),
    Case("single quotes", "a.jsonl", GOOD + b"{'prompt': 'Q'}\n", kept=1, dropped=("invalid_json",), detail="property name enclosed in double quotes at column 2"),
    Case("curly quotes", "a.jsonl", lines(GOOD, "{“prompt”: “Q”}\n"), kept=1, dropped=("invalid_json",), detail="double quotes"),
    Case("keys without quotes", "a.jsonl", GOOD + b'{prompt: "Q"}\n', kept=1, dropped=("invalid_json",), detail="double quotes"),
    Case("comment behind a row", "a.jsonl", GOOD + OTHER.rstrip() + b" // good\n", kept=1, dropped=("invalid_json",), detail="extra data"),
    Case("comment between rows", "a.jsonl", GOOD + b"# rows\n" + OTHER, kept=2, dropped=("invalid_json",), detail="expecting value at column 1"),
    Case("comma behind a row", "a.jsonl", GOOD + OTHER.rstrip() + b",\n", kept=1, dropped=("invalid_json",), detail="extra data"),
    Case("comma before the end of an object", "a.jsonl", GOOD + b'{"prompt": "Q", "answer": "A",}\n', kept=1, dropped=("invalid_json",), detail="double quotes"),
    Case("missing comma", "a.jsonl", GOOD + b'{"prompt": "Q" "answer": "A"}\n', kept=1, dropped=("invalid_json",), detail="expecting ',' delimiter at column 16"),
    Case("missing colon", "a.jsonl", GOOD + b'{"prompt" "Q"}\n', kept=1, dropped=("invalid_json",), detail="expecting ':' delimiter at column 11"),
    Case("unknown escape", "a.jsonl", GOOD + answer(r'"C:\path"'), kept=1, dropped=("invalid_json",), detail="escape"),
    Case("cut escape", "a.jsonl", GOOD + answer(r'"\u12"'), kept=1, dropped=("invalid_json",), detail="escape"),
    Case("tab inside a text", "a.jsonl", GOOD + answer('"a\tb"'), kept=1, dropped=("invalid_json",), detail="control character"),
    Case("text over two lines", "a.jsonl", GOOD + b'{"prompt": "Q", "answer": "one\ntwo"}\n', kept=1, dropped=("invalid_json",) * 2, detail="column 27"),
    Case("two objects on a line", "a.jsonl", GOOD + b'{"prompt": "Q"}{"answer": "A"}\n', kept=1, dropped=("invalid_json",), detail="extra data at column 16"),
    Case("object and text on a line", "a.jsonl", GOOD + b'{"prompt": "Q"} yes\n', kept=1, dropped=("invalid_json",), detail="extra data"),
    Case("prefix before the row, as a log has it", "a.jsonl", GOOD + b'12:00 {"prompt": "Q"}\n', kept=1, dropped=("invalid_json",), detail="extra data at column 3"),
    Case("closing bracket of another kind", "a.jsonl", GOOD + b'{"prompt": ["Q"}\n', kept=1, dropped=("invalid_json",), detail="expecting ',' delimiter"),
    Case("line of 1 MB", "a.jsonl", answer('"' + "x" * 1_000_000 + '"'), kept=1),
    Case("damaged line of 1 MB", "a.jsonl", GOOD + b'{"prompt": "' + b"x" * 1_000_000 + b"\n" + OTHER, kept=2, dropped=("invalid_json",)),
    Case("nesting of 10,000", "a.jsonl", GOOD + DEEP + b"\n" + OTHER, kept=2, dropped=("nested_too_deep",)),
    Case("nesting of 10,000 in a value", "a.jsonl", GOOD + answer(DEEP.decode()), kept=1, dropped=("nested_too_deep",)),
    Case("objects in objects, 10,000 deep", "a.jsonl", GOOD + b'{"a": ' * 10_000 + b"1" + b"}" * 10_000 + b"\n", kept=1, dropped=("nested_too_deep",)),
    Case("10,000 brackets that nothing closes", "a.jsonl", GOOD + b"[" * 10_000 + b"\n", kept=1, dropped=("nested_too_deep",)),
    Case("nesting of 900 in a value", "a.jsonl", GOOD + answer("[" * 900 + "]" * 900), kept=1, dropped=("does_not_fit",)),
    Case("mixed types on lines", "a.jsonl", GOOD + b'"text"\n42\nnull\n[1]\ntrue\n', kept=1, dropped=("not_an_object",) * 5, detail="a JSON text"),
    Case("mixed types in a column", "a.jsonl", GOOD + b'{"prompt": 1, "answer": true}\n{"prompt": ["Q"], "answer": {}}\n', kept=2, dropped=("does_not_fit",)),
    Case("bidi override", "a.jsonl", answer('"\u202egpj.exe"'), kept=1),
    Case("empty strings", "a.jsonl", GOOD + answer('""') + answer("null"), kept=1, dropped=("empty_answer",) * 2),
    Case("only invisible characters", "a.jsonl", GOOD + answer('"\u200b\ufeff "'), kept=1, dropped=("empty_answer",)),
    Case("empty object", "a.jsonl", GOOD + b"{}\n", kept=1, dropped=("unknown_format",)),
    Case("empty key", "a.jsonl", b'{"": "x", "prompt": "Q", "answer": "A"}\n', kept=1),
    Case("key of 100,000 characters", "a.jsonl", GOOD + b'{"' + b"k" * 100_000 + b'": 1}\n', kept=1, dropped=("unknown_format",)),
    Case("object of 10,000 keys", "a.jsonl", GOOD + json.dumps({f"k{n}": n for n in range(10_000)}).encode() + b"\n", kept=1, dropped=("unknown_format",)),
    Case("keys that differ in case", "a.jsonl", b'{"Prompt": "Q", "ANSWER": "A"}\n', kept=1),
    Case("terminal escape in a reason", "a.jsonl", GOOD + messages(r'[{"role": "\u001b[2J", "content": "x"}]'), kept=1, dropped=("unknown_role",)),
    Case("duplicate", "a.jsonl", GOOD + OTHER + b'{"prompt": " q ", "answer": "a"}\n', kept=2, dropped=("duplicate",)),
]

TURNS = [
    Case(name, "a.jsonl", GOOD + messages(value), kept=1, dropped=(reason,), detail=detail)
    for name, value, reason, detail in [
        ("messages that are nothing", "null", "does_not_fit", ""),
        ("messages that are a text", '"Hi"', "does_not_fit", ""),
        ("messages that are a number", "7", "does_not_fit", ""),
        ("messages that are an object", '{"role": "user", "content": "x"}', "does_not_fit", ""),
        ("no messages", "[]", "no_answer", ""),
        ("messages that are numbers", "[1, 2]", "does_not_fit", "turn 1 is a number"),
        ("messages that are lists", '[["user", "Hi"]]', "does_not_fit", "turn 1 is a list"),
        ("a message that is nothing", '[{"role": "user", "content": "x"}, null]', "does_not_fit", "turn 2 is a null"),
        ("a message without a role", '[{"content": "x"}]', "does_not_fit", "doesn't say who speaks"),
        ("a role that is nothing", '[{"role": null, "content": "x"}]', "unknown_role", ""),
        ("a role that is a number", '[{"role": 1, "content": "x"}]', "unknown_role", "`1`"),
        ("a role that is a list", '[{"role": ["user"], "content": "x"}]', "unknown_role", ""),
        ("a role that nobody knows", '[{"role": "narrator", "content": "x"}]', "unknown_role", "`narrator`"),
        ("a message without content", '[{"role": "user"}]', "does_not_fit", "has no text"),
        (
            "content that is a number",
            '[{"role": "user", "content": "x"}, {"role": "assistant", "content": {"a": 1}}]',
            "does_not_fit",
            "turn 2",
        ),
        (
            "content of a picture",
            '[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}, {"role": "assistant", "content": "A"}]',
            "not_text",
            "not text",
        ),
        (
            "content of an empty part",
            '[{"role": "user", "content": [{}]}, {"role": "assistant", "content": "A"}]',
            "does_not_fit",
            "not text",
        ),
        ("only a question", '[{"role": "user", "content": "x"}]', "no_answer", "no turn of the assistant"),
        (
            "an answer of blanks",
            '[{"role": "user", "content": "x"}, {"role": "assistant", "content": "  "}]',
            "empty_answer",
            "",
        ),
        (
            "tool calls that are no list",
            '[{"role": "user", "content": "x"}, {"role": "assistant", "content": "A", "tool_calls": 7}]',
            "does_not_fit",
            "`tool_calls` of turn 2",
        ),
    ]
]

CUT_LINES = [
    Case(f"lines cut at byte {at}", "a.jsonl", (GOOD + OTHER + THIRD)[:at], kept=(GOOD + OTHER + THIRD)[:at].count(b"}"), dropped=() if (GOOD + OTHER + THIRD)[:at].rstrip().endswith(b"}") else ("invalid_json",))
    for at in (31, 32, 33, 38, 42, 46, 50, 57, 62, 63, 64, 65, 80, 95)
]

ARRAY = b"[" + GOOD.rstrip() + b", " + OTHER.rstrip() + b", " + THIRD.rstrip() + b"]"
CUT_ARRAYS = [
    Case(f"array cut at byte {at}", "a.json", ARRAY[:at], kept=ARRAY[:at].count(b"}"), dropped=("invalid_json",), detail="the rest of the file is not read")
    for at in (31, 32, 33, 34, 40, 48, 55, 64, 65, 66, 67, 75, 90, len(ARRAY) - 1)
]

DOCUMENTS_OF_JSON = [
    Case("nesting of 10,000 in an array", "a.json", b"[" + GOOD + b"," + DEEP + b"]", kept=1, dropped=("nested_too_deep",)),
    Case("nesting of 10,000 as the file", "a.json", b'{"a": ' + DEEP + b"}", error="nested too deep"),
    Case("mixed items in an array", "a.json", b"[" + GOOD + b", 7, null]", kept=1, dropped=("not_an_object",) * 2, detail="a JSON number"),
    Case("lists in an array", "a.json", b"[" + GOOD + b", [1], []]", kept=1, dropped=("not_an_object",) * 2, detail="a JSON list"),
    Case("trailing comma", "a.json", b"[" + GOOD + b",]", kept=1),
    Case("two commas", "a.json", b"[" + GOOD + b",," + OTHER + b"]", kept=1, dropped=("invalid_json",), detail="expecting value"),
    Case("no comma", "a.json", b"[" + GOOD + OTHER + b"]", kept=2),
    Case("semicolon for a comma", "a.json", b"[" + GOOD + b";" + OTHER + b"]", kept=1, dropped=("invalid_json",), detail="expecting ',' or the end of the list"),
    Case("array without end", "a.json", b"[" + GOOD + b"," + OTHER, kept=2, dropped=("invalid_json",)),
    Case("text behind the array", "a.json", b"[" + GOOD + b"] tail", kept=1, dropped=("invalid_json",), detail="expecting the end of the file"),
    Case("two arrays", "a.json", b"[" + GOOD + b"]\n[" + OTHER + b"]", kept=2),
    Case("ten thousand empty arrays", "a.json", b"[]" * 10_000 + b"[" + GOOD + b"]", kept=1),
    Case("damage in a record on lines of its own", "a.json", json.dumps([{"prompt": f"Q{n}", "answer": f"A{n}"} for n in range(5)], indent=2).replace('"A2"', "A2").encode(), kept=4, dropped=("invalid_json",), detail="expecting value on line 12, column 15"),
    Case("two damaged records, one to a line", "a.json", b"[\n" + b",\n".join([GOOD.rstrip(), b'{"prompt": "Q4", "answer": }', OTHER.rstrip(), b'{"prompt" "Q5"}', THIRD.rstrip()] ) + b"\n]", kept=3, dropped=("invalid_json",) * 2),
    Case("object without end", "a.json", b'{"prompt": "Q", "answer": "A"', error="not valid JSON: expecting ',' delimiter on line 1, column 30"),
    Case("object with a tail", "a.json", b'{"prompt": "Q", "answer": "A"} tail', error="not valid JSON: extra data on line 1, column 32"),
    Case("a number as the file", "a.json", b"42", error="holds a single number, not a list of records"),
    Case("a text as the file", "a.json", b'"rows"', error="holds a single text, not a list of records"),
    Case("null as the file", "a.json", b"null", error="holds a single null, not a list of records"),
    Case("true as the file", "a.json", b"true", error="holds a single true or false, not a list of records"),
    Case("NaN as the file", "a.json", b"NaN", error="holds a single number, not a list of records"),
    Case("empty array", "a.json", b"[]", error="no row in this file"),
    Case("empty object as the file", "a.json", b"{}", error="no row in this file"),
    Case("columns of different lengths", "a.json", b'{"prompt": ["Q", "Q2"], "answer": ["A"]}', error="their lengths differ"),
    Case("objects over several lines, one after the other", "a.json", b'{\n"prompt": "Q",\n"answer": "A"\n}\n{\n"prompt": "Q2",\n"answer": "A2"\n}\n', kept=2),
    Case("objects on lines, called JSON", "a.json", GOOD + b"bad\n" + OTHER, kept=2, dropped=("invalid_json",), detail="expecting value at column 1"),
    Case("first of several lines damaged, called JSON", "a.json", b'{"prompt": \n' + GOOD, kept=1, dropped=("invalid_json",)),
    Case("JSON over several lines, called JSONL", "a.jsonl", b'{\n"prompt": "Q",\n"answer": "A"\n}\n', kept=1),
    Case("array called JSONL", "a.jsonl", b"[\n" + GOOD + b",\n" + OTHER + b"]", kept=2),
    Case("only brackets", "a.json", b"[[[[", error="none of the 1 rows can be read; the first: expecting value"),
    Case("a page called JSON", "a.json", b"<html><body>404 Not Found</body></html>", error="not valid JSON: expecting value on line 1, column 1"),
    Case("a script around JSON", "a.json", b"var rows = [1];", error="not valid JSON: expecting value on line 1, column 1"),
    Case("a BOM in the middle of an array", "a.json", b"[" + GOOD + b",\xef\xbb\xbf" + OTHER + b"]", kept=2),
    Case("records under ids, one of them none", "a.json", b'{"1": {"prompt": "Q", "answer": "A"}, "2": 7}', error="no row has columns that luthier knows; the columns are `1`, `2`"),
]


# Tables --------------------------------------------------------------------------------------------------------------

QUOTES = [
    Case("unclosed quote", "a.csv", CSV + b'Q3,"open\nQ4,A4\n', kept=2, dropped=("broken_quotes",), detail="unexpected end of data"),
    Case("unclosed quote at the end", "a.csv", CSV + b'Q3,"open', kept=1, dropped=("broken_quotes",)),
    Case("quote inside a quoted cell", "a.csv", CSV + b'Q3,"a "b" c"\n', kept=1, dropped=("broken_quotes",), detail="',' expected after"),
    Case("backslash before a quote", "a.csv", CSV + b'Q3,"a \\"b\\" c"\n', kept=1, dropped=("broken_quotes",)),
    Case("text behind a quoted cell", "a.csv", CSV + b'Q3,"A3" yes\n', kept=1, dropped=("broken_quotes",), detail="',' expected after"),
    Case("blank before a quote", "a.csv", CSV + b'Q3, "A3"\n', kept=2),
    Case("quote in the middle of a cell", "a.csv", CSV + b'Q3,6" pipe\n', kept=2),
    Case("three unclosed quotes", "a.csv", CSV + b'"x,1\nQ4,A4\n"y,1\nQ5,A5\n"z,1\n', kept=3, dropped=("broken_quotes",) * 3),
    Case("cell of 1 MB", "a.csv", b"prompt,answer\nQ," + b"y" * 1_000_000 + b"\n", kept=1),
    Case("cell of 3,000 lines", "a.csv", CSV + b'Q3,"' + b"y\n" * 3000 + b'"\n', kept=2),
    Case("too few cells", "a.csv", CSV + b"Q3\n", kept=1, dropped=("wrong_columns",), detail="1 cell, the header has 2 columns"),
    Case("too many cells", "a.csv", CSV + b"Q3,A,B\n", kept=1, dropped=("wrong_columns",), detail="3 cells, the header has 2 columns"),
    Case("too many cells, but empty", "a.csv", CSV + b"Q3,A3,,,\n", kept=2),
    Case("line of commas", "a.csv", CSV + b",\n", kept=1, dropped=("empty_answer",)),
    Case("line of many commas", "a.csv", CSV + b"," * 50_000 + b"\n", kept=1, dropped=("empty_answer",)),
    Case("another separator on one line", "a.csv", CSV + b"Q3;A3\n", kept=1, dropped=("wrong_columns",)),
    Case("header twice", "a.csv", CSV + b"prompt,answer\n", kept=2),
    Case("quoted header", "a.csv", b'"prompt"; "answer" \nQ;A\n', error="columns"),
    Case("spaces around header names", "a.csv", b"prompt , answer\nQ,A\n", kept=1),
    Case("upper-case header", "a.csv", b"PROMPT,Answer\nQ,A\n", kept=1),
    Case("header with an empty name", "a.csv", b"prompt,,answer\nQ,x,A\n", kept=1),
    Case("header with one name twice", "a.csv", b"prompt,prompt,answer\nQ,x,A\n", kept=1),
    Case("header wider than the rows", "a.csv", b"prompt,answer,note\nQ,A\nQ2,A2,x\n", kept=1, dropped=("wrong_columns",), detail="2 cells, the header has 3 columns"),
    Case("header of 5,000 names", "a.csv", b"prompt,answer," + b",".join(b"c%d" % n for n in range(5000)) + b"\nQ,A" + b",x" * 5000 + b"\n", kept=1),
    Case("header over two lines", "a.csv", b'"prompt\n",answer\nQ,A\n', kept=1),
    Case("header of NULs", "a.csv", b"prompt\0,answer\nQ,A\n", error="no row has columns that luthier knows"),
    Case("broken header", "a.csv", b'"prompt,answer\nQ,A\n', error="the header can't be read: unexpected end of data"),
    Case("header that is no text", "a.csv", "ä,öüßÄÖÜäöüß".encode() + b"\xff\nQ,A\n", error="the header can't be read: not utf-8"),
    Case("formula", "a.csv", CSV + b"=cmd|' /C calc'!A0,A\n", kept=2),
    Case("separator told by Excel", "a.csv", b"sep=|\nprompt|answer\nQ|A\n", kept=1),
    Case("separator told by Excel and nothing else", "a.csv", b"sep=;\n", error="no row in this file"),
    Case("tabs called CSV", "a.csv", b"prompt\tanswer\nQ, or not\tA\n", kept=1),
    Case("commas called TSV", "a.tsv", b"prompt,answer\nQ,A\n", kept=1),
    Case("no header", "a.tsv", b"How many are two and two?\t4\nAnd three?\t6\n", kept=2),
    Case("JSON called CSV", "a.csv", GOOD, error="no row in this file"),
    Case("a page called CSV", "a.csv", b"<html>\n<body>\n404\n</body>\n</html>\n", error="no row has columns that luthier knows; the columns are `<html>`"),
    Case("one column", "a.csv", b"prompt\nQ\nQ2\n", error="no row has columns that luthier knows; the columns are `prompt`"),
    Case("only a separator", "a.csv", b",\n", error="no row in this file"),
    Case("only a quotation mark", "a.csv", b'"', error="the header can't be read"),
]

NOTHING = [
    Case("empty file", "a.jsonl", b"", error="the file is empty"),
    Case("empty CSV", "a.csv", b"", error="the file is empty"),
    Case("empty Parquet file", "a.parquet", b"", error="the file is empty"),
    Case("blank file", "a.jsonl", b"\n \n", error="no row in this file"),
    Case("blank JSON file", "a.json", b"\n \n", error="not valid JSON: expecting value on line 3, column 1"),
    Case("blank CSV", "a.csv", b"\n\n\n", error="no row in this file"),
    Case("BOM and nothing else", "a.csv", b"\xef\xbb\xbf", error="no row in this file"),
    Case("BOM and nothing else in JSONL", "a.jsonl", b"\xef\xbb\xbf", error="no row in this file"),
    Case("BOM of UTF-16 and nothing else", "a.csv", b"\xff\xfe", error="no row in this file"),
    Case("header and nothing else", "a.csv", b"prompt,answer\n", error="no row in this file"),
    Case("one newline", "a.ndjson", b"\n", error="no row in this file"),
    Case("no readable row", "a.jsonl", b"hello\nworld\n", error="none of the 2 rows can be read; the first: expecting value at column 1"),
    Case("nothing left", "a.jsonl", answer('""') * 2, error="no row is left of 2: 2 empty_answer"),
    Case("random bytes", "a.dat", bytes(range(256)) * 4, error="this is no text and no kind of file that is read"),
    Case("random bytes under another name", "a.jsonl", bytes(range(256)) * 4, error="can be read"),
    Case("zeros", "a.jsonl", b"\0" * 5000, error="can be read"),
]


def table(write: Callable[[pl.DataFrame, io.BytesIO], object], frame: pl.DataFrame | None = None) -> bytes:
    target = io.BytesIO()
    write(pl.DataFrame({"prompt": ["Q", "Q2"], "answer": ["A", "A2"]}) if frame is None else frame, target)
    return target.getvalue()


PARQUET = table(pl.DataFrame.write_parquet)
FEATHER = table(pl.DataFrame.write_ipc)
STREAM = table(pl.DataFrame.write_ipc_stream)
NO_ROWS = pl.DataFrame({"prompt": [], "answer": []}, schema={"prompt": pl.String, "answer": pl.String})
SHEET = workbook({"Rows": [["prompt", "answer"], ["Q", "A"], ["Q2", "A2"]]})
BROKEN = "none of the 1 rows can be read; the first: "

TABLES = [
    Case("Parquet", "a.parquet", PARQUET, kept=2),
    Case("Parquet under another name", "a.csv", PARQUET, kept=2),
    Case("Parquet without rows", "a.parquet", table(pl.DataFrame.write_parquet, NO_ROWS), error="no row in this file"),
    Case("Parquet without columns", "a.parquet", table(pl.DataFrame.write_parquet, pl.DataFrame()), error="no row in this file"),
    Case("Parquet with nulls", "a.parquet", table(pl.DataFrame.write_parquet, pl.DataFrame({"prompt": ["Q", None], "answer": ["A", None]})), kept=1, dropped=("empty_answer",)),
    Case("Parquet with lists as answers", "a.parquet", table(pl.DataFrame.write_parquet, pl.DataFrame({"prompt": ["Q"], "answer": [[[1]]]})), error="no row is left of 1"),
    Case("Parquet with strange columns", "a.parquet", table(pl.DataFrame.write_parquet, pl.DataFrame({"x": [1], "y": [2]})), error="no row has columns that luthier knows; the columns are `x`, `y`"),
    Case("Parquet with NaN as answers", "a.parquet", table(pl.DataFrame.write_parquet, pl.DataFrame({"prompt": ["Q", "Q2"], "answer": [float("nan"), 2.0]})), kept=1, dropped=("empty_answer",)),
    *(
        Case(f"Parquet cut at {share:.0%}", "a.parquet", PARQUET[: int(len(PARQUET) * share)], error=f"{BROKEN}parquet: File out of specification")
        for share in (0.1, 0.5, 0.9, 0.99)
    ),
    Case("text called Parquet", "a.parquet", GOOD, kept=1),
    Case("nothing but the mark of Parquet", "a.parquet", b"PAR1", error=f"{BROKEN}parquet: File out of specification"),
    Case("mark of Parquet twice", "a.parquet", b"PAR1\0\0\0\0PAR1", error=BROKEN),
    Case("zeros inside Parquet", "a.parquet", PARQUET[:4] + b"\0" * (len(PARQUET) - 12) + PARQUET[-8:], error=BROKEN),
    Case("Feather", "a.feather", FEATHER, kept=2),
    Case("Feather without rows", "a.feather", table(pl.DataFrame.write_ipc, NO_ROWS), error="no row in this file"),
    *(
        Case(f"Feather cut at {share:.0%}", "a.feather", FEATHER[: int(len(FEATHER) * share)], error=f"{BROKEN}out-of-spec: InvalidFooter")
        for share in (0.1, 0.5, 0.9)
    ),
    Case("Arrow stream", "a.arrow", STREAM, kept=2),
    Case("Arrow stream without rows", "a.arrow", table(pl.DataFrame.write_ipc_stream, NO_ROWS), error="no row in this file"),
    *(
        Case(f"Arrow stream cut at {share:.0%}", "a.arrow", STREAM[: int(len(STREAM) * share)], error=f"{BROKEN}the last message ends early")
        for share in (0.1, 0.5, 0.9)
    ),
    Case("garbage behind the first message of a stream", "a.arrow", STREAM[:100] + b"garbage" * 40, error=BROKEN),
    Case("workbook", "a.xlsx", SHEET, kept=2),
    Case("workbook called XLS", "a.xls", SHEET, kept=2),
    Case("workbook without rows", "a.xlsx", workbook({"Rows": []}), error="no row in this file"),
    Case("workbook with a header and nothing else", "a.xlsx", workbook({"Rows": [["prompt", "answer"]]}), error="no row in this file"),
    Case("workbook with blank rows", "a.xlsx", workbook({"Rows": [[], ["prompt", "answer"], [], ["Q", "A"], [], ["Q2", None]]}), kept=1, dropped=("empty_answer",)),
    Case("workbook with numbers for answers", "a.xlsx", workbook({"Rows": [["prompt", "answer"], ["Q", 4], ["Q2", True]]}), kept=2),
    Case("workbook whose only sheet is hidden", "a.xlsx", workbook({"Rows": [["prompt", "answer"], ["Q", "A"]]}, hidden="Rows"), error="no row in this file"),
    Case("two sheets, one of notes", "a.xlsx", workbook({"Rows": [["prompt", "answer"], ["Q", "A"]], "Notes": [["who", "when"], ["Ann", "now"]]}), kept=1, dropped=("unknown_format",)),
    *(
        Case(f"workbook cut at {share:.0%}", "a.xlsx", SHEET[: int(len(SHEET) * share)], error="a damaged zip: file is not a zip file")
        for share in (0.2, 0.5, 0.9)
    ),
    Case("workbook without its sheet", "a.xlsx", zipped({"xl/workbook.xml": "<workbook/>"}), error="can be read"),
    Case("workbook of broken XML", "a.xlsx", zipped({"xl/workbook.xml": "<workbook><sheets><sheet"}), error="can be read"),
    Case("spreadsheet of nothing", "a.ods", zipped({"mimetype": "application/vnd.oasis.opendocument.spreadsheet", "content.xml": ""}), error="can be read"),
    Case("mark of the old Excel and nothing else", "a.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, error=BROKEN),
    Case("text called Excel", "a.xlsx", CSV, kept=1),
    Case("a Word document", "a.xlsx", zipped({"word/document.xml": "<document/>"}), error="this is a Word document, which is not read"),
    Case("a presentation", "a.zip", zipped({"ppt/presentation.xml": "<presentation/>"}), error="this is a presentation, which is not read"),
]

# Packed --------------------------------------------------------------------------------------------------------------

MANY = b"".join(f'{{"prompt": "Q{n}", "answer": "A{n * 7919 % 1000}"}}\n'.encode() for n in range(50))
ENDS = {
    ".gz": "compressed file ended before",
    ".bz2": "compressed file ended before",
    ".xz": "compressed file ended before",
    ".zst": "the last frame ends early",
}
PACK: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.compress,
}


def flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :]


PACKED = [
    *(Case(f"lines in {name}", f"a.jsonl{name}", pack(MANY), kept=50) for name, pack in PACK.items()),
    *(Case(f"{name} twice over", f"a.jsonl{name}{name}", pack(pack(MANY)), kept=50) for name, pack in PACK.items()),
    *(
        Case(f"{name} three times over", f"a.jsonl{name}", pack(pack(pack(MANY))), error="packed more than twice")
        for name, pack in PACK.items()
    ),
    *(
        Case(f"two {name} one after the other", f"a.jsonl{name}", pack(GOOD) + pack(OTHER), kept=2)
        for name, pack in PACK.items()
    ),
    *(Case(f"{name} that was unpacked already", f"a.jsonl{name}", GOOD, kept=1) for name in PACK),
    *(
        Case(f"{name} under a name that says nothing of it", "a.jsonl", pack(GOOD), kept=1)
        for name, pack in PACK.items()
    ),
    *(
        Case(f"{name} of nothing", f"a.jsonl{name}", pack(b""), error="no row in this file")
        for name, pack in PACK.items()
    ),
    *(
        Case(f"{name} cut at 80%", f"a.csv{name}", pack(CSV * 9)[: len(pack(CSV * 9)) * 4 // 5], error="can be read")
        for name, pack in PACK.items()
        if name in (".bz2", ".zst")
    ),
    *(
        Case(f"{name} without its last bytes", f"a.jsonl{name}", pack(MANY)[:-4], kept=50, dropped=("damaged",), detail=ENDS[name])
        for name, pack in PACK.items()
        if name in (".gz", ".xz")
    ),
    *(
        Case(f"{name} cut behind its head", f"a.jsonl{name}", pack(MANY)[:14], error=f"{BROKEN}{ENDS[name]}")
        for name, pack in PACK.items()
    ),
    Case("gz with a wrong checksum", "a.jsonl.gz", flipped(gzip.compress(MANY), -6), kept=50, dropped=("damaged",), detail="CRC check failed"),
    Case("gz with a wrong length", "a.jsonl.gz", flipped(gzip.compress(MANY), -2), kept=50, dropped=("damaged",), detail="incorrect length of data produced"),
    Case("gz with garbage behind it", "a.jsonl.gz", gzip.compress(MANY) + b"garbage", kept=50, dropped=("damaged",), detail="not a gzipped file"),
    Case("gz with zeros behind it, as tapes have them", "a.jsonl.gz", gzip.compress(MANY) + b"\0" * 512, kept=50),
    Case("gz of another method", "a.jsonl.gz", b"\x1f\x8b\x07" + gzip.compress(GOOD)[3:], error="can be read"),
    Case("gzip called JSONL", "a.jsonl", b"\x1f\x8b\x08\x00" + bytes(range(200)), error="can be read"),
    Case("xz with a wrong head", "a.jsonl.xz", flipped(lzma.compress(MANY), 8), error=f"{BROKEN}corrupt input data"),
    Case("zst with a wrong head", "a.jsonl.zst", zstandard.compress(MANY)[:4] + b"\xff" * 20, error="can be read"),
    Case("zst with garbage behind it", "a.jsonl.zst", zstandard.compress(MANY) + b"garbage", kept=50, dropped=("damaged",), detail="Unknown frame descriptor"),
    Case("bz2 with a wrong block", "a.jsonl.bz2", flipped(bz2.compress(MANY), 40), error=f"{BROKEN}invalid data stream"),
    Case("zip", "a.zip", zipped({"a.jsonl": GOOD, "b.csv": CSV.replace(b"Q", b"R")}), kept=2),
    Case("zip under another name", "a.jsonl", zipped({"a.jsonl": GOOD}), kept=1),
    Case("zip of nothing", "a.zip", zipped({}), error="no data file in this zip"),
    Case("zip of folders", "a.zip", zipped({"a/": b"", "b/c/": b""}), error="no data file in this zip"),
    Case("zip without data", "a.zip", zipped({"a.png": b"x", "b.py": b"y"}), error="no data file in this zip"),
    Case("zip with an empty member", "a.zip", zipped({"a.jsonl": b""}), error="the file is empty"),
    Case("zip with ways out", "a.zip", zipped({"../../../etc/a.jsonl": GOOD, "/tmp/b.jsonl": OTHER, "..\\c.jsonl": THIRD}), kept=3),
    Case("zip of one file without extension", "a.zip", zipped({"rows": GOOD}), kept=1),
    Case("zip in a zip", "a.zip", zipped({"b.zip": zipped({"a.jsonl": GOOD})}), error="a zip inside another file"),
    Case("zip in gz", "a.zip.gz", gzip.compress(zipped({"a.jsonl": GOOD})), error="a zip inside another file"),
    Case("gz in a zip", "a.zip", zipped({"a.jsonl.gz": gzip.compress(GOOD)}), kept=1),
    Case("Parquet in a zip", "a.zip", zipped({"a.parquet": PARQUET}), kept=2),
    Case("zip with names that drive a terminal", "a.zip", zipped({"\x1b[2Ja\n.jsonl": GOOD + b"bad\n"}), kept=1, dropped=("invalid_json",)),
    *(
        Case(f"zip cut at {share:.0%}", "a.zip", zipped({"a.jsonl": MANY})[: int(400 * share)], error="a damaged zip: file is not a zip file")
        for share in (0.1, 0.5)
    ),
    Case("zip with a wrong checksum", "a.zip", zipped({"a.jsonl": MANY}, damaged="checksum"), error=f"{BROKEN}bad CRC-32"),
    Case("zip with a damaged member", "a.zip", zipped({"a.jsonl": MANY}, damaged="content"), error="can be read"),
    Case("encrypted zip", "a.zip", zipped({"a.jsonl": GOOD}, damaged="encrypted"), error="encrypted, which luthier can't read"),
    Case("zip of an unknown method", "a.zip", zipped({"a.jsonl": GOOD}, damaged="method"), error="that compression method is not supported"),
    Case("zip whose table of contents lies about a place", "a.zip", zipped({"a.jsonl": GOOD}, damaged="place"), error="damaged"),
    Case("tar", "a.tar", b"a.jsonl" + b"\0" * 250 + b"ustar\x0000" + b"\0" * 300, error="this is a tar archive, which is not read"),
    Case("tar in gz", "a.tar.gz", gzip.compress(b"a.jsonl" + b"\0" * 250 + b"ustar\x0000" + b"\0" * 300), error="this is a tar archive, which is not read"),
]

OTHERS = [
    Case(f"{what} called JSONL ({start[:3].hex()})", "a.jsonl", start + b"rest", error=f"this is {what}, which is not read")
    for start, what in [
        (b"%PDF-1.7\n", "a PDF"),
        (b"\x89PNG\r\n\x1a\n", "a picture"),
        (b"\xff\xd8\xff\xe0", "a picture"),
        (b"SQLite format 3\0", "an SQLite database"),
        (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
        (b"Rar!\x1a\x07", "a RAR archive"),
        (b"\x7fELF", "a program"),
        (b"\x80\x04\x95", "a pickle, which could run code"),
    ]
]

DOCUMENTS = [
    Case("text", "a.txt", b"Once upon a time", kept=1, rows="text"),
    Case("text of other bytes", "a.txt", b"Once \xff\xfe\x00 upon " + bytes(range(128, 160)) * 9, kept=1, rows="text"),
    Case("page without an end", "a.html", b"<html><body><p>Once <b>upon", kept=1, rows="text"),
    Case("page of scripts", "a.html", b"<html><script>alert(1)</script><style>p{}</style></html>", error="no row is left of 1: 1 empty_text", rows="text"),
    Case("page that is none", "a.html", b"Once upon a time", kept=1, rows="text"),
    Case("page of 20,000 open tags", "a.html", b"<div>" * 20_000 + b"Once", error="no row is left of 1: 1 nested_too_deep", rows="text"),
    Case("page of 4,000 open tags", "a.html", b"<div>" * 4000 + b"Once", kept=1, rows="text"),
    Case("page of brackets", "a.html", b"<" * 100_000 + b"Once", kept=1, rows="text"),
    Case("text in gz, cut", "a.txt.gz", gzip.compress(b"Once upon a time" * 99)[:30], error="no row is left of 1: 1 damaged", rows="text"),
    Case("nothing but blanks", "a.md", b" \n\t\n", error="no row is left of 1: 1 empty_text", rows="text"),
    Case("text for an objective of conversations", "a.txt", b"Once upon a time", error="this file is plain text, which the objective doesn't learn from"),
    Case("page for an objective of conversations", "a.html", b"<html>Once</html>", error="this file is plain text, which the objective doesn't learn from"),
    Case("prose without an extension", "story", b"Once upon a time, it was.\nAnd then, no more.\n", error="this file is plain text, which the objective doesn't learn from"),
]

CASES = [
    *ENCODED,
    *VALUES,
    *TURNS,
    *CUT_LINES,
    *CUT_ARRAYS,
    *DOCUMENTS_OF_JSON,
    *QUOTES,
    *NOTHING,
    *TABLES,
    *PACKED,
    *OTHERS,
    *DOCUMENTS,
]
