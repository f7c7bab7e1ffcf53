"""What a hostile template can't do, that ours are the environment of Transformers, and control tokens in texts."""

import json
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luthier.core.errors import ModelError
from luthier.core.example import Example, Message, Source
from luthier.model.load import load_tokenizer
from luthier.tokens import worker
from luthier.tokens.render import CONTROL, Encoded, Refused, Renderer, Result
from luthier.tokens.sandbox import Templates, reply

HERE = Source("here", 1)
CHAT = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Because."}]

# A few megabytes, so that its own memory does not count as that of the process it starts.
LIGHT = """
import json, os, subprocess, sys
lines = sys.stdin.buffer.read()
process = subprocess.Popen(
    [sys.executable, "-P", "-m", "luthier.tokens.sandbox"],
    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
)
try:
    process.stdin.write(lines)
    process.stdin.close()
except BrokenPipeError:
    pass
answers, errors = process.stdout.read(), process.stderr.read()
_, status, used = os.wait4(process.pid, 0)
process.returncode = 0
print(json.dumps({
    "status": os.waitstatus_to_exitcode(status), "seconds": used.ru_utime + used.ru_stime,
    "peak": used.ru_maxrss * 1024, "answers": answers.decode(), "errors": errors.decode(),
}))
"""


class Outcome(NamedTuple):
    """How a template process ended."""

    status: int
    seconds: float
    peak: int
    answers: list[dict[str, Any]]
    errors: str


def setting(template: Any, **more: Any) -> dict[str, Any]:
    tokens = ["<|im_start|>", "<|im_end|>"]
    return {
        "template": template,
        "variables": {"eos_token": "<|im_end|>"},
        "now": "2026-03-09T12:00:00",
        "special": tokens,
        "added": tokens,
        "learn": "assistant",
        "rows": "conversation",
        "stops": ["<|im_end|>"],
        **more,
    }


def run(template: str, turns: list[dict[str, Any]] = CHAT) -> Outcome:
    request = {"messages": turns, "tools": []}
    lines = f"{json.dumps(setting(template))}\n1\n{json.dumps(request)}\n".encode()
    done = subprocess.run([sys.executable, "-c", LIGHT], input=lines, capture_output=True, check=True)
    told = json.loads(done.stdout)
    answers = [json.loads(line) for line in told["answers"].splitlines()]
    return Outcome(told["status"], told["seconds"], told["peak"], answers, told["errors"])


GROW = "{% set ns = namespace(s=START) %}{% for i in range(60) %}{% set ns.s = ns.s + ns.s %}{% endfor %}{{ ns.s }}"

