"""Functions of the user's that a recipe names."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from luthier.core.errors import RecipeError


def function(named: str, option: str) -> Callable[..., Any]:
    """Import a function, from where luthier runs or from installed packages.

    Args:
        named: `module:function`.
        option: The key of the recipe that names it.

    Raises:
        RecipeError: There is none.
    """
    module, _, name = named.partition(":")
    try:
        with _here():
            found: Callable[..., Any] = getattr(import_module(module), name)
    except Exception as error:  # all of the user's module may fail
        raise RecipeError(
            f"`{option}` names `{named}`, and there is none: {type(error).__name__}: {error}",
            hint=f"put the function into {module.replace('.', '/')}.py where luthier runs, or correct the name",
        ) from error
    return found


def source(named: str) -> Path | None:
    """Return the file of the module that a function is in, None where it isn't found. The module is not run."""
    with _here():
        try:
            spec = find_spec(named.partition(":")[0])
        except (ImportError, ValueError):
            return None
    return Path(spec.origin) if spec and spec.origin and Path(spec.origin).is_file() else None


@contextmanager
def _here() -> Iterator[None]:
    """Look for modules where luthier runs, too."""
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)
