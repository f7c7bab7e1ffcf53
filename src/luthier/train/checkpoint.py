"""Checkpoints: everything a run needs to go on to the same bits. Safetensors and JSON, never pickle.

    checkpoints/step-000200/
        adapter_model.safetensors (or model.safetensors)   what is learned, float32
        optimizer.safetensors                              the optimizer's whole state, by its own names
        state.json                                         `train.state.State`
        manifest.json                                      sizes and hashes of the others; written last

Random state needs no file: every step seeds its own generator from (seed, step), and the order of rows is a pure
function of (seed, epoch). The position in the data is the step.

A checkpoint counts when every byte is what was written and nothing was added. Folders with other names, or of another
run, are never touched.
"""

import json
import re
import uuid
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch.distributed.tensor import DTensor

from luthier.core.errors import RunError
from luthier.core.failpoint import reach
from luthier.core.files import described, digest, publish_folder, recover, remove_folder, to_json, write_json
from luthier.core.run import Run
from luthier.model.adapters.adapted import Adapted
from luthier.model.weights import save_tensors
from luthier.train.parallel import World, gathered, part
from luthier.train.state import State

FORMAT = 2
NAME = re.compile(r"step-\d{6,}")
MANIFEST_BYTES = 1_000_000
"""A larger manifest is none of ours, and is not read."""


def folder_name(step: int) -> str:
    """Return `step-000200`."""
    return f"step-{step:06d}"


def save(
    run: Run, state: State, adapted: Adapted, optimizer: torch.optim.Optimizer, *, key: str, keep: int = 2
) -> None:
    """Write a checkpoint; then, and only when it reads back as it was written, remove old ones.

    Args:
        run: The run.
        state: Where the training stands; the folder is named after its step.
        adapted: The model in training.
        optimizer: Its optimizer.
        key: Hash of all that the weights depend on.
        keep: Checkpoints to keep. The best one, where the recipe asks for it, is kept besides.

    Of several processes all must call it: each may hold a part, and the first writes.

    Raises:
        DiskFull: Nothing of an earlier checkpoint is touched.
    """
    weights = gathered(adapted.saved, keep=run.writes)
    moments = gathered(_state(adapted, optimizer), keep=run.writes)
    if not run.writes:
        return
    run.sync()  # a power cut may not leave a checkpoint that is ahead of its history
    new = run / "checkpoints" / folder_name(state.step)
    with publish_folder(new) as folder:
        save_tensors(weights, folder / adapted.weight_file)
        save_tensors(moments, folder / "optimizer.safetensors")
        write_json(folder / "state.json", state.as_dict())
        adapted.describe(folder)
        files = [described(path, folder) for path in sorted(folder.iterdir())]
        manifest = {"format": FORMAT, "step": state.step, "key": key, "files": files}
        write_json(folder / "manifest.json", {**manifest, "seal": digest(manifest)})
    damage = fault(new)
    if damage:
        run.log(
            "warning", step=state.step, text=f"checkpoint {new.name} does not read back ({damage}); older ones stay"
        )
        return
    own = [folder for folder in _newest_first(run) if (_manifest(folder) or {}).get("key") == key]
    kept = {new, *own[:keep], *([run / "checkpoints" / folder_name(state.best_step)] if state.best_step else [])}
    for old in own:
        if old not in kept:
            remove_folder(old)


def restore(
    run: Run,
    adapted: Adapted,
    optimizer: torch.optim.Optimizer,
    *,
    key: str,
    world: World | None = None,
    good: bool = False,
) -> State | None:
    """Put the newest whole checkpoint back into model and optimizer, and return its state; None when there is none.

    A damaged checkpoint is set aside as `.corrupt-…`, told in the events, and the one before is taken. Of several
    processes the first chooses. With `good`, those are passed over that were saved after a step that was skipped.

    Raises:
        RunError: There are checkpoints, all of other data, another model or another recipe.
    """
    folder = (world or World()).from_first(lambda: _newest_whole(run, key, good=good))
    return _load(run / "checkpoints" / folder, adapted, optimizer) if folder else None


def _newest_whole(run: Run, key: str, *, good: bool) -> str | None:
    """Return the name of the newest checkpoint that is whole and of this run; tidy up what is neither."""
    home = run / "checkpoints"
    for left in home.glob(".step-*"):  # by a process that was killed
        recover(home / left.name.split(".")[1])
    strange: Path | None = None
    for folder in _newest_first(run):
        damage = fault(folder)
        if damage:
            set_aside(run, folder, damage)
        elif (_manifest(folder) or {})["key"] != key:
            strange = strange or folder
        elif not (good and _read(folder).skipped):
            return folder.name
    if strange:
        raise RunError(
            "the data, the model or the plan changed since these checkpoints were written",
            hint="start a new run with another `--out`, or put back what was changed",
            place=str(strange),
        )
    return None


def forget_after(run: Run, step: int, *, key: str) -> None:
    """Remove this run's checkpoints after `step`: training went back."""
    for folder in _newest_first(run) if run.writes else []:
        if int(folder.name[5:]) > step and (_manifest(folder) or {}).get("key") == key:
            remove_folder(folder)


