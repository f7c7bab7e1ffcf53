"""The models that `luthier evaluate --model … --against …` names, found."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from luthier.core.endpoint import base_url
from luthier.core.errors import ModelError, RecipeError
from luthier.core.key import read_key
from luthier.core.run import Run
from luthier.model.companions import json_object
from luthier.model.facts import BUNDLED, facts, is_local, resolve
from luthier.workflow.needs import need
from luthier.workflow.runs import reopen

if TYPE_CHECKING:
    from luthier.evaluate.candidates import Candidate

SCHEMES = ("http://", "https://")


def candidates(models: Sequence[str], against: str | None, key_variable: str | None = None) -> "list[Candidate]":
    """Return the base and the models to compare with it.

    A name is a run (its trained model), a folder with a model or an adapter, `bundled`, a hub name, a GGUF file, or a
    model behind an OpenAI-compatible endpoint: `https://host/v1#model`.

    Args:
        models: Names of those that are compared.
        against: Name of what they are compared with; None for the base of the first, where that is a run or an adapter.
        key_variable: The environment variable that holds the key of endpoints.

    Raises:
        RecipeError: Nothing says what they are compared with, or an endpoint's name is none.
        ModelError: There is no such model.
    """
    found = [_found(name, against, key_variable) for name in models]
    if against is not None:
        return [_found(against, None, key_variable), *found]
    base = getattr(found[0], "base", None)
    home = Path(models[0]).expanduser()
    if base is None and Run.begun(home):
        base = resolve(reopen(home)[0].model)
    if base is None:
        hint = "name it with `--against`; only a run and an adapter know their base"
        raise RecipeError(f"nothing says what `{models[0]}` is compared with", hint=hint)
    from luthier.evaluate.candidates import Local

    return [Local(str(base), base), *found]


def _found(name: str, against: str | None, key_variable: str | None) -> "Candidate":
    from luthier.evaluate.candidates import Gguf, Local, Served

    if name.startswith(SCHEMES):
        address, _, model = name.partition("#")
        if not model:
            raise RecipeError("which model of the endpoint?", hint=f"add its name: `{address}#NAME`", place=address)
        return Served(name, base_url(address), model, read_key(variable=key_variable))
    path = Path(name).expanduser()
    if path.suffix == ".gguf":
        need("xllamacpp", "gguf", extra="gguf")
        if not path.is_file():
            raise ModelError("there is no such GGUF file", hint="name the file an export wrote", place=name)
        return Gguf(name, path)
    if Run.begun(path):
        path = path / "model"
    if (path / "adapter_config.json").is_file():
        return Local(name, path, _base(path, against))
    return Local(name, path if path.name == "model" and (path / "config.json").is_file() else resolve(name))


def _base(adapter: Path, against: str | None) -> Path:
    """Return the folder of an adapter's base: the one it names, or what it is compared with where that is not here.

    Never another model of the same shape: the adapter would fit, and its numbers would mean nothing.
    """
    named = json_object(adapter / "adapter_config.json").get("base_model_name_or_path")
    known = named if isinstance(named, str) and named else None
    whole = against if against is not None and _is_whole(against) else None
    if known is not None and (whole is None or _is_here(known) or not (is_local(known) or is_local(whole))):
        return resolve(known)
    if whole is None:
        raise ModelError("this adapter doesn't say what its base is", hint="name it: `--against`", place=str(adapter))
    return resolve(whole)


def _is_whole(name: str) -> bool:
    """Return whether a name is that of a whole model, not of an adapter, a run, a GGUF file or an endpoint."""
    home = Path(name).expanduser()
    elsewhere = name.startswith(SCHEMES) or name.endswith(".gguf")
    return not elsewhere and not Run.begun(home) and not (home / "adapter_config.json").is_file()


def _is_here(name: str) -> bool:
    """Return whether a name is that of a model on this machine."""
    return is_local(name) and (name == BUNDLED or (Path(name).expanduser() / "config.json").is_file())


def context(candidate: "Candidate") -> int:
    """Return the longest text a model was made for; 0 where there is no end, or nobody says."""
    from luthier.evaluate.candidates import Local

    if not isinstance(candidate, Local):
        return 0
    return facts(str((candidate.base or candidate.path).resolve())).context
