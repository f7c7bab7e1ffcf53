"""What the report says of private pieces and of profanity."""

from collections.abc import Mapping, Sequence

from luthier.core.report import Check
from luthier.core.text import plural
from luthier.data.clean.step import Notes
from luthier.recipe.data import Clean
from luthier.recipe.privacy import Action

NOUNS = {
    "email": "an e-mail address",
    "phone": "a phone number",
    "card": "a card number",
    "iban": "a bank account",
    "ip": "an IP address",
    "identity": "an identity number",
    "credentials": "a password in an address",
    "secret": "a secret",
    "person": "a name",
}
"""Kinds for people. Those of plug-ins go by their own name."""

SECRETS = ("credentials", "secret")

NO_TONE = "lists know no tone: profanity is not toxicity, and toxic rows need not swear"

DONE: dict[Action, str] = {
    "flag": "",
    "mask": ", masked",
    "pseudonymise": ", replaced by a stand-in",
    "drop": ", dropped",
}


def in_words(kinds: Sequence[str]) -> str:
    """Return `an e-mail address and a phone number`."""
    nouns = [NOUNS.get(kind, f"a {kind}") for kind in kinds]
    return " and ".join([", ".join(nouns[:-1]), nouns[-1]] if len(nouns) > 1 else nouns)


NOT_KEPT = Check(
    "copies",
    "note",
    "private pieces have to go, so what was piped in or came from memory is removed from the run once it is prepared",
)


def checks(options: Clean, steps: Mapping[str, Notes], *, copied: bool) -> list[Check]:
    """Return what was found and what was done about it: personal data, secrets, profanity.

    Args:
        options: What the recipe asks for.
        steps: What each step that ran has to tell.
        copied: Whether sources are copies that luthier made in the run.
    """
    told = []
    if notes := steps.get("privacy"):
        actions = options.privacy.actions()
        personal = [kind for kind in actions if kind not in SECRETS]
        if options.privacy.removes and copied:
            told.append(NOT_KEPT)
        told += [
            _check("personal_data", "no personal data seen that has a form of its own", personal, actions, notes),
            _check("secrets", "no key, token or password seen", SECRETS, actions, notes),
        ]
    if notes := steps.get("profanity"):
        told.append(_profanity(options.profanity, notes))
    return told


def _check(name: str, fine: str, kinds: Sequence[str], actions: Mapping[str, Action], notes: Notes) -> Check:
    found = [kind for kind in kinds if notes.found[kind]]
    if not found:
        return Check(name, "ok", fine)
    told = "; ".join(
        f"{plural(notes.found[kind], 'row')} with {NOUNS.get(kind, f'a {kind}')}{DONE[actions[kind]]},"
        f" first {notes.first[kind]}"
        for kind in found
    )
    left = [kind for kind in found if actions[kind] == "flag"]
    if not left:
        return Check(name, "note", told)
    return Check(
        name,
        "warning",
        f"{told}; the model may repeat what stays",
        f"`--set data.clean.privacy.{left[0]}=mask`, or `pseudonymise`, or `drop`; `off` if it may stay",
    )


def _profanity(action: Action, notes: Notes) -> Check:
    count = notes.found["profanity"]
    if not count:
        return Check("profanity", "ok", f"no word from the lists of profanity; {NO_TONE}")
    details = f"{plural(count, 'row')} with profanity{DONE[action]}, first {notes.first['profanity']}; {NO_TONE}"
    return Check("profanity", "note", details, "" if DONE[action] else "`--set data.clean.profanity=mask`, or `drop`")
