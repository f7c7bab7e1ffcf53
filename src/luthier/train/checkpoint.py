"""Checkpoints: everything a run needs to go on to the same bits. Safetensors and JSON, never pickle.

    checkpoints/step-000200/
        adapter_model.safetensors (or model.safetensors)   what is learned, float32
        optimizer.safetensors                              the optimizer's whole state, by its own names
        state.json                                         step
        manifest.json                                      sizes and hashes of the others; written last

Random state needs no file: every step seeds its own generator from (seed, step), and the order of rows is a pure
function of (seed, epoch). The position in the data is the step.
"""

import json
import shutil
import uuid
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from luthier.core.errors import RunError
from luthier.core.files import described, digest, publish_folder, write_json
from luthier.core.run import Run
from luthier.model.adapters.adapted import Adapted
from luthier.model.weights import save_tensors
from luthier.train.parallel import gathered, spread

KEPT = 2
"""Checkpoints kept: the newest, and the one before in case the newest is damaged."""


def folder_name(step: int) -> str:
    """Return `step-000200`."""
    return f"step-{step:06d}"


def save(run: Run, step: int, adapted: Adapted, optimizer: torch.optim.Optimizer, *, key: str) -> None:
    """Write the state after `step` optimizer steps; then, and only then, remove old checkpoints.

    Of several processes all must call it: each may hold a part, and the first writes.

    Raises:
        Failed: The disk is full. Nothing of an earlier checkpoint is touched.
    """
    weights = gathered(adapted.trainable, keep=run.writes)
    state = gathered(_state(adapted, optimizer), keep=run.writes)
    if not run.writes:
        return
    home = run / "checkpoints"
    run.sync()  # a power cut may not leave a checkpoint that is ahead of its history
    with publish_folder(home / folder_name(step)) as folder:
        save_tensors(weights, folder / adapted.weight_file)
        save_tensors(state, folder / "optimizer.safetensors")
        write_json(folder / "state.json", {"step": step})
        adapted.describe(folder)
        files = [described(path, folder) for path in sorted(folder.iterdir())]
        manifest = {"format": 1, "step": step, "key": key, "files": files}
        write_json(folder / "manifest.json", {**manifest, "seal": digest(manifest)})
    for old in _newest_first(home)[KEPT:]:
        shutil.rmtree(old)


def restore(run: Run, adapted: Adapted, optimizer: torch.optim.Optimizer, *, key: str) -> int:
    """Put the newest whole checkpoint back into model and optimizer, and return its step; 0 when there is none.

    A damaged checkpoint is set aside as `.corrupt-…`, told in the events, and the one before is taken.

    Raises:
        RunError: The checkpoint belongs to other data, another model or another recipe.
    """
    for folder in _newest_first(run / "checkpoints"):
        fault = _fault(folder)
        if fault and not run.writes:
            continue
        if fault:
            aside = folder.with_name(f".corrupt-{folder.name}-{uuid.uuid4().hex[:6]}")
            folder.rename(aside)
            run.log("warning", text=f"checkpoint {folder.name} is damaged ({fault}); set aside as {aside.name}")
            continue
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        if manifest["key"] != key:
            raise RunError(
                "the data, the model or the plan changed since these checkpoints were written",
                hint="start a new run with another `--out`, or put back what was changed",
                place=str(folder),
            )
        _load(folder, adapted, optimizer)
        return int(manifest["step"])
    return 0


def _newest_first(home: Path) -> list[Path]:
    """Return the checkpoint folders by step, newest first; by number, since names sort wrongly past a million."""
    found = [path for path in home.glob("step-*") if path.name[5:].isdigit()]
    return sorted(found, key=lambda path: int(path.name[5:]), reverse=True)


def _fault(folder: Path) -> str | None:
    """Return what is wrong with a checkpoint, or None when every byte is what was written."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        if manifest.pop("seal") != digest(manifest):
            return "manifest.json is not what was written"
        for file in manifest["files"]:
            if described(folder / file["path"], folder) != file:
                return f"{file['path']} is not what was written"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{type(error).__name__}: {error}"
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
            if torch.is_tensor(tensor) and tensor.numel():
                tensor = tensor.clone() if tensor.data_ptr() in shared else tensor
                shared.add(tensor.data_ptr())
            found[f"{key}/{name}"] = tensor
    odd = sorted(key for key, value in found.items() if not isinstance(value, torch.Tensor))
    assert not odd, f"state that is no tensor would be lost: {odd}"
    return found


def _load(folder: Path, adapted: Adapted, optimizer: torch.optim.Optimizer) -> None:
    weights = load_file(folder / adapted.weight_file)
    found: dict[str, dict[str, torch.Tensor | int]] = {}
    for place, value in load_file(folder / "optimizer.safetensors").items():
        key, _, name = place.partition("/")
        mine = spread(value, like=adapted.trainable[name])
        found.setdefault(name, {})[key] = int(value) if value.dtype == torch.int64 else mine
    with torch.no_grad():
        for name, parameter in adapted.trainable.items():
            parameter.copy_(spread(weights[name], like=parameter))
    # Torch counts parameters over its groups; its own way in knows which tensors belong on which device.
    groups = optimizer.state_dict()["param_groups"]
    numbers = [number for group in groups for number in group["params"]]
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    by_parameter = dict(zip(parameters, numbers, strict=True))
    state = {by_parameter[adapted.trainable[name]]: values for name, values in found.items()}
    optimizer.load_state_dict({"state": state, "param_groups": groups})
