"""Data sets of a stand-in for the hub, which answers as the hub's HTTP interface does."""

import hashlib
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from luthier.core.errors import DataError
from luthier.data.fetched import fetch, is_elsewhere
from luthier.data.hub import DataSet, chosen, named

COMMIT = "0123456789abcdef0123456789abcdef01234567"
ROWS = b'{"prompt": "Q", "answer": "A"}\n'
FILES = {
    "README.md": b"---\nconfigs: []\n---\n",
    "load.py": b"raise SystemExit('code of a data set was run')\n",
    "dataset_infos.json": b"{}",
    "data/train-00000.jsonl": ROWS,
    "data/test-00000.jsonl": ROWS,
}


class Hub(BaseHTTPRequestHandler):
    asked: list[str]

    def answer(self, *, with_body: bool) -> None:
        self.asked.append(self.path)
        if self.path.startswith("/api/datasets/owner/name"):
            known = self.path.endswith(("/main", COMMIT, "owner/name"))
            about = {"id": "owner/name", "sha": COMMIT, "siblings": [{"rfilename": name} for name in FILES]}
            return self.send(
                json.dumps(about).encode(),
                200 if known else 404,
                {} if known else {"X-Error-Code": "RevisionNotFound"},
                with_body,
            )
        content = FILES.get(self.path.removeprefix(f"/datasets/owner/name/resolve/{COMMIT}/"))
        if content is None:
            return self.send(b"", 404, {"X-Error-Code": "RepoNotFound"}, with_body)
        etag = hashlib.sha256(content).hexdigest()
        return self.send(content, 200, {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT}, with_body)

    def send(self, content: bytes, status: int, headers: dict[str, str], with_body: bool) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(content)

    def do_GET(self) -> None:
        self.answer(with_body=True)

    def do_HEAD(self) -> None:
        self.answer(with_body=False)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[str]]:
    """A hub with one data set; gives the paths it was asked for."""
    Hub.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    yield Hub.asked
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("source", ["owner/name", "hub:owner/name", "hub:owner/name@main", f"owner/name@{COMMIT}"])
def test_the_files_to_train_on_are_fetched_and_no_others(source: str, hub: list[str], tmp_path: Path) -> None:
    [path], names = fetch([source], tmp_path)
    assert Path(path).read_bytes() == ROWS
    assert [*names.values()] == ["hub:owner/name/data/train-00000.jsonl"]
    assert not any("load.py" in asked or "test-" in asked for asked in hub)


def test_a_split_is_asked_for_by_name(hub: list[str], tmp_path: Path) -> None:
    _, names = fetch(["hub:owner/name:/test"], tmp_path)
    assert [*names.values()] == ["hub:owner/name/data/test-00000.jsonl"]
    with pytest.raises(DataError, match="no split `tset`") as error:
        fetch(["hub:owner/name:/tset"], tmp_path)
    assert error.value.hint == "did you mean `test`?"


def test_a_run_goes_on_with_the_commit_it_began_with_and_without_the_network(
    hub: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = fetch(["owner/name"], tmp_path)
    before = len(hub)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    assert fetch(["owner/name"], tmp_path) == first
    assert len(hub) == before


def test_what_the_hub_does_not_have_is_told_in_words(hub: list[str], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the hub has no such data set"):
        fetch(["hub:owner/other"], tmp_path)
    with pytest.raises(DataError, match="the hub has no revision of this data set"):
        fetch(["hub:owner/name@gone"], tmp_path)


def test_without_a_network_the_error_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="the hub can't be asked") as error:
        fetch(["owner/name"], tmp_path)
    assert error.value.place == "owner/name"


def test_a_path_is_a_path_and_a_name_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    paths = ["data/rows", "rows.csv", "./a/b", "~/a", "gone/rows.jsonl", "a/b/c", "*.csv", "/a/b"]
    assert not any(map(is_elsewhere, paths))
    assert all(map(is_elsewhere, ["-", "owner/name", "hub:data/rows", "owner/name@v1:config/train"]))
    with pytest.raises(DataError, match="names no data set"):
        named("hub:name")


def wanted(config: str | None = None, split: str | None = None) -> DataSet:
    return DataSet("owner/name", "owner/name", None, config, split)


def test_configs_of_the_card_say_which_files_are_which() -> None:
    files = ["en/train/0.parquet", "en/train/1.parquet", "en/test.parquet", "de/all.parquet"]
    configs = [
        {
            "config_name": "en",
            "data_files": [{"split": "train", "path": "en/train/*"}, {"split": "test", "path": ["en/test.parquet"]}],
        },
        {"config_name": "de", "data_files": "de/**"},
    ]
    assert chosen(wanted("en"), files, configs) == files[:2]
    assert chosen(wanted("en", "test"), files, configs) == ["en/test.parquet"]
    assert chosen(wanted("de"), files, configs) == ["de/all.parquet"]
    with pytest.raises(DataError, match="2 configs: `en`, `de`"):
        chosen(wanted(), files, configs)
    with pytest.raises(DataError, match="no config `fr`"):
        chosen(wanted("fr"), files, configs)


def test_without_a_card_folders_are_configs_and_words_in_names_are_splits() -> None:
    files = ["en/dev.csv", "en/train.csv", "de/rows.csv"]
    assert chosen(wanted("en"), files, []) == ["en/train.csv"]
    assert chosen(wanted("en", "validation"), files, []) == ["en/dev.csv"]
    assert chosen(wanted("de"), files, []) == ["de/rows.csv"]
    with pytest.raises(DataError, match="no config `fr`"):
        chosen(wanted("fr"), files, [])
