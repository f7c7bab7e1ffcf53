"""`{"translation": {"en": …, "de": …}}`, a column for each language, or texts beside columns that name their languages.

The first is translated to the second.

The user asks for the translation in English, naming both languages, as nothing in the row does.
"""

from collections.abc import Mapping
from typing import Any

from luthier.core.example import Message
from luthier.core.text import one_line, plural
from luthier.data.formats import completion
from luthier.data.formats.parts import Parts
from luthier.data.formats.turns import columns_of, text_of
from luthier.data.readers.json_text import a_kind
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


SIDES = ("source", "target")
NAMED = {
    "source": ("source", "src", "source_text", "source_sentence", "text"),
    "target": ("target", "tgt", "target_text", "target_sentence", "translation"),
    "source_language": ("source_language", "source_lang", "src_language", "src_lang"),
    "target_language": ("target_language", "target_lang", "tgt_language", "tgt_lang"),
}
"""Columns of two texts, and those that name the language of each."""


def columns(names: Mapping[str, str]) -> dict[str, str] | None:
    """Return the columns with texts and languages, the one with both, or exactly two called by languages.

    Those called by languages mean a translation only where no column asks and answers.
    """
    if len(found := columns_of(names, **NAMED)) == len(NAMED):
        return found
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
    if "source_language" in columns:
        source, target = ((row.get(columns[f"{side}_language"]), row.get(columns[side])) for side in SIDES)
        return _translated(source, target)
    pair: Any = row.get(columns["translation"]) if "translation" in columns else {c: row[c] for c in columns.values()}
    if not isinstance(pair, dict) or len(pair) != 2:
        held = plural(len(pair), "language") if isinstance(pair, dict) else a_kind(pair)
        return Refusal("does_not_fit", f"`{columns['translation']}` holds {held}, not a text in each of two")
    return _translated(*pair.items())


def _translated(source: tuple[Any, Any], target: tuple[Any, Any]) -> Parts | Refusal:
    """Return the request to translate, and the translation, given language and text of both."""
    found = []
    for language, text in (source, target):
        if not isinstance(language, str) or not language.strip():
            return Refusal("does_not_fit", "a language has no name")
        said = text_of(text, f"`{one_line(language, 40)}`")
        if isinstance(said, Refusal):
            return said
        found.append((_name(language), said))
    (before, asked), (after, answer) = found
    if not asked.strip():
        return Refusal("no_prompt", f"the text in {one_line(before, 40)} is empty")
    ask = f"Translate from {before} to {after}:\n\n{asked}"
    return Parts([Message("user", ask), Message("assistant", answer)])


def _name(language: str) -> str:
    """Return a language as English calls it; of an unknown code, the code."""
    key = language.strip().lower()
    return LANGUAGES.get(key) or COLUMNS.get(key) or LANGUAGES.get(key[:2] if key[2:3] in ("-", "_") else "", language)
