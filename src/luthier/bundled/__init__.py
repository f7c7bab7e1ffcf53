"""What ships with luthier so that `luthier quickstart` runs offline: a small base model and sample data."""

from pathlib import Path

_HERE = Path(__file__).parent


def model_path() -> Path:
    """Return the folder of the bundled base model, in the layout that `from_pretrained` reads."""
    return _HERE / "model"


def sample_paths() -> tuple[Path, ...]:
    """Return the three sample data files, sorted by name."""
    return tuple(_HERE / "data" / name for name in ("chats.jsonl", "faq.json", "tickets.csv"))


def general_text() -> Path:
    """Return passages of general English, to measure what a model forgets."""
    return _HERE / "data" / "general.jsonl"


def quickstart_recipe() -> Path:
    """Return the recipe that `luthier quickstart` runs."""
    return _HERE / "quickstart.yaml"