BOMBS = {
    "text without end": "{% for i in range(99999) %}{% for j in range(9999) %}" + "x" * 20 + "{% endfor %}{% endfor %}",
    "a macro calls itself": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "a macro calls itself twice": "{% macro f(n) %}{{ f(n + 1) }}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}",
    "a recursive loop": "{% for a in [[1]] recursive %}{{ loop([a]) }}{% endfor %}",
    "a block calls itself": "{% block a %}{{ self.a() }}{% endblock %}",
    "a large constant": "{{ 'a' * 10**9 }}",
    "a constant of constants": "{{ ('a' * 10**7) * 100 }}",
    "a large text": "{{ messages[0].role * 10**9 }}",
    "a large list": "{{ [messages] * 10**9 }}",
    "a large range": "{{ range(10**9)|list|length }}",
    "a random of a range": "{{ range(10**18)|random }}",
    "a wide %d": "{{ '%1000000000d' % 1 }}",
    "a wide %*d": "{{ '%*d' % (10**9, 1) }}",
    "a wide format": "{{ '{:>1000000000}'.format('a') }}",
    "center": "{{ 'a'|center(10**9) }}",
    "ljust": "{{ 'a'.ljust(10**9) }}",
    "zfill": "{{ 'a'.zfill(10**9) }}",
    "tabs": "{{ '\t'.expandtabs(10**9) }}",
    "text that doubles": GROW.replace("START", "'aaaaaaaaaa'"),
    "a list that doubles": GROW.replace("START", "[1]"),
    "capitals of ß": GROW.replace("START", "'ß'").replace("ns.s + ns.s", "(ns.s + ns.s).upper()"),
    "a join of large texts": "{{ range(99999)|join('a' * 10**4) }}",
    "replace": "{{ (messages[0].role * 10**5).replace('', 'b' * 10**5) }}",
    "an indent": "{{ 'a\nb'|indent(10**9) }}",
    "tojson with an indent": "{{ messages|tojson(indent=10**9) }}",
    "tojson with separators": "{{ messages|tojson(separators=('a' * 10**6, 'b' * 10**6)) }}",
    "batches": "{{ range(9)|batch(10**9, 'x')|list }}",
    "a format for strftime": "{{ strftime_now('%Y' * 10**8) }}",
    "utf-32": "{{ ('a' * 10**8).encode('utf-32')|length }}",
    "texts centered": "{{ range(99999)|map('center', 10**5)|list|length }}",
    "an error of a large text": "{{ raise_exception(messages[0].role * 4 * 10**7) }}",
    "an error of a large key": "{{ ('{' ~ messages[0].role * 2 * 10**7 ~ '}').format() }}",
    "an error that is a number": "{{ raise_exception(10**(4999 + messages|length)) }}",
    "brackets": "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "ifs": "{% if 1 %}" * 2000 + "x" + "{% endif %}" * 2000,
    "a long sum": "{{ " + "+".join("1" * 5000) + " }}",
    "generation in generation": "{% generation %}" * 200 + "x" + "{% endgeneration %}" * 200,
    "half a character": "{% for m in messages %}{{ m.content }}{% endfor %}{{ '\\ud800' }}",
    "zero bytes": "\0{{ '\\0' }}",
    "nothing": "",
    "no end of a block": "{% for %}",
    "no such name": "{{ nope.nope }}",
}
"""Each ends at once."""

LASTING = {
    "nested loops": "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "ranges in a loop": "{% for i in range(99999) %}{% set x = range(99999)|list %}{% endfor %}",
    "a tree of macros": (
        "{% macro f(n) %}{% if n < 60 %}{{ f(n + 1) }}{{ f(n + 1) }}{% endif %}{% endmacro %}{{ f(0) }}"
    ),
    "much text, none of it written": (
        "{% set x = 'a' * 10**7 %}{% for i in range(99999) %}{% if x == x + 'a' %}{% endif %}{% endfor %}"
    ),
    "lipsum": "{{ lipsum(n=99999, min=10000, max=20000) }}",
    "sort and join": "{% for i in range(9999) %}{% set x = range(99999)|sort|join|sort|join %}{% endfor %}",
    "a tower of powers": "{{ (messages|length + 9) ** 999999999 }}",
    "a constant power": "{{ 9**7**9 }}",
    "squares": (
        "{% set ns = namespace(s=2) %}{% for i in range(60) %}{% set ns.s = ns.s * ns.s %}{% endfor %}{{ ns.s }}"
    ),
    "wordwrap": "{{ ('a ' * 10**7)|wordwrap(1) }}",
    "urlize": "{{ ('http://a.b ' * 10**6)|urlize }}",
    "pprint": "{{ ([[[[[[[[[[[[1]]]]]]]]]]]] * 10**5)|pprint }}",
    "groupby": "{% for i in range(99999) %}{{ range(99999)|groupby('real')|length }}{% endfor %}",
    "sum of lists": "{{ ([[0] * 1000] * 99999)|sum(start=[])|length }}",
    "slices": "{{ range(9)|slice(10**9)|list|length }}",
    "small objects": (
        "{% set ns = namespace(l=[]) %}{% for i in range(99999) %}"
        "{% set ns.l = [ns.l, range(9999)|map('string')|list] %}{% endfor %}"
    ),
    "an error that takes long to tell": (
        "{% set ns = namespace(l=[]) %}{% for i in range(40) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}"
        "{{ raise_exception(ns.l) }}"
    ),
    "the hash of a deep tuple": (
        "{% set ns = namespace(t=()) %}{% for j in range(2) %}{% for i in range(99999) %}{% set ns.t = (ns.t,) %}"
        "{% endfor %}{% endfor %}{% set x = {ns.t: 1} %}"
    ),
    "many short renderings": "{% for m in range(99999) %}{% continue %}{% endfor %}" * 200,
    "a long template": "a{{ messages[0].role }}" * 200_000,
}
"""Each is ended for its time or its memory."""

