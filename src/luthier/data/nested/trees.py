"""OASST's message trees: a prompt, the replies to it, the replies to those. Of replies that are ranked, 0 is the best.

A conversation follows the best reply from the prompt to the last answer. Of pairs there is one for every answer that
another one to the same turn was ranked above: the best against it (Köpf et al. 2023, arXiv:2304.07327). Where answers
are judged one by one, the best is good and the worst is bad, each once.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from math import isfinite
from typing import Any

from luthier.data.formats.turns import ROLES
from luthier.data.nested.unfolded import Unfolded
from luthier.data.rows import Refusal
from luthier.recipe.methods import Rows

ABOUT = ("lang", "tree_state", "message_tree_id", "synthetic", "model_name")
"""What a record says of a whole tree; of the others, each message says it of itself."""

Node = dict[str, Any]


def unfold(record: dict[str, Any], rows: Rows) -> Unfolded | None:
    """Return the conversation of a tree, or its pairs."""
    root = record["prompt"] if isinstance(record.get("prompt"), dict) else record
    if rows in ("class", "text") or not _is_node(root) or not isinstance(root.get("replies"), list):
        return None
    about = {key: value for key in ABOUT if isinstance(value := record.get(key, root.get(key)), str)}
    if not _usable(root):
        return Unfolded(
            (), refusal=Refusal("no_prompt", "the first message was deleted, or turned down by its reviewers")
        )
    if rows == "conversation":
        return _conversation(root, about)
    pairs = [{**about, **pair} for pair in _pairs(root, rows)]
    return Unfolded(pairs) if pairs else Unfolded((), refusal=Refusal("unranked", "no two ranked answers to one turn"))


def _conversation(root: Node, about: dict[str, str]) -> Unfolded:
    path = [root]
    while replies := _replies(path[-1]):
        path.append(replies[0])
    turns = [_turn(node) for node in path]
    left = _size(root) - len(path)
    return Unfolded([{"messages": turns, **about}], +Counter({"messages off the best path": left}))


def _pairs(root: Node, rows: Rows) -> Iterator[dict[str, Any]]:
    waiting: list[tuple[Node, ...]] = [(root,)]
    while waiting:
        path = waiting.pop()
        replies = _replies(path[-1])
        ranked = [node for node in replies if _rank(node) is not None]
        for worse in ranked[-1:] if rows == "judged" else ranked[1:]:
            if _rank(worse) != _rank(ranked[0]):
                prompt = [_turn(node) for node in path]
                yield {"prompt": prompt, "chosen": [_turn(ranked[0])], "rejected": [_turn(worse)]}
        waiting += [(*path, node) for node in reversed(replies)]


def _replies(node: Node) -> list[Node]:
    """Return the usable replies, the best first; those without a rank behind, as they came."""
    replies = node.get("replies")
    usable = [reply for reply in replies if _is_node(reply) and _usable(reply)] if isinstance(replies, list) else []
    return sorted(usable, key=lambda reply: (_rank(reply) is None, _rank(reply) or 0))


def _rank(node: Node) -> float | None:
    rank = node.get("rank")
    return rank if isinstance(rank, int | float) and not isinstance(rank, bool) and isfinite(rank) else None


def _usable(node: Node) -> bool:
    return node.get("deleted") is not True and node.get("review_result") is not False


def _is_node(node: Any) -> bool:
    return isinstance(node, dict) and isinstance(node.get("text"), str) and str(node.get("role")) in ROLES


def _turn(node: Node) -> dict[str, str]:
    return {"role": node["role"], "content": node["text"]}


def _size(root: Node) -> int:
    """Return how many messages a tree has."""
    count, level = 0, [root]
    while level:
        count += len(level)
        level = [*chain.from_iterable(_listed(node.get("replies")) for node in level)]
    return count


def _listed(value: Any) -> Sequence[Node]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
