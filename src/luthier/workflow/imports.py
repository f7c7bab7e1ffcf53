"""What a user's own module rests on: the modules beside it that it imports."""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path


def modules(name: str, home: Path | None = None) -> list[Path]:
    """Return the files of a module and of all it imports, as far as they lie where luthier runs, each once.

    Args:
        name: The module: `scores`, or `package.scores`.
        home: The folder it is looked for in; by default the current one.
    """
    home = home or Path()
    waiting, found = [*_files(home, name.split("."))], dict[Path, None]()
    while waiting:
        path = waiting.pop()
        if path not in found and path.is_file():
            found[path] = None
            waiting += _imported(path, home)
    return sorted(found)


def _imported(path: Path, home: Path) -> Iterator[Path]:
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):  # that it can't be imported is told where it is
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _files(home, alias.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            start = path.parents[min(node.level, len(path.parents)) - 1] if node.level else home
            whole = node.module.split(".") if node.module else []
            for alias in node.names:
                yield from _files(start, [*whole, alias.name])


def _files(start: Path, parts: Iterable[str]) -> Iterator[Path]:
    """Yield the files that a name may mean: those of the packages on the way, and of the module."""
    for part in parts:
        start /= part
        yield from (start.with_suffix(".py"), start / "__init__.py")
