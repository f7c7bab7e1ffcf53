"""A package called by the name of what it does: `luthier.train(…)`, while `luthier.train.loop` stays a module."""

import inspect
from importlib import import_module
from types import ModuleType
from typing import Any


class Verb(ModuleType):
    """The class of a package that is also a function of `luthier.api` (docs/decisions/0013).

    A package takes it in its `__init__`: `sys.modules[__name__].__class__ = Verb`, which Python documents.
    """

    def _function(self) -> Any:
        return getattr(import_module("luthier.api"), self.__name__.rpartition(".")[2])

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Do what the function does."""
        return self._function()(*args, **kwargs)

    @property
    def __signature__(self) -> inspect.Signature:
        """The function's, for `help` and notebooks."""
        return inspect.signature(self._function())
