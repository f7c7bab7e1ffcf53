"""A prepared file to shards: nothing twice, nothing stale, nothing lost without a reason."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from luthier.core.errors import ModelError
from luthier.core.example import Example, Message, Source
from luthier.core.progress import Silent
from luthier.model.load import load_tokenizer
from luthier.tokens import encode as module
from luthier.tokens import worker
from luthier.tokens.encode import Limits, encode, in_memory, read_examples
from luthier.tokens.render import Renderer
from luthier.tokens.store import Stored

LIMITS = Limits(max_length=200)
LAST = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role }}"
    "{{ '!' if loop.last and m.role == 'assistant' else '' }}{{ m.content + '<|im_end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant!' }}{% endif %}"
)
"""Rewrites earlier answers, so that each is a text of its own."""


@pytest.fixture
def renderer(tiny_llama: Path) -> Renderer:
    return Renderer(load_tokenizer(tiny_llama))


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROWS", 10)


def example(number: int, *turns: tuple[str, str]) -> Example:
    said = turns or (("user", f"Why {number}?"), ("assistant", f"Because {number}."))
    return Example(tuple(Message(role, text) for role, text in said), Source("raw.jsonl", number))


def prepared(path: Path, examples: list[Example]) -> Path:
    path.write_text("".join(json.dumps(one.as_dict(), ensure_ascii=False) + "\n" for one in examples))
    return path


def encoded(path: Path, out: Path, renderer: Renderer, limits: Limits = LIMITS, **more: Any) -> Stored:
    return encode(path, out, renderer, limits, key=more.get("key", "k"), processes=2, progress=Silent())


def files(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def times(out: Path) -> dict[str, int]:
    return {path.parent.name: path.stat().st_mtime_ns for path in sorted(out.glob("*/shard.json"))}


def test_every_row_is_encoded_as_alone_and_in_order(tmp_path: Path, renderer: Renderer) -> None:
    rows = [example(n) for n in range(37)]
    stored = encoded(prepared(tmp_path / "train.jsonl", rows), tmp_path / "out", renderer)
    assert len(stored.folders) == 4
    for row, one in zip(rows, stored, strict=True):
        alone = renderer.encode(row)
        assert isinstance(alone, tuple)
        assert one.input_ids.tolist() == alone[0].input_ids.tolist()
        assert one.learned.tolist() == alone[0].learned.tolist()
        assert one.source == row.source


def test_the_account_in_memory_is_the_one_on_disk(tmp_path: Path, renderer: Renderer) -> None:
    rows = [example(n) for n in range(25)]
    path = prepared(tmp_path / "train.jsonl", rows)
    stored = encoded(path, tmp_path / "out", renderer)
    kept = in_memory(read_examples(path), renderer, LIMITS, processes=1)
    assert [row.input_ids.tolist() for row in kept.rows] == [row.input_ids.tolist() for row in stored]
    assert kept.examples == stored.total("examples") == 25


def test_an_empty_file_has_no_shards(tmp_path: Path, renderer: Renderer) -> None:
    stored = encoded(prepared(tmp_path / "train.jsonl", []), tmp_path / "out", renderer)
    assert len(stored) == 0
    assert stored.folders == []


def test_rows_are_learned_or_left_out_with_a_reason_each(tmp_path: Path, renderer: Renderer) -> None:
    rows = [
        example(1),
        example(2, ("user", "x" * 500), ("assistant", "y")),
        example(3, ("user", "only a question")),
        example(4, ("user", "x"), ("assistant", "Because.")),
        Example((Message("user", "x"), Message("assistant", "y", {"learn": [[5, 9]]})), Source("raw.jsonl", 5)),
        Example((Message("user", "x"), Message("assistant", "y", {"weight": 0})), Source("raw.jsonl", 6)),
    ]
    stored = encoded(prepared(tmp_path / "train.jsonl", rows), tmp_path / "out", renderer)
    left_out = {source.line: reason for source, reason in stored.left_out()}
    assert [row.source.line for row in stored] == [1, 4]
    assert left_out[2] == "longer than 200 tokens"
    assert left_out[3] == left_out[6] == "no token is learned"
    assert "turn 2 has 1 characters" in left_out[5]
    assert stored.total("examples") == len(rows) == len(stored) + len(left_out)


def test_a_conversation_of_several_texts_is_one_example(tmp_path: Path, tiny_llama: Path) -> None:
    renderer = Renderer(load_tokenizer(tiny_llama), template=LAST)
    turns = [("user", "One?"), ("assistant", "First."), ("user", "Two? " * 9), ("assistant", "Second.")]
    rows = [example(1), example(2, *turns), example(3, ("user", "no answer"))]
    path = prepared(tmp_path / "train.jsonl", rows)
    stored = encoded(path, tmp_path / "out", renderer)
    assert (stored.total("examples"), stored.total("rows"), stored.total("expanded")) == (3, 3, 1)
    assert Counter(row.source.line for row in stored) == {1: 1, 2: 2}
    short = encoded(path, tmp_path / "out", renderer, Limits(max_length=60), key="short")
    assert {row.source.line for row in short} | {source.line for source, _ in short.left_out()} == {1, 2, 3}


def test_truncated_tokens_are_counted(tmp_path: Path, renderer: Renderer) -> None:
    row = example(1, ("user", "x" * 500), ("assistant", "Because it is so."))
    path = prepared(tmp_path / "train.jsonl", [row])
    whole = encoded(path, tmp_path / "a", renderer, Limits(max_length=10_000))
    stored = encoded(path, tmp_path / "b", renderer, Limits(max_length=40, too_long="left"))
    assert stored[0].length == 40
    assert stored.total("cut") == stored[0].cut == whole[0].length - 40
    assert stored[0].input_ids.tolist() == whole[0].input_ids[-40:].tolist()


# Again ---------------------------------------------------------------------------------------------------


def test_what_is_there_is_not_made_again(tmp_path: Path, renderer: Renderer) -> None:
    path = prepared(tmp_path / "train.jsonl", [example(n) for n in range(25)])
    encoded(path, tmp_path / "out", renderer)
    before = times(tmp_path / "out")
    encoded(path, tmp_path / "out", renderer)
    assert times(tmp_path / "out") == before
    assert renderer._worker is None


def test_a_changed_row_makes_its_shard_again_and_no_other(tmp_path: Path, renderer: Renderer) -> None:
    rows = [example(n) for n in range(25)]
    encoded(prepared(tmp_path / "train.jsonl", rows), tmp_path / "out", renderer)
    before = times(tmp_path / "out")
    rows[12] = example(12, ("user", "Otherwise?"), ("assistant", "Yes."))
    stored = encoded(prepared(tmp_path / "train.jsonl", rows), tmp_path / "out", renderer)
    after = times(tmp_path / "out")
    assert [name for name in after if after[name] != before[name]] == ["00001"]
    assert "Otherwise?" in renderer.tokenizer.decode(stored[12].input_ids)


def test_a_changed_key_makes_every_shard_again(tmp_path: Path, renderer: Renderer) -> None:
    path = prepared(tmp_path / "train.jsonl", [example(n) for n in range(25)])
    encoded(path, tmp_path / "out", renderer)
    before = times(tmp_path / "out")
    encoded(path, tmp_path / "out", renderer, key="other")
    after = times(tmp_path / "out")
    assert all(after[name] != before[name] for name in after)


def test_shards_of_rows_that_are_gone_are_removed(tmp_path: Path, renderer: Renderer) -> None:
    rows = [example(n) for n in range(35)]
    encoded(prepared(tmp_path / "train.jsonl", rows), tmp_path / "out", renderer)
    stored = encoded(prepared(tmp_path / "train.jsonl", rows[:11]), tmp_path / "out", renderer)
    assert len(stored) == 11
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["00000", "00001"]


@pytest.mark.parametrize("torn", ["", "{", "[]", "3", "null", "{}", '{"key": 1}', "\xff\x00"])
def test_a_torn_account_is_written_again(tmp_path: Path, renderer: Renderer, torn: str) -> None:
    path = prepared(tmp_path / "train.jsonl", [example(n) for n in range(15)])
    encoded(path, tmp_path / "out", renderer)
    whole = files(tmp_path / "out")
    (tmp_path / "out" / "00001" / "shard.json").write_bytes(torn.encode("latin-1"))
    assert len(encoded(path, tmp_path / "out", renderer)) == 15
    assert files(tmp_path / "out") == whole


def test_a_missing_shard_is_written_again(tmp_path: Path, renderer: Renderer) -> None:
    path = prepared(tmp_path / "train.jsonl", [example(n) for n in range(25)])
    encoded(path, tmp_path / "out", renderer)
    whole = files(tmp_path / "out")
    shutil.rmtree(tmp_path / "out" / "00001")
    encoded(path, tmp_path / "out", renderer)
    assert files(tmp_path / "out") == whole


def test_a_large_row_closes_its_shard(tmp_path: Path, renderer: Renderer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SIZE", 1000)
    rows = [example(1), example(2, ("user", "x" * 2000), ("assistant", "y")), example(3)]
    stored = encoded(prepared(tmp_path / "train.jsonl", rows), tmp_path / "out", renderer, Limits(max_length=9999))
    assert [account["rows"] for account in stored.accounts] == [2, 1]


def test_a_template_given_up_half_way_keeps_the_shards_before(
    tmp_path: Path, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = (
        "{% for m in messages %}{{ 'a' * (10 ** (8 if 'bomb' in m.content else 0)) * 10 }}{{ m.content }}{% endfor %}"
    )
    renderer = Renderer(load_tokenizer(tiny_llama), template=template)
    rows = [example(n) for n in range(10)] + [example(n, ("user", "bomb"), ("assistant", "x")) for n in range(10)]
    monkeypatch.setattr(worker, "PATIENCE", 3)
    with pytest.raises(ModelError, match="given up"):
        encoded(prepared(tmp_path / "train.jsonl", rows), tmp_path / "out", renderer)
    assert (tmp_path / "out" / "00000").is_dir()


PROGRAM = """
import sys
from pathlib import Path
from luthier.core.progress import Silent
from luthier.model.load import load_tokenizer
from luthier.tokens import encode as module
from luthier.tokens.render import Renderer
module.ROWS = 10
model, path, out, *more = map(Path, sys.argv[1:])
renderer = Renderer(load_tokenizer(model))
print("ready", flush=True)
module.encode(path, out, renderer, module.Limits(200), key="k", processes=1, progress=Silent())
"""

TWICE = """
def kilobytes(name):
    return int(Path("/proc/self/status").read_text().split(name + ":")[1].split()[0])

