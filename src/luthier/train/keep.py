"""What stays when training is over: the weights, and everything a server needs to read them as they were trained."""

import json
import shutil
from pathlib import Path

from luthier.core.errors import ModelError
from luthier.core.files import publish_folder, write_json, write_text
from luthier.model.adapters.adapted import Adapted
from luthier.model.companions import TEMPLATE_FILES, TEMPLATE_FOLDER, TOKENIZER_FILES, copy_templates
from luthier.model.forward import plain
from luthier.model.heads import describe, headed, set_padding
from luthier.model.new_tokens import new_ids
from luthier.model.new_tokens import write as write_new
from luthier.model.weights import save_tensors
from luthier.tokens.render import Renderer
from luthier.train.parallel import gathered


def keep(adapted: Adapted, renderer: Renderer, *, base: Path, out: Path, writes: bool = True) -> None:
    """Write the trained weights, rounded once to their stored type, with tokenizer, template and stop ids.

    Args:
        adapted: The trained model.
        renderer: The chat template it was trained with; written out where the base has none.
        base: Folder of the base model.
        out: Folder to put in place, whole or not at all.
        writes: Whether this process does; of several all must call it, for each may hold a part.
    """
    whole = gathered({**adapted.trainable, **adapted.frozen}, keep=writes)
    if not writes:
        return
    if adapted.finish is not None:
        whole = adapted.finish(whole)
    with publish_folder(out) as folder:
        weights = {name: parameter.to(adapted.stored_dtype) for name, parameter in whole.items()}
        save_tensors(weights, folder / adapted.weight_file)
        adapted.describe(folder)
        own = renderer.source == "tokenizer"
        for name in (*TOKENIZER_FILES, "generation_config.json"):
            if (base / name).is_file() and (own or name not in TEMPLATE_FILES):
                shutil.copyfile(base / name, folder / name)
        if ids := new_ids(plain(adapted.model)):
            write_new(renderer.tokenizer, ids, folder)
        if own:
            copy_templates(base, folder)
        else:
            _write_templates(renderer, folder)
        if headed(adapted.model):
            describe(adapted.model, base, folder)
            set_padding(adapted.model, renderer.tokenizer, folder)
            return
        if not (folder / "generation_config.json").is_file():
            stops = sorted(renderer.stop_ids)
            write_json(folder / "generation_config.json", {"eos_token_id": stops[0] if len(stops) == 1 else stops})


def _write_templates(renderer: Renderer, folder: Path) -> None:
    """Write the template that was trained with; several go by their names."""
    template = renderer.tokenizer.chat_template
    texts = template if isinstance(template, dict) else {"default": template}
    for name, text in texts.items():
        if name == "default":
            write_text(folder / TEMPLATE_FILES[0], text)
        elif Path(name).name != name:
            raise ModelError(
                f"a chat template has the name {json.dumps(name)}, which is that of no file",
                hint="choose one template with `train.template`",
                place=renderer.place,
            )
        else:
            (folder / TEMPLATE_FOLDER).mkdir(exist_ok=True)
            write_text(folder / TEMPLATE_FOLDER / f"{name}.jinja", text)
