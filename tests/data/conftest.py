"""A source file on disk."""

from pathlib import Path

import pytest
from data_files import Write


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a source file below the test's folder."""

    def to_file(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return to_file