Path("/proc/self/clear_refs").write_text("5")  # forgets how high memory stood
before = kilobytes("VmRSS")
module.encode(more[0], Path(f"{out}-more"), renderer, module.Limits(200), key="k", processes=1, progress=Silent())
print(kilobytes("VmHWM") - before)
"""


@pytest.mark.slow
def test_killed_between_shards_it_continues_and_the_files_are_the_same(
    tmp_path: Path, tiny_llama: Path, renderer: Renderer
) -> None:
    path = prepared(tmp_path / "train.jsonl", [example(n) for n in range(300)])
    whole = tmp_path / "whole"
    encoded(path, whole, renderer)
    out = tmp_path / "out"
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tiny_llama), str(path), str(out)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        process.stdout.readline()
        deadline = time.monotonic() + 60
        while not (out / "00003").is_dir() and time.monotonic() < deadline:
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
    before = {name: when for name, when in times(out).items() if not name.startswith(".")}  # one may be half written
    assert 4 <= len(before) < 30
    encoded(path, out, renderer)
    assert files(out) == files(whole)
    assert {name: times(out)[name] for name in before} == before
    assert [path for path in out.iterdir() if path.name.startswith(".")] == []


@pytest.mark.slow
def test_memory_does_not_grow_with_the_rows(tmp_path: Path, tiny_llama: Path) -> None:
    program = PROGRAM.replace("ROWS = 10", "ROWS = 1000") + TWICE
    few, many = (prepared(tmp_path / f"{count}.jsonl", [example(n) for n in range(count)]) for count in (2000, 20_000))
    done = subprocess.run(
        [sys.executable, "-c", program, str(tiny_llama), str(few), str(tmp_path / "few"), str(many)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout.split()[-1]) < 20_000  # KB; 20,000 rows in memory would be 40 MB


def test_where_the_fast_way_gives_other_ids_it_is_given_up_for_good(
    renderer: Renderer, tiny_llama: Path, tmp_path: Path
) -> None:
    path = prepared(tmp_path / "train.jsonl", [example(number) for number in range(25)])
    sure = encoded(path, tmp_path / "sure", renderer)

    from luthier.tokens.bpe import DiffersError, fast_bpe

    other = Renderer(load_tokenizer(tiny_llama))
    right = fast_bpe(other.backend)
    assert right is not None

    class Wrong:
        def encode(self, text: str) -> tuple[Any, Any]:
            ids, offsets = right.encode(text)
            return ids * 0, offsets

    other._fast = Wrong()
    with pytest.raises(DiffersError):
        encoded(path, tmp_path / "again", other)
    stored = encoded(path, tmp_path / "again", other)
    assert [row.input_ids.tolist() for row in stored] == [row.input_ids.tolist() for row in sure]
    assert other._fast is None


def test_of_a_conversation_of_several_texts_what_is_kept_and_what_is_not_are_both_told(
    tiny_llama: Path, tmp_path: Path
) -> None:
    renderer = Renderer(load_tokenizer(tiny_llama), template=LAST)
    turns = (("user", "One?"), ("assistant", "First."), ("user", "Two? " * 40), ("assistant", "Second."))
    path = prepared(
        tmp_path / "train.jsonl", [example(1), example(2, *turns), example(3, ("user", "x" * 400), turns[1])]
    )
    stored = encoded(path, tmp_path / "out", renderer, Limits(100))
    assert [row.source.line for row in stored] == [1, 2]
    assert [(source.line, reason) for source, reason in stored.left_out()] == [(3, "longer than 100 tokens")]
    assert [(source.line, reason) for source, reason in stored.left_out(partly=True)] == [(2, "longer than 100 tokens")]
    assert stored.total("examples") == 3


@pytest.mark.parametrize("name", ["ids.npy", "learned.npy", "rows.npy"])
@pytest.mark.parametrize("harm", ["gone", "torn"])
def test_a_damaged_shard_is_made_again(renderer: Renderer, tmp_path: Path, name: str, harm: str) -> None:
    path = prepared(tmp_path / "train.jsonl", [example(number) for number in range(25)])
    encoded(path, tmp_path / "out", renderer)
    before = files(tmp_path / "out")
    damaged = tmp_path / "out" / "00001" / name
    if harm == "gone":
        damaged.unlink()
    else:
        damaged.write_bytes(damaged.read_bytes()[:-1])
    encoded(path, tmp_path / "out", renderer)
    assert files(tmp_path / "out") == before


def test_more_shards_than_a_process_may_open_files_can_be_read(renderer: Renderer, tmp_path: Path) -> None:
    import resource

    from luthier.tokens.store import Shard, shard_name

    (one,) = renderer.encode(example(1))  # type: ignore[misc]
    shards = 400
    for number in range(shards):
        Shard(examples=1, rows=[one]).write(tmp_path / shard_name(number), "k")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (300, hard))
    try:
        stored = Stored(tmp_path, shards)
        assert all((stored[place].input_ids == one.input_ids).all() for place in range(shards))
        assert stored.lengths.tolist() == [one.length] * shards
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
