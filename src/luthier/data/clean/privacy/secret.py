"""Keys, tokens and passwords: by how their makers write them, and by what stands before them."""

import math
import re
from collections import Counter
from collections.abc import Iterator

BLOCK = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----(?:[^-]|-(?!-)){20,}"
    r"(?:-----END [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----)?"
)
"""A private key as PEM (RFC 7468), also where its end is missing."""

MADE_BY = re.compile(
    r"(?<![A-Za-z0-9_])(?:"
    r"sk-(?:proj-|svcacct-|admin-|ant-(?:api|admin)\d\d-|or-v1-)?[A-Za-z0-9_-]{20,}"  # OpenAI, Anthropic, OpenRouter
    r"|(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}(?![A-Za-z0-9])"  # AWS
    r"|gh[opsur]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,}|glpat-[A-Za-z0-9_-]{20,}"  # GitHub, GitLab
    r"|xox[abeoprs]-[A-Za-z0-9-]{10,}|xapp-\d-[A-Za-z0-9-]{20,}"  # Slack
    r"|AIza[A-Za-z0-9_-]{35}|ya29\.[A-Za-z0-9_-]{20,}|GOCSPX-[A-Za-z0-9_-]{28}"  # Google
    r"|[rsp]k_(?:live|test)_[A-Za-z0-9]{16,}|whsec_[A-Za-z0-9+/=]{24,}"  # Stripe
    r"|hf_[A-Za-z0-9]{30,}|r8_[A-Za-z0-9]{37}|gsk_[A-Za-z0-9]{40,}|nvapi-[A-Za-z0-9_-]{40,}"  # models
    r"|npm_[A-Za-z0-9]{36}|pypi-[A-Za-z0-9_-]{50,}|dckr_pat_[A-Za-z0-9_-]{20,}"  # packages
    r"|SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}|(?:AC|SK)[0-9a-f]{32}|key-[0-9a-f]{32}"  # SendGrid, Twilio, Mailgun
    r"|dop_v1_[0-9a-f]{64}|dapi[0-9a-f]{32}|shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}|lin_api_[A-Za-z0-9]{32,}"
    r"|\d{8,10}:AA[A-Za-z0-9_-]{33}"  # Telegram
    r"|(?<!-)eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}"  # JWT: RFC 7519
    r")"
)

HOOK = re.compile(r"https://(?:hooks\.slack\.com/services|discord(?:app)?\.com/api/webhooks)/[A-Za-z0-9_/-]{20,}")
"""Addresses that let whoever knows them write."""

ASSIGNED = re.compile(
    r"(?:pass(?:word|wd|phrase)|pwd|secret|api[_-]?key|access[_-]?key|account[_-]?key|auth[_-]?key|private[_-]?key|"
    r"encryption[_-]?key|token|bearer|credentials?)(?:[_-]?(?:id|key|value|base64))?(?:[\"'`]{1,2}\]?)?"
    r"(?:(?:\s(?:is|was|ist|est|es|é))?\s{0,3}(?:=>|:=|[=:])\s{0,3}|\s(?:(?:is|was|ist|est|es|é)\s)?)(?:bearer\s|basic\s)?[\"'`]{0,2}"
    r"((?:[A-Za-z0-9_\-+/=.~!@#$%^*?|]|&(?!\w{1,30}=)){8,})",
    re.IGNORECASE,
)
"""What a program or a person gives as password or key. What follows must look random."""

OF_PAGES = re.compile(r"(?:next|page|pagination|continuation|change|start(?:ing)?)[_-]?$", re.IGNORECASE)
"""Before `token`: it says where a list goes on."""

WORDS = ("passw", "passphrase", "pwd", "secret", "key", "token", "bearer", "credential")
"""One of these is in every text that names a secret."""

INSTEAD = re.compile(
    r"x{3,}|\*{3,}|\.{3}|^[$%{<\[]|your|example_|placeholder|change_?me|insert|replace|dummy|redacted|not-a-secret|"
    r"process\.env|os\.environ|getenv|config|settings|self\.|this\.|request|1234567|abcdef|foobar|lorem|"
    r"^[A-Za-z_]\w{0,40}(?:\.[A-Za-z_]\w{0,40})+\(?$|\(\)?$",
    re.IGNORECASE,
)
"""What stands for a secret in instructions and code."""

LONG_WORD = re.compile(r"[A-Za-z0-9_.:+/=-]{20,}")
"""No key of a known maker is shorter."""


def secrets(text: str) -> Iterator[tuple[int, int]]:
    """Find keys, tokens and passwords."""
    found: list[tuple[int, int]] = []
    if "-----BEGIN" in text:
        found += (match.span() for match in BLOCK.finditer(text))
    for word in LONG_WORD.finditer(text):
        found += (
            match.span() for match in MADE_BY.finditer(text, *word.span()) if _is_random(match.group(), least=2.8)
        )
        found += (match.span() for match in HOOK.finditer(text, *word.span()))
    lower = text.lower()
    if any(word in lower for word in WORDS):
        found += (match.span(1) for match in ASSIGNED.finditer(text) if _is_secret(match))
    last = 0
    for start, end in sorted(found):
        if start >= last:
            yield start, end
            last = end


def _is_secret(match: re.Match[str]) -> bool:
    """Say whether what is assigned looks chosen or drawn, not like a name, a word or a placeholder."""
    value = match.group(1)
    value = value.rstrip(".,!?")
    if INSTEAD.search(value) or not any(char.isdigit() for char in value) or not any(char.isalpha() for char in value):
        return False
    if OF_PAGES.search(match.string[max(0, match.start() - 13) : match.start()]):
        return False
    named_password = match.group()[:3].lower() in ("pas", "pwd")
    if named_password and re.search(r"[=:]|\s\w+\s", match.group()[: match.start(1) - match.start()]):
        kinds = sum(any(test(char) for char in value) for test in (str.islower, str.isupper, str.isdigit, _is_sign))
        return kinds >= 3 and entropy(value) >= 2.5
    return len(value) >= 16 and _is_random(value, least=3.3)


def _is_sign(char: str) -> bool:
    return not char.isalnum()


def _is_random(value: str, *, least: float) -> bool:
    """Say whether a word is mixed as only drawn ones are: digits among letters, no letter often."""
    digits = sum(char.isdigit() for char in value)
    return digits >= 2 and entropy(value) >= least and not INSTEAD.search(value)


def entropy(text: str) -> float:
    """Return the entropy of the characters of a text, in bits a character (Shannon 1948)."""
    size = len(text)
    return -sum(count / size * math.log2(count / size) for count in Counter(text).values())
