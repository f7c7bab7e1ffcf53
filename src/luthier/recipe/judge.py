"""The recipe's `evaluate.judge`: a language model that says which of two answers is better."""

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from luthier.core.endpoint import base_url
from luthier.core.errors import RecipeError
from luthier.recipe.methods import Named, Positive, PositiveReal, ZeroOrMore
from luthier.recipe.options import Options

RUBRIC = {
    "fluency": "well-formed, readable language in the form the request asks for",
    "relevance": "answers what was asked, all of it, and nothing else",
    "accuracy": "what it states is true and follows from the request; nothing is made up",
    "helpfulness": "whoever asked can act on it",
}
"""What answers are rated by where the recipe says nothing."""

MOST_CRITERIA = 12
CRITERION = re.compile(r"[a-z][a-z0-9_]{0,31}")
VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,63}")


class Price(Options):
    """What the judge costs, in US dollars per million tokens."""

    input: ZeroOrMore
    """Of tokens it reads."""

    output: ZeroOrMore
    """Of tokens it writes."""

    def of(self, read: float, written: float) -> float:
        """Return what so many tokens cost."""
        return (self.input * read + self.output * written) / 1e6


class Judge(Options):
    """A language model, behind an OpenAI-compatible interface, that judges the answers of base and tuned model."""

    url: Named
    """Address of the interface, such as https://api.openai.com/v1 or http://localhost:8000/v1."""

    model: Named
    """Name of the judge there."""

    key_env: Named | None = None
    """Environment variable that holds its key. The key itself never goes into a recipe."""

    key_file: Named | None = None
    """File that holds its key and nothing else."""

    mode: Literal["compare", "rate"] = "compare"
    """`compare` shows it both answers, in both orders; `rate` one at a time."""

    rubric: dict[Named, Named] = Field(default_factory=dict)
    """What answers are rated by, from 1 to 5: names, each with its meaning.

    Empty: fluency, relevance, accuracy, helpfulness.
    """

    reference: bool = True
    """Whether it sees the answer that the row expects."""

    rows: Positive = 100
    """Answered prompts that are judged, at most; which ones is decided by their hash, so that more include fewer."""

    price: Price | None = None
    """What its tokens cost, to say beforehand what judging will cost: {input: 2.5, output: 10}."""

    budget: PositiveReal | None = None
    """US dollars it may cost in all, by `price`; before one more question could exceed them, judging ends."""

    go_ahead: bool = False
    """Whether to begin without asking. What it will cost is told all the same."""

    max_tokens: Positive = 800
    """Longest reply, in tokens. Models that think before they answer need several thousand."""

    at_once: Annotated[int, Field(ge=1, le=64)] = 4
    """Questions that are under way at the same time."""

    timeout: PositiveReal = 120.0
    """Seconds one reply may take."""

    @property
    def criteria(self) -> dict[str, str]:
        """Return what answers are rated by."""
        return self.rubric or RUBRIC

    @field_validator("url")
    @classmethod
    def is_an_address(cls, url: str) -> str:
        """Refuse what is no address, or holds a secret."""
        try:
            base_url(url)
        except RecipeError as error:
            message = f"{error.problem}; {error.hint}"
            raise ValueError(message) from None
        return url

    @model_validator(mode="after")
    def keys_stay_outside(self) -> "Judge":
        """Refuse a key where the name of a variable is wanted."""
        if self.key_env is not None and not VARIABLE.fullmatch(self.key_env):
            message = "`key_env` names an environment variable, such as OPENAI_API_KEY; a key never goes into a recipe"
            raise ValueError(message)
        if self.key_env is not None and self.key_file is not None:
            message = "`key_env` and `key_file` both say where the key is: name one"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def can_be_reckoned(self) -> "Judge":
        """Refuse a budget without prices, and a rubric no reply could be read by."""
        if self.budget is not None and self.price is None:
            message = "`budget` is in dollars, and no `price` says what tokens cost"
            raise ValueError(message)
        wrong = [name for name in self.rubric if not CRITERION.fullmatch(name)]
        if wrong or len(self.rubric) > MOST_CRITERIA:
            message = f"`rubric` has at most {MOST_CRITERIA} criteria, named in lower-case letters, digits and `_`"
            raise ValueError(message)
        return self
