"""E-mail addresses and phone numbers."""

import re
from collections.abc import Iterator

from luthier.data.clean.privacy.hits import DATE, counts_up, digits_of, in_sum, labelled

LETTER = "A-Za-z\u00aa-\u02af\u0370-\u1fff"
IDEOGRAPH = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
"""Chinese, Japanese, Korean: nothing separates such words from an address in Latin letters beside them."""

SAID_AT = r"(?:@|\s?[\[({]\s?(?:at|AT|@)\s?[\])}]\s?)"
DOT = r"(?:\.|\s?[\[({]\s?(?:dot|DOT|\.)\s?[\])}]\s?)"

EMAIL = re.compile(
    rf"(?<![{LETTER}0-9_.+%@-])[{LETTER}0-9_%+-][{LETTER}0-9_.%+'-]{{0,63}}{SAID_AT}"
    rf"(?:[{LETTER}0-9](?:[{LETTER}0-9-]{{0,61}}[{LETTER}0-9])?{DOT}){{1,5}}([{LETTER}]{{2,24}})(?![{LETTER}0-9_@-]|\.[{LETTER}0-9])"
    rf"|[{IDEOGRAPH}]{{1,20}}@(?:[{IDEOGRAPH}{LETTER}0-9-]{{1,40}}\.){{1,3}}([{IDEOGRAPH}]{{2,4}}|[A-Za-z]{{2,24}})"
)
"""Letters of any script count, as in RFC 6531; so does `jane [at] mail [dot] org`."""

AT = ("@", "at]", "at)", "AT]", "AT)")
"""One of these is in every text with an address."""

NO_TOP_LEVEL = re.compile(
    r"png|jpe?g|gif|webp|svg|bmp|ico|css|m?js|tsx?|jsx|json|x?html?|xml|php|asp|txt|pdf|docx?|csv|exe|dll|java|class|jar|"
    r"ya?ml|local|localhost|lan|internal|example|invalid",
    re.IGNORECASE,
)
"""Ends of file names (`icon@2x.png`), and names that no address on the net has (RFC 2606, 6762).

`example` is where stand-ins live. Addresses at `example.com` are found: whoever tries luthier writes those.
"""

NOBODY = ("git@", "hg@", "svn@", "not-a-secret-")
"""Begin addresses of repositories, and passwords that are stand-ins."""


IN_ADDRESS = re.compile(r"://[^\s/@]*$")
"""What stands before the user of a machine: `ssh://jane@host.org`."""


def emails(text: str) -> Iterator[tuple[int, int]]:
    """Find e-mail addresses."""
    if not any(sign in text for sign in AT):
        return
    for match in EMAIL.finditer(text):
        top = match.group(1) or match.group(2)
        if NO_TOP_LEVEL.fullmatch(top) or match.group().startswith(NOBODY):
            continue
        if not IN_ADDRESS.search(text[max(0, match.start() - 64) : match.start()]):
            yield match.span()


CALLING_CODES = re.compile(
    r"1|7|2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]|2[1-69]\d|3[578]\d|42\d|50\d|59\d|6[7-9]\d|"
    r"800|808|8[578]\d|96\d|97\d|99[2-68]"
)
"""Country calling codes in use (ITU-T E.164). 999 is none: stand-ins begin with it."""

GAPS = " .-/(\u00a0\u2010\u2011\u2012\u2013"
GAP = "[ .\\-/\u00a0\u2010-\u2013]"
GROUPS = rf"\d{{0,14}}(?:(?:{GAP}| ?\(| ?\){GAP}?)\d{{1,12}}){{0,7}}(?!\d)"
"""Groups of digits. Every further one begins with a gap, so there is one way to read a number."""

EXTENSION = r"(?: ?(?:x|ext\.? ?)\d{1,6})?"

WITH_PLUS = re.compile(rf"\+(?<![\w+*=.-].)\(?(\d{GROUPS}){EXTENSION}", re.ASCII)
WITH_ZEROS = re.compile(rf"0(?<![\w+*=.,-].)(?<!\d[ /].)0([1-9]\d{{0,2}}{GAP}{GROUPS}){EXTENSION}", re.ASCII)