ESCAPES = {
    "class": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "attr": "{{ (''|attr('__class__')).mro() }}",
    "map": "{{ ([''] | map(attribute='__class__') | first).mro() }}",
    "format": "{{ '{0.__class__.__mro__}'.format('') }}",
    "format_map": "{{ '{a.__class__.__mro__}'.format_map({'a': 1}) }}",
    "a stored format": "{% set f = '{0.__class__.__mro__}'.format %}{{ f('') }}",
    "a format in map": "{{ ['{0.__class__.__mro__}']|map('format', '')|first }}{{ ''.__class__.mro() }}",
    "cycler": "{{ cycler.__init__.__globals__.os.system('echo pwned') }}",
    "joiner": "{{ joiner('x').__init__.__globals__ }}",
    "namespace": "{{ namespace.__init__.__globals__ }}",
    "a name of a namespace": "{% set n = namespace(__class__=1) %}{{ n }}",
    "a name in a namespace": "{% set n = namespace() %}{% set n.__class__ = 1 %}{{ n }}",
    "dict": "{{ dict.__call__.__globals__ }}",
    "lipsum": "{{ lipsum.__globals__['os'].popen('echo pwned').read() }}",
    "the clock": "{{ strftime_now.__self__.__class__.__mro__[0].__subclasses__() }}",
    "a macro": "{% macro f() %}{% endmacro %}{{ f.__call__.__globals__ }}",
    "a generator": "{{ (messages|map('upper')).gi_frame.f_globals }}{{ (messages|map('upper')).gi_frame.x }}",
    "self": "{{ self.__init__.__globals__ }}",
    "self's template": "{{ self._TemplateReference__context.environment.__class__ }}",
    "a list grows": "{% set l = [] %}{{ l.append(l) }}",
    "messages change": "{{ messages[0].update({'role': 'x'}) }}",
    "include": "{% include '/etc/passwd' %}",
    "import": "{% import 'os' as os %}{{ os.system('echo pwned') }}",
    "extends": "{% extends '/etc/passwd' %}",
    "wide letters": "{{ ''['__cl' ~ 'ass__'].mro() }}{{ ''['＿＿class＿＿'].mro() }}",
}
"""Each asks for what the sandbox keeps."""


def ended_well(outcome: Outcome) -> None:
    assert outcome.errors == ""
    assert outcome.seconds < 2
    assert outcome.peak < 256 * 2**20
    assert len(outcome.answers) <= 2
    if len(outcome.answers) < 2 and not any("broken" in answer for answer in outcome.answers):
        assert outcome.status < 0  # by the kernel
    else:
        assert outcome.status == 0
        assert {*outcome.answers[-1]} <= {"broken", "refused", "limit"}


@pytest.mark.parametrize("template", BOMBS.values(), ids=BOMBS.keys())
def test_a_bomb_is_a_reason_and_costs_little(template: str) -> None:
    ended_well(run(template))


@pytest.mark.slow
@pytest.mark.parametrize("template", LASTING.values(), ids=LASTING.keys())
def test_a_template_that_lasts_is_ended_within_two_seconds(template: str) -> None:
    ended_well(run(template))


