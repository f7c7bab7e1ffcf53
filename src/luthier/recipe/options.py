"""The two kinds of recipe section: plain options, and the options of a named method."""

from importlib import import_module
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict


class Options(BaseModel):
    """A frozen section of the recipe. Unknown keys are refused; the sentence under a field is its help."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)

    short: ClassVar[str] = ""
    """The key that a text alone stands for, where a section may be written as one: `gsm8k` for `{task: gsm8k}`."""


class Method(Options):
    """Options of one named method, and a pointer to the code that carries it out."""

    implementation: ClassVar[str]
    """`module:object`, imported by `locate` when the method is used, not before."""
    merges: ClassVar[bool] = True
    """Whether what a technique learned can become weights of a standalone model."""
    needs: ClassVar[tuple[str, str] | None] = None
    """A package beyond the usual ones, and the extra of luthier it belongs to."""


def locate(method: Method) -> Any:
    """Import and return the code a method points to. The only dynamic import in luthier."""
    module, _, name = method.implementation.partition(":")
    return getattr(import_module(module), name)
