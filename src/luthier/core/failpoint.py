"""Named places where a test kills the process, as a power cut would: `LUTHIER_FAILPOINT='state.json written:2'`.

Every write, rename and removal says what it has reached. Without the variable that costs one comparison; with it, the
process ends by SIGKILL at the n-th passage of the place. With `LUTHIER_FAILPOINT=record:FILE` it writes into FILE which
places it passes, one line each.
"""

import os
import re
import signal
from pathlib import Path

TEMPORARY = re.compile(r"^\.(.+)\.[0-9a-f]{8}\.(tmp|old)$")
"""What `core.files` puts around a name until the file or folder is whole."""

_armed: tuple[str, str] | None = None
_passed = 0


def arm(setting: str) -> None:
    """Choose a place: `name:n` to be killed there, `record:FILE` to note every place, nothing for neither."""
    global _armed, _passed
    name, _, number = setting.rpartition(":") if not setting.startswith("record:") else setting.partition(":")
    _armed, _passed = ((name, number) if setting else None), 0


def reach(moment: str, path: Path) -> None:
    """Say that `moment` is reached in the life of the file or folder `path`."""
    if _armed is not None:
        _reach(f"{_plain(path)} {moment}", *_armed)


def _reach(here: str, name: str, number: str) -> None:
    global _passed
    if name == "record":
        with Path(number).open("a", encoding="utf-8") as handle:
            handle.write(f"{here}\n")
    elif name == here:
        _passed += 1
        if _passed == int(number):
            os.kill(os.getpid(), signal.SIGKILL)


def _plain(path: Path) -> str:
    """Return a name that is the same in every run: no step, no shard, and of a folder in the making the final name."""
    named = TEMPORARY.sub(r"\1", path.name)
    inside = TEMPORARY.match(path.parent.name)
    return re.sub(r"\d{5,}", "#", f"{inside[1]}/{named}" if inside else named)


arm(os.environ.get("LUTHIER_FAILPOINT", ""))
