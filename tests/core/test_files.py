import errno
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luthier.core.errors import Failed
from luthier.core.files import digest, known_sha256, publish_folder, sha256, space_needed, write_json, write_text


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def publish_and_fail(out: Path) -> None:
    with publish_folder(out) as folder:
        write_text(folder / "a.txt", "new")
        raise RuntimeError("killed")


def test_a_published_folder_appears_whole(tmp_path: Path) -> None:
    with publish_folder(tmp_path / "out") as folder:
        write_text(folder / "a.txt", "a")
        assert not (tmp_path / "out").exists()
    assert names(tmp_path) == ["out"]
    assert (tmp_path / "out" / "a.txt").read_text() == "a"


def test_a_failure_leaves_the_old_folder_and_nothing_else(tmp_path: Path) -> None:
    with publish_folder(tmp_path / "out") as folder:
        write_text(folder / "a.txt", "old")
    with pytest.raises(RuntimeError, match="killed"):
        publish_and_fail(tmp_path / "out")
    assert names(tmp_path) == ["out"]
    assert (tmp_path / "out" / "a.txt").read_text() == "old"


def test_a_new_folder_replaces_the_old_one_whole(tmp_path: Path) -> None:
    for name in ("old.txt", "new.txt"):
        with publish_folder(tmp_path / "out") as folder:
            write_text(folder / name, "x")
    assert names(tmp_path) == ["out"]
    assert names(tmp_path / "out") == ["new.txt"]


def test_what_a_killed_process_left_is_swept_away(tmp_path: Path) -> None:
    (tmp_path / ".out.deadbeef.tmp").mkdir()
    with publish_folder(tmp_path / "out") as folder:
        write_text(folder / "a.txt", "a")
    assert names(tmp_path) == ["out"]


def test_published_files_have_the_rights_the_mask_allows(tmp_path: Path) -> None:
    with publish_folder(tmp_path / "out") as folder:
        write_text(folder / "a.txt", "a")
        (folder / "a.txt").chmod(0o600)
    assert stat.S_IMODE((tmp_path / "out" / "a.txt").stat().st_mode) & 0o400
    assert stat.S_IMODE((tmp_path / "out" / "a.txt").stat().st_mode) != 0o600


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_an_error_with_a_way_out(number: int, tmp_path: Path) -> None:
    with pytest.raises(Failed, match="the disk is full") as caught, space_needed(tmp_path):
        raise OSError(number, "no")
    assert caught.value.exit_code == 1
    assert "same command again" in caught.value.hint


def test_another_trouble_of_the_system_is_not_called_a_full_disk(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), space_needed(tmp_path):
        raise PermissionError(errno.EACCES, "no")


def test_lone_surrogates_do_not_stop_a_write(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"text": "\ud800"})
    assert "d800" in (tmp_path / "a.json").read_text()


@given(st.dictionaries(st.text(), st.integers() | st.text()))
def test_a_digest_does_not_depend_on_the_order_of_keys(value: dict[str, object]) -> None:
    assert digest(value) == digest(dict(reversed(value.items())))


def test_a_known_hash_is_made_anew_when_the_file_changes(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("one")
    assert known_sha256(path) == known_sha256(path) == sha256(path)
    path.write_text("three")
    assert known_sha256(path) == sha256(path)
    other = tmp_path / "b"
    other.write_text("seven")
    os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    other.replace(path)  # same name, size and time: another file
    assert known_sha256(path) == sha256(path)
