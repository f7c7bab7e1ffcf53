"""`{"translation": {"en": …, "de": …}}`, or a column for each language: from the first to the second.

The user asks for the translation in English, naming both languages, as nothing in the row does.
"""

from collections.abc import Mapping
from typing import Any

from luthier.core.example import Message
from luthier.core.text import one_line
from luthier.data.formats import completion
from luthier.data.formats.parts import Parts
from luthier.data.formats.turns import columns_of, text_of
from luthier.data.readers.json_text import kind
from luthier.data.rows import Refusal

LANGUAGES = {
    "af": "Afrikaans",
    "ar": "Arabic",
    "bg": "Bulgarian",
    "bn": "Bengali",
    "ca": "Catalan",
    "cs": "Czech",
    "cy": "Welsh",
    "da": "Danish",
    "de": "German",
    "el": "Greek",
    "en": "English",
    "eo": "Esperanto",
    "es": "Spanish",
    "et": "Estonian",
    "eu": "Basque",
    "fa": "Persian",
    "fi": "Finnish",
    "fr": "French",
    "ga": "Irish",
    "gl": "Galician",
    "gu": "Gujarati",
    "he": "Hebrew",
    "hi": "Hindi",
    "hr": "Croatian",
    "hu": "Hungarian",
    "hy": "Armenian",
    "id": "Indonesian",
    "is": "Icelandic",
    "it": "Italian",
    "ja": "Japanese",
    "ka": "Georgian",
    "kk": "Kazakh",
    "ko": "Korean",
    "lt": "Lithuanian",
    "lv": "Latvian",
    "mk": "Macedonian",
    "ml": "Malayalam",
    "mr": "Marathi",
    "ms": "Malay",
    "nb": "Norwegian",
    "nl": "Dutch",
    "no": "Norwegian",
    "pl": "Polish",
    "pt": "Portuguese",
    "ro": "Romanian",
    "ru": "Russian",
    "sk": "Slovak",
    "sl": "Slovenian",
    "sq": "Albanian",
    "sr": "Serbian",
    "sv": "Swedish",
    "sw": "Swahili",
    "ta": "Tamil",
    "te": "Telugu",
    "th": "Thai",
    "tr": "Turkish",
    "uk": "Ukrainian",
    "ur": "Urdu",
    "vi": "Vietnamese",
    "zh": "Chinese",
}
"""Code (ISO 639-1) to English name."""

NO_COLUMNS = ("id", "is", "it", "no")
"""Codes that are words columns are called by; they count inside `translation` only."""

COLUMNS = {
    **{code: name for code, name in LANGUAGES.items() if code not in NO_COLUMNS},
    **{name.lower(): name for name in LANGUAGES.values()},
}


def columns(names: Mapping[str, str]) -> dict[str, str] | None:
    """Return the column that holds both languages, or exactly two that are called by one and no other question."""
    if found := columns_of(names, translation=("translation",)):
        return found
    languages = [own for name, own in names.items() if name in COLUMNS]
    return (
        dict(zip(("from", "to"), languages, strict=True))
        if len(languages) == 2 and not completion.columns(names)
        else None
    )


def parts(row: Mapping[str, Any], columns: Mapping[str, str]) -> Parts | Refusal:
    """Return the text in the first language as what is asked about, and the second as the answer."""
    pair: Any = row.get(columns["translation"]) if "translation" in columns else {c: row[c] for c in columns.values()}
    if not isinstance(pair, dict) or len(pair) != 2:
        held = f"{len(pair)} languages" if isinstance(pair, dict) else f"a {kind(pair)}"
        return Refusal("does_not_fit", f"`{columns['translation']}` holds {held}, not a text in each of two")
    source, target = (text_of(text, f"`{one_line(language, 40)}`") for language, text in pair.items())
    if isinstance(source, Refusal):
        return source
    if isinstance(target, Refusal):
        return target
    if not source.strip():
        return Refusal("no_prompt", f"`{one_line(next(iter(pair)), 40)}` is empty")
    before, after = (_name(language) for language in pair)
    ask = f"Translate from {before} to {after}:\n\n{source}"
    return Parts([Message("user", ask), Message("assistant", target)])


def _name(language: str) -> str:
    """Return a language as English calls it; of an unknown code, the code."""
    key = language.strip().lower()
    return LANGUAGES.get(key) or COLUMNS.get(key) or LANGUAGES.get(key[:2] if key[2:3] in ("-", "_") else "", language)
