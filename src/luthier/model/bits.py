"""The door to bitsandbytes: an extra, slow to import, and full of warnings."""

import warnings
from functools import cache
from typing import Any


@cache
def bitsandbytes() -> Any:
    """Return the package, imported quietly; `recipe.options.Method.needs` has made sure that it is there."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import bitsandbytes as package
    return package
