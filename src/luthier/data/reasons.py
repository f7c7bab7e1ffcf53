"""Why rows are dropped, in words. docs/reference/reasons.md has the same table."""

from typing import NamedTuple


class Reason(NamedTuple):
    """Why rows are dropped."""

    means: str
    remedy: str
    """What to do if the row matters."""


REASONS = {
    "invalid_json": Reason(
        "not valid JSON",
        "look at the place that is named; often a quote or a comma is missing, or a line was cut off",
    ),
    "not_an_object": Reason(
        "JSON, but not an object with named values",
        'write each row as an object: `{"prompt": …, "answer": …}`',
    ),
    "nested_too_deep": Reason(
        "lists or objects nested too deep to read",
        "flatten it, or leave it out",
    ),
    "wrong_columns": Reason(
        "more or fewer cells than the header has columns",
        "put cells that hold the separator into quotation marks, or set `data.header`",
    ),
    "broken_quotes": Reason(
        "a quotation mark opens a cell and nothing closes it, or it closes inside one",
        "close the quotation mark, and double those inside a cell",
    ),
    "invalid_encoding": Reason(
        "bytes that are no text in the file's encoding",
        "save the file as UTF-8 in the program it comes from",
    ),
    "damaged": Reason(
        "the file ends early, or makes no sense from here on",
        "get the file again",
    ),
    "too_long": Reason(
        "a single row larger than luthier reads",
        "cut it into several rows",
    ),
    "unknown_format": Reason(
        "no columns that luthier knows, or none of the format or the fields asked for",
        "say which columns hold what with `data.fields`, or which objective learns from them with `train.objective`",
    ),
    "does_not_fit": Reason(
        "the columns are there, but what they hold does not fit the format",
        "correct the cell that is named, or name other columns with `data.fields`",
    ),
    "not_text": Reason(
        "a picture, a sound, a film or a file belongs to it, and a model of texts learns from texts alone",
        "describe in words what the row is about, or leave it out",
    ),
    "unknown_role": Reason(
        "a turn by a role that luthier doesn't know",
        "rename it to `system`, `user`, `assistant` or `tool`",
    ),
    "no_answer": Reason(
        "no turn of the assistant, so nothing to learn",
        "add the answer, or learn from it as plain text with `train.objective=pretrain`",
    ),
    "empty_answer": Reason(
        "nothing, or too little, in every answer",
        "add the answer; `data.clean.min_answer_chars` says what is too little",
    ),
    "empty_text": Reason(
        "nothing in the text",
        "leave it out",
    ),
    "unranked": Reason(
        "no two answers to one prompt of which one is better",
        "rank the answers, or learn from one of them with `train.objective=sft`",
    ),
    "no_parent": Reason(
        "a message that replies to none in its file",
        "add the message it replies to",
    ),
    "no_label": Reason(
        "no class, or no word on whether the answer is good",
        "add the class, or the verdict",
    ),
    "equal_endings": Reason(
        "chosen and rejected are the same, so there is nothing to prefer",
        "leave it out",
    ),
    "no_prompt": Reason(
        "nothing is asked, so nothing can be answered",
        "add what was asked, or learn from it as plain text with `train.objective=pretrain`",
    ),
    "different_prompts": Reason(
        "chosen and rejected don't answer the same prompt",
        "give both endings the same turns before them",
    ),
    "special_tokens": Reason(
        "control tokens stand in a text, and `data.clean.special_tokens` says to drop such rows",
        "set `data.clean.special_tokens` to `remove` or `neutralise` to keep such rows",
    ),
    "residue": Reason(
        "something of a prompt template is left in a text, and `data.clean.residue` says to drop such rows",
        "set `data.clean.residue` to `remove` to keep such rows",
    ),
    "wrong_order": Reason(
        "turns in an order that no conversation has",
        "put its turns in order: a tool's result behind its call",
    ),
    "below_minimum": Reason(
        "shorter than `data.clean.length` asks for",
        "lower the bound if it matters",
    ),
    "above_maximum": Reason(
        "longer than `data.clean.length` allows",
        "raise the bound if it matters, or cut it into several rows",
    ),
    "other_language": Reason(
        "in a language that `data.clean.language` doesn't keep",
        "add its language to `data.clean.language.keep` if it matters",
    ),
    "echo": Reason(
        "the answer repeats the prompt, and `data.clean.echo` says to drop such rows",
        "set `data.clean.echo` to `tell` to keep such rows",
    ),
    "refusal": Reason(
        "the answer is a refusal, and `data.clean.refusals` says to drop such rows",
        "set `data.clean.refusals` to `tell` to keep such rows",
    ),
    "repetition": Reason(
        "the answer goes round in a loop, and `data.clean.repetition` says to drop such rows",
        "set `data.clean.repetition` to `tell` to keep such rows",
    ),
    "not_unicode": Reason(
        "half a character (a lone surrogate), which no tokenizer reads",
        "repair the text where it was cut",
    ),
    "held_out": Reason(
        "equals a row that is held out by its file or its column `split`, has its prompt, or is in its group",
        "nothing: learned, it would make the measurement worthless",
    ),
    "leaked": Reason(
        "holds a question or an answer of a test set that `data.decontaminate` names",
        "nothing: learned, it would make the test worthless; `data.decontaminate.action: tell` keeps such rows",
    ),
    "private": Reason(
        "holds personal data or a secret, of a kind for which the recipe says `drop`",
        "set `data.clean.privacy` to `mask` or `pseudonymise` to keep such rows",
    ),
    "profanity": Reason(
        "holds a swear word or a slur, and the recipe says `drop`",
        "set `data.clean.profanity` to `mask` or `flag` to keep such rows",
    ),
    "duplicate": Reason(
        "equal to an earlier row once case, width and spaces are evened out",
        "nothing; set `data.clean.duplicates` to false if it is meant to weigh more",
    ),
    "near_duplicate": Reason(
        "nearly the same as an earlier row that is kept",
        "nothing; see `luthier explain data.clean.near_duplicates` if such rows should stay",
    ),
    "semantic_duplicate": Reason(
        "says nearly the same as an earlier row that is kept, by the embeddings of `data.clean.semantic_duplicates`",
        "nothing; raise `data.clean.semantic_duplicates.threshold` if such rows should stay",
    ),
}
"""Every reason. The words are part of the contract."""
