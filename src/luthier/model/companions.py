"""What stands beside the weights of a model and makes up its tokenizer, chat templates included."""

import json
import shutil
from pathlib import Path
from typing import Any

from luthier.core.errors import ModelError

TEMPLATE_FILES = ("chat_template.jinja", "chat_template.json")
"""Where a model keeps its chat template."""

TEMPLATE_FOLDER = "additional_chat_templates"
"""Folder of templates besides the default one, as Transformers keeps them: `tool_use.jinja` …"""

TOKENIZER_FILES = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.json", "merges.txt", "tokenizer.model", *TEMPLATE_FILES),
)
"""What makes up a tokenizer on disk. Taken from one folder together: halves of two tokenizers are none."""


def copy_templates(source: Path, out: Path) -> None:
    """Copy the templates besides the default one, where a model folder has any."""
    for file in sorted((source / TEMPLATE_FOLDER).glob("*.jinja")):
        if file.is_file():
            (out / TEMPLATE_FOLDER).mkdir(exist_ok=True)
            shutil.copyfile(file, out / TEMPLATE_FOLDER / file.name)


def json_object(file: Path) -> dict[str, Any]:
    """Return what a JSON file of a model holds; nothing when it is not there.

    Raises:
        ModelError: It is not one JSON object.
    """
    if not file.is_file():
        return {}
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        value = error
    if not isinstance(value, dict):
        raise ModelError("this is not one JSON object", hint="copy the file of the model again", place=str(file))
    return value