@pytest.mark.parametrize("template", ESCAPES.values(), ids=ESCAPES.keys())
def test_a_template_that_walks_to_pythons_insides_is_refused(template: str) -> None:
    outcome = run(template)
    ended_well(outcome)
    assert "pwned" not in json.dumps(outcome.answers)
    assert "<class" not in json.dumps(outcome.answers)
    assert "root:" not in json.dumps(outcome.answers)


@pytest.mark.slow
def test_time_is_for_the_whole_conversation_not_for_each_of_its_many_renderings() -> None:
    busy = "{% for i in range(99999) %}{% set x = i %}{% endfor %}" * 25
    turns = [*CHAT] * 10
    outcome = run(busy + "{% for m in messages %}{{ m.content + '<|im_end|>' }}{% endfor %}", turns)
    assert outcome.errors == ""
    assert outcome.seconds < 4  # 21 renderings of half a second


def test_what_a_template_raises_is_told_in_one_printable_line() -> None:
    outcome = run("{{ raise_exception('\\x1b[31mred\\nmore') }}")
    assert outcome.answers[-1] == {"refused": "the chat template refuses this conversation:  [31mred"}


def test_a_process_without_a_setting_says_so() -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "luthier.tokens.sandbox"], input=b"", capture_output=True, check=True
    )
    assert "broken" in json.loads(done.stdout)
    assert done.stderr == b""


def test_a_parent_that_went_away_makes_no_traceback() -> None:
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "luthier.tokens.sandbox"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin
    assert process.stdout
    assert process.stderr
    request = json.dumps({"messages": CHAT, "tools": []}).encode() + b"\n"
    with process.stdin, process.stderr:
        process.stdout.close()
        try:
            process.stdin.write(json.dumps(setting("x")).encode() + b"\n1\n" + request)
            process.stdin.close()
        except BrokenPipeError:
            pass
        assert process.stderr.read() == b""
        process.wait()


# With a renderer -----------------------------------------------------------------------------------------

PLAIN = "{% for m in messages %}{{ m.role + ':\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
OPENING = "{% if add_generation_prompt %}assistant:\n{% endif %}"
TRIGGERED = {
    "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}": "processor time",
    "{{ m.role * 10**9 }}": "256 MB",
    "{% for i in range(99999) %}{{ 'x' * 999 }}{% endfor %}": "without end",
    "{{ ''.__class__.mro() }}": "unsafe",
    "{{ raise_exception('not so') }}": "not so",
}


def renderer_with(folder: Path, template: Any) -> Renderer:
    return Renderer(load_tokenizer(folder), template=template, now=datetime(2026, 3, 9, 12))


def conversation(*turns: tuple[str, str]) -> Example:
    return Example(tuple(Message(role, text) for role, text in turns), HERE)


@pytest.mark.parametrize(("bomb", "reason"), TRIGGERED.items(), ids=TRIGGERED.values())
def test_after_a_bomb_the_same_renderer_encodes_the_next_conversation(tiny_llama: Path, bomb: str, reason: str) -> None:
    trigger = "{% for m in messages %}{% if 'bomb' in m.content %}" + bomb + "{% endif %}{% endfor %}"
    renderer = renderer_with(tiny_llama, trigger + PLAIN + OPENING)
    refused = renderer.encode(conversation(("user", "a bomb"), ("assistant", "No.")))
    assert isinstance(refused, Refused)
    assert reason in refused.reason
    encoded = renderer.encode(conversation(("user", "Why?"), ("assistant", "Because.")))
    assert learned_text(renderer, encoded) == "Because.<|im_end|>"


def test_a_template_that_reaches_a_limit_again_and_again_is_given_up_for_good(
    tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "PATIENCE", 3)
    renderer = renderer_with(tiny_llama, "{{ messages[0].role * 10**9 }}")
    example = conversation(("user", "Why?"), ("assistant", "Because."))
    for _ in range(2):
        result = renderer.encode(example)
        assert isinstance(result, Refused)
        assert result.limit
    for _ in range(2):
        with pytest.raises(ModelError, match="given up"):
            renderer.encode(example)


