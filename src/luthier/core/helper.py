"""How a process of luthier's own is started."""

import os
import sys
from pathlib import Path
from typing import NamedTuple


class Helper(NamedTuple):
    """What `subprocess` needs to start it."""

    command: list[str]
    env: dict[str, str]


def helper(module: str, *arguments: str) -> Helper:
    """Return what runs a module of luthier in a process of its own, also where luthier runs from its source tree."""
    ours = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [ours, os.environ.get("PYTHONPATH")]))
    # -P: a file in the folder luthier is called from must not stand in for a module.
    return Helper([sys.executable, "-P", "-m", module, *arguments], {**os.environ, "PYTHONPATH": path})