def size(adapted: Adapted, optimizer: torch.optim.Optimizer) -> int:
    """Return the bytes of a checkpoint: weights and the optimizer's state, as far as it is there."""
    return sum(tensor.nbytes for tensor in (*adapted.saved.values(), *_state(adapted, optimizer).values()))


def set_aside(run: Run, folder: Path, damage: str) -> None:
    """Rename a damaged checkpoint, so that nobody takes it for a whole one, and tell it."""
    aside = folder.with_name(f".corrupt-{folder.name}-{uuid.uuid4().hex[:6]}")
    folder.rename(aside)
    reach("set aside", folder)
    run.log("warning", text=f"checkpoint {folder.name} is damaged ({damage}); set aside as {aside.name}")


def load_weights(run: Run, step: int, adapted: Adapted, *, key: str, world: World) -> bool:
    """Put the weights of the checkpoint after `step` into the model; False where it is not there or not whole."""
    folder = run / "checkpoints" / folder_name(step)
    whole: bool = world.from_first(lambda: fault(folder) is None and (_manifest(folder) or {})["key"] == key)
    if whole:
        _load_weights(folder, adapted)
    return whole


def _newest_first(run: Run) -> list[Path]:
    """Return the checkpoint folders by step, newest first; by number, since names sort wrongly past a million."""
    found = [path for path in (run / "checkpoints").glob("step-*") if NAME.fullmatch(path.name)]
    return sorted(found, key=lambda path: int(path.name[5:]), reverse=True)


def _manifest(folder: Path) -> dict[str, Any] | None:
    """Return the manifest of a checkpoint, or None when it is not what was written."""
    path = folder / "manifest.json"
    try:
        if path.is_symlink() or path.stat().st_size > MANIFEST_BYTES:
            return None
        text = path.read_text(encoding="utf-8")
        manifest = json.loads(text)
        exact = to_json(manifest) + "\n" == text
        sealed = exact and manifest.pop("seal") == digest(manifest) and manifest["format"] == FORMAT
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return manifest if sealed else None


def fault(folder: Path) -> str | None:
    """Return what is wrong with a checkpoint, or None when every byte is what was written and nothing was added."""
    manifest = _manifest(folder)
    if manifest is None:
        return "manifest.json is not what was written"
    if folder.is_symlink() or folder.name != folder_name(manifest["step"]):
        return "the folder is a link or has another one's name"
    named = {file["path"]: file for file in manifest["files"]}
    there = {path.name: path for path in folder.iterdir() if path.name != "manifest.json"}
    for name in sorted({*named, *there}):
        if name not in named:
            return f"{name} was added"
        if name not in there or there[name].is_symlink() or not there[name].is_file():
            return f"{name} is missing"
        try:
            if described(there[name], folder) != named[name]:
                return f"{name} is not what was written"
        except OSError as error:
            return f"{name} can't be read ({error.strerror})"
    return None


def _state(adapted: Adapted, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Return the optimizer's whole state as `key/parameter`; nothing for parameters that had no gradient yet.

    Keys are those of the optimizer: two moments and a count of AdamW, rows and columns of Adafactor. Counts that are
    plain integers (bitsandbytes) become tensors of int64, which no optimizer has of its own.
    """
    found: dict[str, Any] = {}
    shared: set[int] = set()  # bitsandbytes gives all parameters one table, which safetensors doesn't write twice
    for name, parameter in adapted.trainable.items():
        for key, value in optimizer.state.get(parameter, {}).items():
            tensor = torch.tensor(value) if isinstance(value, int) else value
            if torch.is_tensor(tensor) and tensor.numel() and not isinstance(tensor, DTensor):
                tensor = tensor.clone() if tensor.data_ptr() in shared else tensor
                shared.add(tensor.data_ptr())
            found[f"{key}/{name}"] = tensor
    odd = sorted(key for key, value in found.items() if not isinstance(value, torch.Tensor))
    assert not odd, f"state that is no tensor would be lost: {odd}"
    return found


def _load_weights(folder: Path, adapted: Adapted) -> None:
    weights = load_file(folder / adapted.weight_file)
    with torch.no_grad():
        for name, parameter in adapted.saved.items():
            parameter.copy_(part(weights[name], like=parameter))


def _load(folder: Path, adapted: Adapted, optimizer: torch.optim.Optimizer) -> State:
    _load_weights(folder, adapted)
    found: dict[str, dict[str, torch.Tensor | int]] = {}
    for place, value in load_file(folder / "optimizer.safetensors").items():
        key, _, name = place.partition("/")
        mine = part(value, like=adapted.trainable[name])
        found.setdefault(name, {})[key] = int(value) if value.dtype == torch.int64 else mine
    # Torch counts parameters over its groups; its own way in knows which tensors belong on which device.
    groups = optimizer.state_dict()["param_groups"]
    numbers = [number for group in groups for number in group["params"]]
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    by_parameter = dict(zip(parameters, numbers, strict=True))
    state = {by_parameter[adapted.trainable[name]]: values for name, values in found.items()}
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    return _read(folder)


def _read(folder: Path) -> State:
    return State.from_dict(json.loads((folder / "state.json").read_text(encoding="utf-8")))