@pytest.mark.parametrize("template", ["{{ 'a' * 10**9", "{% for %}", "{{ ('a' * 10**8).encode('utf-32')|length }}"])
def test_a_template_that_does_not_compile_is_an_error_of_the_model(tiny_llama: Path, template: str) -> None:
    with pytest.raises(ModelError, match="can't be used"):
        renderer_with(tiny_llama, template).encode(conversation(("user", "Why?"), ("assistant", "Because.")))


# As Transformers -----------------------------------------------------------------------------------------

TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"a": [1, 2.5, None, True, "ä<b>&'\""]}}}]
SNIPPETS = [
    "{{ messages|tojson }}",
    "{{ tools|tojson(indent=2) }}",
    "{{ tools|tojson(indent='\t', sort_keys=true) }}",
    "{{ tools|tojson(ensure_ascii=true, separators=(',', ':')) }}",
    "{{ messages[0]|tojson(true, 1) }}",
    "{{ strftime_now('%d %b %Y') }}",
    "{% set ns = namespace(n=0, s='') %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}",
    "{% for m in messages %}{% if loop.first %}{% continue %}{% endif %}{{ m.content }}{% break %}{% endfor %}",
    "  {% if true %}\n  x\n  {% endif %}\n\ty {# a note #}\n{{ 1 }}\n",
    "{%- if true -%}\n  x\n  {%- endif %}\n\n y",
    "{{ dict(a=1, b=messages[0].role) }}{{ dict([('k', 2)])['k'] }}{{ dict.fromkeys([1, 2], 'x') }}",
    "{% for m in messages %}{% generation %}{{ m.content }}\n{% endgeneration %}\n{% endfor %}",
    "{% macro turn(m, end='</s>') %}{{ m.role ~ '|' ~ m.content|trim ~ end }}{% endmacro %}{{ turn(messages[1]) }}",
    "{% macro wrap() %}[{{ caller() }}]{% endmacro %}{% call wrap() %}{{ eos_token }}{% endcall %}",
    "{{ messages|map(attribute='role')|join(',') }}{{ messages|selectattr('role', 'equalto', 'user')|list|length }}",
    "{{ bos_token is defined }}{{ eos_token }}{{ documents }}{{ add_generation_prompt }}{{ nope }}{{ nope is none }}",
    "{{ messages[::-1][0].content[:3].strip().upper() }}{{ messages[-1]['content'].split('e')|last }}",
    "{{ range(3)|list }}{{ 7 // 2 }}{{ 7 / 2 }}{{ -7 % 3 }}{{ 2 ** 8 }}{{ 'a' ~ 1 }}{{ none }}{{ true }}",
    "{% for k, v in messages[0].items() %}{{ k }}={{ v }};{% endfor %}{{ messages[0].get('x', 'y') }}",
    "{{ '<b>&' }}{{ '<b>&'|e }}{{ 'a\nb'|indent(2) }}{{ [3, 1, 2]|sort|first }}{{ 'x'|default('y') }}",
    "{% set x %}a {{ 1 }}{% endset %}{{ x|length }}{{ tools[0].function.name }}{{ messages is mapping }}",
    "{{ cycler('a', 'b').next() }}{% set j = joiner(',') %}{{ j() }}{{ j() }}{{ messages[0].reasoning_content }}",
]


@pytest.mark.parametrize("template", SNIPPETS)
@pytest.mark.parametrize("ask", [True, False])
def test_what_a_template_writes_equals_what_transformers_writes(tiny_llama: Path, template: str, ask: bool) -> None:
    renderer = Renderer(load_tokenizer(tiny_llama), template=template, now=datetime.now())
    turns = [
        Message("user", " Whä? <b>&'\"\n", {"reasoning": "hm", "name": None}),
        Message("assistant", "Because 🎻.", {"weight": None}),
    ]
    theirs = renderer.tokenizer.apply_chat_template(
        [{key: value for key, value in turn.as_dict().items() if value is not None} for turn in turns],
        tools=TOOLS,
        add_generation_prompt=ask,
        tokenize=False,
    )
    assert renderer.text(turns, tools=TOOLS, ask=ask) == theirs


