"""What stands beside the weights of a model and makes up its tokenizer, chat templates included."""

import shutil
from pathlib import Path

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