NATIONAL = re.compile(
    r"[0-9(](?<![\w.,*=+-].)(?:"
    r"(?<=\()(?:[1-9]\d\d\) ?\d{3}[ .-]\d{4}"  # (555) 010-1234
    r"|0\d{1,4}\) ?-?(?:\d{5,8}|\d{2,4}[ -]\d{3,4})"  # (020) 7946 0958
    r"|\d\d\) ?9?\d{4}-\d{4})"  # (11) 91234-5678
    r"|(?<=[1-9])\d\d(?:-\d{3}-|\.\d{3}\.)\d{4}"  # 555-010-1234
    r"|(?<=1)(?:[ .-]\([2-9]\d\d\) ?\d{3}[ .-]\d{4}|-[2-9]\d\d-\d{3}-\d{4}|\.[2-9]\d\d\.\d{3}\.\d{4})"
    r"|(?<=0)(?:[1-9]\d{8,9}|\d{2,4}[/-]\d{5,8}"  # 01711234567, 0171-1234567
    r"|\d{1,3}-\d{2,3}(?: \d{2,3}){1,2}|\d{1,4}([.-])\d{3,4}\1\d{3,4})"  # 08-170 669 07, 03-1234-5678
    r"|(?<=[78])[ -]?(?:\(\d{3,5}\)|\d{3})[ -]\d{2,3}[ -]\d\d[ -]\d\d"  # 8 (495) 123-45-67
    r"|(?<!\d[ /].)(?:(?<=0)(?:\d{2,4} (?:/ ?)?\d{5,8}"  # 0171 1234567
    r"|\d{1,4} \d{3,4} \d{3,4}"  # 020 7946 0958
    r"|[1-9](?:([ .-])\d\d)(?:\2\d\d){3})"  # 06 12 34 56 78
    r"|(?<=1)[3-9]\d([ -])\d{4}\3\d{4}"  # 138 0013 8000
    r"|(?<=[1-9])\d 9?\d{4}-\d{4})(?! \d)"  # 11 91234-5678
    rf"){EXTENSION}(?![.-]?\d)(?![\w*=+-])",
    re.ASCII,
)
"""Numbers as countries write them. Plain groups of digits are left out: they are figures more often."""

BESIDE_A_WORD = re.compile(r"[0-9(](?<![\w.,*=+$€£-].)[0-9 ().-]{5,15}[0-9](?![\w*=+]|[.,]\d)", re.ASCII)
"""Digits that are a phone number where a word before them says so."""

SAID = re.compile(
    r"(?:\b(?:(?:tele)?phones?|fax|cell(?:ular|phone)?|mobile|tel|hotline|whats ?app|call|dial|text|sms|handy|telefon|"
    r"contact|kontakt|contacto|my number(?: is)?|"
    r"t[ée]l[ée]phone|t[ée]l|m[óo]vil|tel[ée]fono|celular|telefone|телефон|тел)\b|电话|手机|電話|携帯|전화|휴대폰)"
    r"[^\d\n(+<=*\]]{0,20}$",
    re.IGNORECASE,
)


MOBILE = re.compile(r"1[3-9]\d{9}")
"""A mobile number of China in one piece; where no Chinese stands beside it, a figure as likely."""

CHINESE = re.compile("[\u4e00-\u9fff]")


def phones(text: str) -> Iterator[tuple[int, int]]:
    """Find phone numbers."""
    found = [*_international(text)]
    for match in NATIONAL.finditer(text):
        start, end = match.span()
        if _is_phone(text, start, end) and not labelled(text, start):
            found.append((start, end))
    for match in BESIDE_A_WORD.finditer(text):
        start, end = match.span()
        if _is_phone(text, start, end) and (
            SAID.search(text[max(0, start - 40) : start])
            or (MOBILE.fullmatch(match.group()) and CHINESE.search(text[max(0, start - 20) : end + 20]))
        ):
            found.append((start, end))
    last = 0
    for start, end in sorted(found, key=lambda span: (span[0], -span[1])):
        if start >= last:
            yield start, end
            last = end


def _international(text: str) -> Iterator[tuple[int, int]]:
    if "+" in text:
        for match in WITH_PLUS.finditer(text):
            if (end := _end(match)) and _is_phone(text, match.start(), end) and not _adds(text, match.start()):
                yield match.start(), end
    for match in WITH_ZEROS.finditer(text):
        if (end := _end(match)) and _is_phone(text, match.start(), end) and not labelled(text, match.start()):
            yield match.start(), end


def _end(match: re.Match[str]) -> int:
    """Return where an international number ends; 0 where it is none. Groups beyond 15 digits are another number."""
    number = match.group(1)
    if not CALLING_CODES.match(digits_of(number[:6])):
        return 0
    most = 11 if number[0] == "1" else 15
    while len(digits_of(number)) > most:
        number = number[: max(number.rfind(gap) for gap in GAPS) + 1].rstrip(GAPS + ")")
    whole = number == match.group(1)
    end = match.end() if whole else match.start(1) + len(number)
    return end if len(digits_of(number)) >= 8 else 0


TERM = re.compile(r"(?:(?<![A-Za-z0-9_.,])[\d.,]*\d|[)\]])\s?$", re.ASCII)


def _adds(text: str, start: int) -> bool:
    """Say whether a number or a bracket stands before a plus sign, and digits in one piece behind it."""
    return TERM.search(text[max(0, start - 24) : start]) is not None and not re.match(
        r"\+\d+[ .(-]", text[start : start + 6]
    )


def _is_phone(text: str, start: int, end: int) -> bool:
    number = text[start:end]
    digits = digits_of(number)
    if not 7 <= len(digits) <= 17 or len(set(digits)) < 3 or counts_up(number):
        return False
    is_time = text[end : end + 1] == ":" and text[end + 1 : end + 2].isdigit()
    return not is_time and not DATE.search(number) and not in_sum(text, start, end)