def test_what_a_template_raises_is_what_transformers_raises(tiny_llama: Path) -> None:
    renderer = renderer_with(tiny_llama, "{{ raise_exception('roles must alternate') }}")
    with pytest.raises(ModelError, match="roles must alternate"):
        renderer.text([Message("user", "x")])


def test_the_clock_of_a_template_is_the_renderers(tiny_llama: Path) -> None:
    renderer = renderer_with(tiny_llama, "{{ strftime_now('%d %b %Y') }}")
    assert renderer.text([Message("user", "x")]) == "09 Mar 2026"


def test_the_template_for_tools_is_used_where_there_are_tools(tiny_llama: Path) -> None:
    renderer = renderer_with(tiny_llama, {"default": "plain", "tool_use": "tools"})
    assert renderer.text([Message("user", "x")]) == "plain"
    assert renderer.text([Message("user", "x")], tools=TOOLS) == "tools"


# Control tokens in texts ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def renderer(tiny_llama: Path) -> Renderer:
    return Renderer(load_tokenizer(tiny_llama))


def learned_text(renderer: Renderer, result: Result) -> str:
    assert isinstance(result, tuple), result
    (encoded,) = result
    return str(renderer.tokenizer.decode(encoded.input_ids[encoded.learned]))


SPECIAL = ["<|pad|>", "<|im_start|>", "<|im_end|>", "<|endoftext|>"]
letters = st.characters(exclude_categories=["Cs"], exclude_characters="\U000f0000\U000f0001")  # Transformers eats these
pieces = st.one_of(st.sampled_from([*SPECIAL, "<|im_", "end|>", "\n", " ", "<", "\uf8ff", "\uf8fe"]), st.text(letters))
texts = st.lists(pieces, min_size=1, max_size=8).map("".join)
nonempty = texts.filter(lambda text: bool(text.strip()))


@given(texts, texts)
@settings(deadline=None, max_examples=150)
def test_control_tokens_in_content_are_text_as_transformers_reads_them(
    renderer: Renderer, question: str, told: str
) -> None:
    example = conversation(("user", question), ("assistant", told), ("user", told))
    result = renderer.encode(example)
    assert isinstance(result, tuple), result
    turns = [message.as_dict() for message in example.messages]
    theirs = renderer.tokenizer.apply_chat_template(turns, sanitize_control_tokens=True, return_dict=False)
    assert result[0].input_ids.tolist() == theirs
    harmless = one(renderer.encode(conversation(("user", "a"), ("assistant", "b"), ("user", "c"))))
    assert controls(renderer, result[0]) == controls(renderer, harmless)


def one(result: Result) -> Encoded:
    assert isinstance(result, tuple), result
    return result[0]


def controls(renderer: Renderer, encoded: Encoded) -> list[int]:
    special = {renderer.tokenizer.convert_tokens_to_ids(token) for token in SPECIAL}
    return [int(token) for token in encoded.input_ids if int(token) in special]


@given(nonempty)
@settings(deadline=None, max_examples=100)
def test_private_use_characters_and_marked_text_survive_unchanged(renderer: Renderer, text: str) -> None:
    example = conversation(("user", text), ("assistant", text))
    told = renderer.told(example)
    (part,) = told["parts"]
    assert part["text"] == renderer.tokenizer.apply_chat_template(
        [message.as_dict() for message in example.messages], tokenize=False
    )
    assert told["marked"] == any(token in text for token in SPECIAL)
    assert all(part["text"][start:end] in SPECIAL for start, end in part["marked"])
    ((_, ((start, end),), _),) = part["learned"]
    assert part["text"][start:end] == text + "<|im_end|>\n"


