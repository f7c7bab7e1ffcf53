"""Near duplicates on the way of rows through `prepare`."""

import json
import random
from itertools import combinations, pairwise
from pathlib import Path

import pytest
from data_files import Write, prepare_sources

WORDS = ["amber", "basin", "cedar", "delta", "ember", "fjord", "grove", "haven", "inlet", "jetty", "knoll", "ledge"]


def alike(one: str, other: str) -> float:
    sets = [{*pairwise(words.lower().split())} for words in (one, other)]
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def row(prompt: str, answer: str) -> str:
    return json.dumps({"prompt": prompt, "answer": answer}) + "\n"


def story(seed: int) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=40))


def test_a_row_near_one_of_an_earlier_source_is_dropped_with_its_match(write: Write, tmp_path: Path) -> None:
    first = write("first.jsonl", row(story(1), story(2)) + row(story(3), story(4)))
    second = write("second.jsonl", row(story(5), story(6)) + row(f"{story(3)} please", f"Well {story(4)}"))
    prepared = prepare_sources(tmp_path, first, second)
    (dropped,) = prepared.rows("dropped")
    assert dropped["reason"] == "near_duplicate"
    assert (dropped["source"], dropped["line"]) == (str(second), 2)
    assert dropped["matched"] == {"source": str(first), "line": 2}
    assert dropped["detail"].endswith(f"% the same as {first}:2")
    assert [turn["content"] for turn in dropped["row"]["messages"]] == [f"{story(3)} please", f"Well {story(4)}"]
    assert prepared.data["rows"] == {"in": 4, "kept": 3, "dropped": 1, "by_reason": {"near_duplicate": 1}}
    written = [turn["source"]["line"] for part in ("train", "valid") for turn in prepared.rows(part)]
    assert sorted(written) == [1, 1, 2]


def test_a_row_with_one_word_in_twenty_changed_is_found(write: Write, tmp_path: Path) -> None:
    asks = "Could you explain how the water cycle works, from evaporation over clouds to rain, for a class of children?"
    asks_again = (
        "Could you explain how the water cycle works, from evaporation over clouds to rain, to a class of children?"
    )
    says = (
        "The sun warms the sea and water rises as vapour. High above it cools, drops form, and clouds grow. When the "
        "drops are heavy enough they fall as rain, run into rivers, and come back to the sea, where it begins again."
    )
    says_again = says.replace("The sun", "First, the sun").replace("enough they fall", "enough, they fall")
    path = write("rows.jsonl", row(asks, says) + row("Who was Bach?", story(1)) + row(asks_again, says_again))
    (dropped,) = prepare_sources(tmp_path, path).rows("dropped")
    assert (dropped["line"], dropped["matched"]["line"]) == (3, 1)


def test_rows_that_name_other_numbers_are_other_rows(write: Write, tmp_path: Path) -> None:
    sums = [row(f"{story(1)}: {n} apples and twelve more?", f"{story(2)}: {n + 12}") for n in range(20)]
    prepared = prepare_sources(tmp_path, write("sums.jsonl", "".join(sums) + sums[0].replace("amber", "cedar", 1)))
    assert [dropped["line"] for dropped in prepared.rows("dropped")] == [21]


def test_no_two_rows_with_near_prompts_are_in_different_splits(write: Write, tmp_path: Path) -> None:
    draw = random.Random(0)
    prompts: list[list[str]] = []
    for _ in range(300):
        words = draw.choices(WORDS, k=30) if draw.random() < 0.4 or not prompts else [*draw.choice(prompts)]
        words[draw.randrange(30)] = draw.choice(WORDS)
        prompts.append(words)
    path = write("rows.jsonl", "".join(row(" ".join(words), story(n)) for n, words in enumerate(prompts)))
    prepared = prepare_sources(tmp_path, path, split={"valid": 0.2, "test": 0.1})
    parts = {part: prepared.rows(part) for part in ("train", "valid", "test")}
    assert sum(map(len, parts.values())) == 300
    assert all(parts.values())
    near = 0
    where = [(part, one["messages"][0]["content"]) for part, rows in parts.items() for one in rows]
    for (part, prompt), (other_part, other) in combinations(where, 2):
        if alike(prompt, other) >= 0.8:
            near += 1
            assert part == other_part
    assert near > 50


def test_rows_can_be_told_instead_of_dropped(write: Write, tmp_path: Path) -> None:
    rows = "".join(row(story(n), story(-n)) for n in range(1, 10))
    path = write("rows.jsonl", rows + row(f"{story(1)} now", story(-1)))
    prepared = prepare_sources(tmp_path, path, clean={"near_duplicates": {"action": "tell"}})
    assert prepared.rows("dropped") == []
    check = prepared.check("near_duplicates")
    assert check["details"] == "1 row nearly the same as an earlier one, 10.0%: kept, and held back together"
    assert check["status"] == "ok"


@pytest.mark.parametrize("share", [0.25, 0.1])
def test_a_source_that_loses_many_rows_is_a_warning_with_pairs_and_other_keys(
    share: float, write: Write, tmp_path: Path
) -> None:
    copies = round(100 * share)
    rows = [row(story(n), story(-n)) for n in range(1, 101 - copies)]
    rows += [row(f"{story(n)} now", story(-n)) for n in range(1, copies + 1)]
    path = write("rows.jsonl", "".join(rows))
    prepared = prepare_sources(tmp_path, path)
    assert len(prepared.rows("dropped")) == copies
    check = prepared.check("near_duplicates")
    assert (check["status"] == "warning") == (share > 0.2)
    if share > 0.2:
        assert f"{path}:76 is 9" in check["details"]
        assert "`text`, `prompt`, `answer`, `last_user`" in check["hint"]


def test_near_duplicates_can_be_left_alone(write: Write, tmp_path: Path) -> None:
    path = write("rows.jsonl", row(story(1), story(2)) + row(f"{story(1)} now", story(2)))
    assert prepare_sources(tmp_path, path, clean={"near_duplicates": False}).rows("dropped") == []


def test_tools_and_calls_nested_deep_are_compared_like_others(write: Write, tmp_path: Path) -> None:
    deep = f"{'[' * 300}1{']' * 300}"
    call = f'{{"id": "1", "type": "function", "function": {{"name": "f", "arguments": "{{}}"}}, "more": {deep}}}'
    tool = f'{{"type": "function", "function": {{"name": "f", "parameters": {{"x": {deep}}}}}}}'
    turns = f'{{"role": "user", "content": "Q"}}, {{"role": "assistant", "content": "A", "tool_calls": [{call}]}}'
    path = write("rows.jsonl", row(story(1), story(2)) + f'{{"messages": [{turns}], "tools": [{tool}]}}\n')
    assert prepare_sources(tmp_path, path).rows("dropped") == []
