"""What stays when training is over: the weights, and everything a server needs to read them as they were trained."""

import shutil
from pathlib import Path

from luthier.core.files import publish_folder, write_json, write_text
from luthier.model.adapters.adapted import Adapted
from luthier.model.weights import save_tensors
from luthier.tokens.render import Renderer

TRAVELS = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "chat_template.jinja",
    "generation_config.json",
)
"""Files of the base that go along unchanged."""


def keep(adapted: Adapted, renderer: Renderer, *, base: Path, out: Path) -> None:
    """Write the trained weights, rounded once to their stored type, with tokenizer, template and stop ids.

    Args:
        adapted: The trained model.
        renderer: The chat template it was trained with; written out where the base has none.
        base: Folder of the base model.
        out: Folder to put in place, whole or not at all.
    """
    with publish_folder(out) as folder:
        weights = {name: parameter.to(adapted.stored_dtype) for name, parameter in adapted.trainable.items()}
        save_tensors(weights, folder / adapted.weight_file)
        adapted.describe(folder)
        for name in TRAVELS:
            if (base / name).is_file():
                shutil.copyfile(base / name, folder / name)
        if renderer.source != "tokenizer":
            write_text(folder / "chat_template.jinja", renderer.tokenizer.chat_template)
        if not (folder / "generation_config.json").is_file():
            stops = sorted(renderer.stop_ids)
            write_json(folder / "generation_config.json", {"eos_token_id": stops[0] if len(stops) == 1 else stops})
