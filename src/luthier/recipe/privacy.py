"""What is done about personal data and secrets."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from luthier.recipe.options import Method, Options

Named = Annotated[str, Field(min_length=1)]

Kind = Literal["email", "phone", "card", "iban", "ip", "identity", "credentials", "secret"]
"""What is found by its form. A plug-in adds kinds of its own, named like its entities: `person`."""

Action = Literal["off", "flag", "mask", "pseudonymise", "drop"]

GOES: tuple[Action, ...] = ("mask", "pseudonymise", "drop")
"""What is done with pieces that must not be seen any more."""


class Presidio(Method):
    """Names of people, and whatever else Microsoft's presidio is told to look for."""

    implementation: ClassVar[str] = "luthier.data.clean.privacy.presidio:finder"
    needs: ClassVar[tuple[str, str] | None] = ("presidio_analyzer", "presidio")
    kind: Literal["presidio"] = "presidio"

    entities: Annotated[tuple[Named, ...], Field(min_length=1)] = ("PERSON",)
    """What to look for, in presidio's words: PERSON, LOCATION, NRP, and those of `recognizers`."""

    action: Action = "flag"
    """What is done about what it finds. Names are guessed: look at what `flag` tells before you `drop`."""

    language: Named = "en"
    """Language of the texts, as two letters. Others are looked at as if they were in it."""

    model: Named | None = "en_core_web_sm"
    """spaCy model that knows names; it must be installed, nothing is downloaded. `null`: only `recognizers` look."""

    recognizers: Named | None = None
    """YAML file with recognisers of your own, in presidio's format: staff numbers, names of projects."""

    score: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Least certainty, as presidio counts it, from 0 to 1."""

    @model_validator(mode="after")
    def has_something_to_look_with(self) -> "Presidio":
        """Refuse to look with nothing."""
        if self.model is None and self.recognizers is None:
            message = "without `model` there must be `recognizers`: nothing would be looked for"
            raise ValueError(message)
        return self


class Privacy(Options):
    """What is done about personal data and secrets, in all texts of a row: turns, tool calls, names, tags.

    `flag` tells in the report, `mask` writes `[EMAIL]`, `pseudonymise` writes the same made-up value for the same
    person everywhere, `drop` drops the row, `off` does nothing.
    """

    action: Action = "flag"
    """What is done about every kind that has no action of its own below."""

    email: Action | None = None
    """E-mail addresses, `jane [at] mail [dot] org` too. Stand-ins are addresses in `.example`, which nobody can own."""

    phone: Action | None = None
    """Phone numbers as countries write them, plain digits after a word such as `phone`. Stand-ins begin with +999."""

    card: Action | None = None
    """Card numbers: an issuer's first digits and length, and the right check digit, which stand-ins have not."""

    iban: Action | None = None
    """Bank accounts: the country's length and the right check digits, which stand-ins have not."""

    ip: Action | None = None
    """Public IP addresses. Private and local ones stay; stand-ins are from ranges kept for no network."""

    identity: Action | None = None
    """Numbers by which a state knows people: of the US, UK, Spain, France, Italy, Brazil, India and China."""

    credentials: Action | None = None
    """User and password in an address: `https://jane:k3y!@host`."""

    secret: Action | None = None
    """API keys, tokens, private keys, passwords that are given or assigned. Names and placeholders are none."""

    ner: Annotated[Presidio, Field(discriminator="kind")] | None = None
    """A plug-in that finds names of people. It guesses, and takes a hundred times as long."""

    salt: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Another number gives other stand-ins."""

    key: Named | None = None
    """File whose content stand-ins are made with. Without it, who has the recipe can test whether a number he guesses
    is behind a stand-in. Keep the file out of the run."""

    vault: Named | None = None
    """File that gets what every stand-in stands for, as lines of JSON only you may read. Never without being asked for,
    and never in the run, which is published."""

    @model_validator(mode="after")
    def stand_ins_are_made(self) -> "Privacy":
        """Refuse a vault or a key where nothing is pseudonymised."""
        named = [name for name in ("key", "vault") if getattr(self, name) is not None]
        if named and "pseudonymise" not in self.actions().values():
            message = f"`{named[0]}` is for stand-ins, and nothing is pseudonymised"
            raise ValueError(message)
        return self

    def actions(self) -> dict[str, Action]:
        """Return what is done about each kind, those of the plug-in included."""
        kinds: tuple[Kind, ...] = Kind.__args__  # type: ignore[attr-defined]
        ours: dict[str, Action] = {kind: getattr(self, kind) or self.action for kind in kinds}
        theirs = {entity.lower(): self.ner.action for entity in self.ner.entities} if self.ner else {}
        return {**theirs, **ours}

    @property
    def removes(self) -> bool:
        """Whether anything must not be seen any more."""
        return not {*GOES}.isdisjoint(self.actions().values())