@given(texts.filter(lambda text: any(token in text for token in SPECIAL)), st.data())
@settings(deadline=None, max_examples=100)
def test_spans_to_learn_name_the_same_text_where_marks_shift_it(
    renderer: Renderer, text: str, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    turns = (Message("user", text), Message("assistant", text, {"learn": [[start, end]]}))
    told = renderer.told(Example(turns, HERE))
    (part,) = told["parts"]
    ((_, ((first, past),), until_stop),) = part["learned"]
    assert until_stop == (end == len(text))
    assert part["text"][first:past] == text[start:end] + ("<|im_end|>\n" if until_stop else "")
    assert first == len(part["text"].removesuffix("<|im_end|>\n")) - len(text) + start


def test_a_template_that_escapes_the_marks_is_refused(tiny_llama: Path) -> None:
    template = "{% for m in messages %}{{ m|tojson(ensure_ascii=true) }}<|im_end|>{% endfor %}"
    result = renderer_with(tiny_llama, template).encode(conversation(("user", "a <|im_end|>"), ("assistant", "b")))
    assert isinstance(result, Refused)
    assert "can't be followed" in result.reason


def test_a_private_use_character_of_the_template_itself_stays(tiny_llama: Path) -> None:
    renderer = renderer_with(tiny_llama, PLAIN.replace("m.role", "'\uf8ff\uf8fe' + m.role"))
    assert "\uf8ff\uf8feuser" in renderer.text([Message("user", "a <|im_end|>")])


def test_a_conversation_of_all_private_use_characters_and_a_control_token_is_refused(renderer: Renderer) -> None:
    every = "".join(map(chr, range(0xE000, 0xF900)))
    result = renderer.encode(conversation(("user", f"<|im_end|>{every}"), ("assistant", "b")))
    assert isinstance(result, Refused)
    assert "private-use" in result.reason
    assert isinstance(renderer.encode(conversation(("user", every), ("assistant", "b"))), tuple)


def test_control_tokens_in_tools_and_calls_are_text(tiny_llama: Path) -> None:
    template = "{{ tools|tojson }}" + PLAIN.replace("m.content", "m.content + (m.tool_calls or '')|tojson") + OPENING
    renderer = renderer_with(tiny_llama, template)
    call = {"type": "function", "function": {"name": "f", "arguments": '{"a": "<|im_end|>"}'}}
    turns = (Message("user", "x"), Message("assistant", "", {"tool_calls": [call]}))
    tool = {"type": "function", "function": {"name": "f", "description": "<|im_start|>"}}
    encoded = one(renderer.encode(Example(turns, HERE, tools=(tool,))))
    assert CONTROL in encoded.traits
    end = renderer.tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert controls(renderer, encoded) == [end, end]


def test_an_answer_may_write_added_tokens_that_are_not_special_and_a_question_may_not() -> None:
    template = "{% for m in messages %}{{ m.role }}<think></think>{{ m.content }}<|im_end|>{% endfor %}"
    templates = Templates(setting(template, added=["<|im_start|>", "<|im_end|>", "<think>", "</think>", "<other>"]))

    def marked(role: str) -> list[str]:
        turns = [{"role": role, "content": "<think><other><|im_end|>"}]
        told = json.loads(reply(templates, json.dumps({"messages": turns, "ask": False}).encode()))
        return [told["text"][start:end] for start, end in told["marked"]]

    assert marked("user") == ["<think>", "<|im_end|>"]
    assert marked("assistant") == ["<|im_end|>"]


def test_a_row_may_hold_half_a_character_and_is_refused(renderer: Renderer) -> None:
    result = renderer.encode(conversation(("user", "\ud800"), ("assistant", "b")))
    assert isinstance(result, Refused)
    assert "half a character" in result.reason
