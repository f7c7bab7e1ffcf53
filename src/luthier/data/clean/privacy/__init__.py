"""Personal data and secrets: found by their form, then told, masked, replaced by stand-ins, or dropped with their row.

To add a kind: its name in `luthier.recipe.privacy` with its option, a finder, a line in `find.FINDERS`, a line in
`standins.MAKE`, a name for people in `told.NOUNS`, and snippets in the tests' truth set.
"""

from collections.abc import Mapping, Sequence

from luthier.core.example import Example
from luthier.data.clean.privacy.find import find, without
from luthier.data.clean.privacy.hiding import Show, hiding
from luthier.data.clean.privacy.hits import Hit
from luthier.data.clean.privacy.rewrite import Look, Rewriter
from luthier.data.clean.privacy.standins import StandIns
from luthier.data.clean.privacy.told import in_words
from luthier.data.clean.step import Notes, Step
from luthier.data.rows import Refusal
from luthier.recipe.options import locate
from luthier.recipe.privacy import GOES, Action, Privacy


def step(options: Privacy) -> Step | None:
    """Return the step that does with private pieces what the recipe says; None where all may stay unseen.

    Raises:
        DataError: The file with the key, or the plug-in's model, isn't there.
    """
    actions = options.actions()
    if {*actions.values()} == {"off"}:
        return None
    look = _look(options)
    stand_ins = StandIns(options.salt, options.key)

    def work(examples: Sequence[Example], notes: Notes) -> list[Example | Refusal]:
        made = notes.stand_ins if options.vault else {}

        def instead(kind: str, piece: str) -> str | None:
            action = actions[kind]
            if action == "mask":
                return f"[{kind.upper()}]"
            if action != "pseudonymise":
                return None
            if (kind, piece) not in made:
                made[kind, piece] = stand_ins.of(kind, piece)
            return made[kind, piece]

        return [_result(example, Rewriter(look, find, instead), actions, notes) for example in examples]

    return work


def _result(example: Example, rewriter: Rewriter, actions: Mapping[str, Action], notes: Notes) -> Example | Refusal:
    try:
        rewritten = rewriter.example(example)
    except RecursionError:
        if not {*GOES} & {*actions.values()}:
            return example
        return Refusal("nested_too_deep", "lists or objects in a turn are nested too deep to look for what is private")
    met = [kind for kind in rewriter.met if actions[kind] != "off"]
    for kind in met:
        notes.see(kind, example.source)
    unwanted = [kind for kind in met if actions[kind] == "drop"]
    return Refusal("private", f"holds {in_words(unwanted)}") if unwanted else rewritten


def shown(options: Privacy) -> Show:
    """Return what shows rows, in reports and lists, without what the recipe wants to go."""
    return hiding(_look(options), options.actions())


def _look(options: Privacy) -> Look:
    if options.ner is None:
        return find
    names: Look = locate(options.ner)(options.ner)

    def look(text: str) -> list[Hit]:
        """Find by form, then names in what is left."""
        certain = find(text)
        return sorted([*certain, *names(without(text, [(hit.start, hit.end) for hit in certain]))])

    return look
