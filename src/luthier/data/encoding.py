"""Which encoding a file is in: BOM, then strict UTF-8, then NUL and ESC bytes, then a detector on a sample.

The order is the fast one and the safe one: nearly every file ends at strict UTF-8, which is checked over the
whole file, not over a sample; but UTF-16 and ISO-2022 text passes it too, hence the look for NUL and ESC.
"""

import codecs
import re
from collections.abc import Callable, Iterator
from typing import BinaryIO

import chardet

BROKEN = "\udcff"
"""Stands for bytes that are no text in the encoding found. Rows that hold it are dropped."""

ERRORS = "luthier-broken"
"""Error handler for decoding: marks what can't be decoded instead of stopping at it."""

PUNCTUATION = frozenset(
    b"\x80\x82\x84\x85\x8b\x91\x92\x93\x94\x95\x96\x97\x99\x9b\xa0\xa3\xa7\xa9\xab\xae\xb0\xb1\xb4\xb7\xbb"
)
"""Euro sign, curly quotes, dashes and the like: the same in every Windows code page, so no sign of one of them."""

CONTROLS = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
"""Bytes that no text has, but UTF-16: Cyrillic letters begin with 04, Arabic ones with 06."""

FEW_CONTROLS = 0.02

COMMON = re.compile(
    r"[\t\n\r -~\u00a0-\u024f\u0370-\u052f\u0590-\u06ff\u0900-\u0e7f"
    r"\u2010-\u203a\u3000-\u30ff\u4e00-\u9fff\uac00-\ud7a3\uff00-\uffef]"
)
"""Characters of the scripts that most people write."""

PAUSES = ' \n"。，、'
"""Characters of which a text has at least one in a hundred, and bytes that are another encoding hardly any."""

UNSURE = 0.1
"""Confidence of the detector below which encodings that the web gave up are tried, too."""

ISO_2022 = re.compile(rb"\x1b\$(?:[@AB]|\([CD])[\x21-\x7e]+\x1b(?:\(|\.)")
"""Some characters between the codes that begin another set and end it. One code alone may be a terminal's."""

CHUNK = 1 << 18
SAMPLE = 1 << 18

BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16: FF FE begins both
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def _mark_broken(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return BROKEN, error.end


codecs.register_error(ERRORS, _mark_broken)


Content = Callable[[], BinaryIO]
"""Gives the content of a file from its beginning, each time it is called."""


def detect_encoding(content: Content) -> str:
    """Return the name of a codec that decodes the content. Reads it in pieces, once where it is UTF-8."""
    with content() as handle:
        start = handle.read(CHUNK)
    for bom, name in BOMS:
        if start.startswith(bom):
            return name
    if wide := _wide(start):
        return wide
    if _is_utf8(content):
        if len(CONTROLS.findall(start)) > FEW_CONTROLS * len(start) and (wide := _of_two_bytes(start)):
            return wide
        return "iso2022_jp_2" if start.isascii() and ISO_2022.search(start) else "utf-8"
    if wide := _of_two_bytes(start):
        return wide
    if _is_utf8_with_faults(content):
        return "utf-8"
    sample = _sample(content)
    if {byte for byte in sample if byte > 0x7F} <= PUNCTUATION:
        return "cp1252"
    modern = chardet.EncodingEra.MODERN_WEB
    found = chardet.detect(sample, encoding_era=modern, prefer_superset=True, compat_names=False)
    if (found["confidence"] or 0) < UNSURE:
        found = chardet.detect(sample, encoding_era=chardet.EncodingEra.ALL, compat_names=False)
    return _known(found["encoding"])


def _of_two_bytes(start: bytes) -> str | None:
    """Recognise UTF-16 without BOM that is not in Latin letters: it decodes to common letters, with pauses between."""
    for name in ("utf-16-le", "utf-16-be"):
        text = start[: len(start) & ~1].decode(name, "replace")
        pauses = sum(map(text.count, PAUSES))
        if pauses > len(text) / 100 and len(COMMON.findall(text)) > 0.97 * len(text):
            return name
    return None


def _wide(start: bytes) -> str | None:
    """Recognise UTF-16 and UTF-32 without BOM by where the NUL bytes of Latin letters fall."""
    length = len(start)
    if length < 4 or b"\0" not in start:
        return None
    at = [start[offset::4].count(0) / (length / 4) for offset in range(4)]
    if min(at[1:]) > 0.9 > 0.5 > at[0]:
        return "utf-32-le"
    if min(at[:3]) > 0.9 > 0.5 > at[3]:
        return "utf-32-be"
    even, odd = (at[0] + at[2]) / 2, (at[1] + at[3]) / 2
    if odd > 0.4 and even < 0.1:
        return "utf-16-le"
    if even > 0.4 and odd < 0.1:
        return "utf-16-be"
    return None


def _chunks(content: Content) -> Iterator[bytes]:
    with content() as handle:
        while chunk := handle.read(CHUNK):
            yield chunk


def _is_utf8(content: Content) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for chunk in _chunks(content):
            decoder.decode(chunk)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _is_utf8_with_faults(content: Content) -> bool:
    """Say whether most of what is not ASCII is valid UTF-8.

    A few damaged bytes must not turn a UTF-8 file into another encoding, which would garble every other row.
    Text in another encoding hardly ever forms valid UTF-8 sequences by chance.
    """
    decoder = codecs.getincrementaldecoder("utf-8")(errors="surrogateescape")
    good = bad = 0
    for chunk in _chunks(content):
        if not chunk.isascii():
            wide = [char for char in decoder.decode(chunk) if char > "\x7f"]
            faults = sum("\udc80" <= char <= "\udcff" for char in wide)
            bad += faults
            good += len(wide) - faults
    return good > 4 * bad


def _sample(content: Content) -> bytes:
    """Return the pieces of the file that say something about its encoding: those that are not plain ASCII."""
    sample = bytearray()
    for chunk in _chunks(content):
        if not chunk.isascii():
            first = next(index for index, byte in enumerate(chunk) if byte > 0x7F)
            sample += chunk[max(0, first - 2000) :]
        if len(sample) >= SAMPLE:
            break
    return bytes(sample[:SAMPLE])


def _known(name: str | None) -> str:
    try:
        return codecs.lookup(name or "cp1252").name
    except LookupError:
        return "cp1252"
