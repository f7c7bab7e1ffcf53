"""Go's template language and Ollama's use of it: every expected text follows from their documentation by hand.

The language was also compared with Go 1.27's own text/template on 60,000 random templates; Go is not needed to
run these tests.
"""

import time
from contextlib import suppress
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luthier.export.gotemplate import DEPTH, SOURCE, GoTemplateError, parse, render

DATA = {
    "S": "text",
    "E": "",
    "N": None,
    "I": 7,
    "F": 2.5,
    "L": ["a", "b", "c"],
    "M": {"b": 2, "a": 1},
    "D": {"x": {"y": "deep"}},
    "P": [{"k": "v"}],
}

RENDERED = [
    # text, trimming, comments
    ("a{{ 1 }}b", "a1b"),
    ("a \n{{- 1 -}}\t b", "a1b"),
    ("a {{-3}} b", "a -3 b"),
    ("x {{/* gone */}} y", "x  y"),
    ("x {{- /* gone */ -}} y", "xy"),
    ("}} {{ 1 }} }}", "}} 1 }}"),
    ("{{ 1 }}}", "1}"),
    ("{{\n 1\n}}", "1"),
    ("", ""),
    # literals
    (r'{{ "tab\tquote\"\u00e9\x41\101" }}', 'tab\tquote"éAA'),
    (r"{{ `raw \n` }}", r"raw \n"),
    ("{{ 'a' }} {{ 0x1F }} {{ 1_000 }} {{ -3 }} {{ 010 }} {{ 0b11 }}", "97 31 1000 -3 8 3"),
    ("{{ 1e3 }} {{ .5 }} {{ 1e6 }} {{ 1.0 }} {{ 0.00001 }}", "1000 0.5 1e+06 1 1e-05"),
    ("{{ true }} {{ false }}", "true false"),
    # fields, variables
    ("{{ .S }} {{ .D.x.y }} {{ $.S }} {{ (.D).x.y }} {{ (index .P 0).k }}", "text deep text deep v"),
    ("{{ .Missing }}", "<no value>"),
    ("{{ $x := 1 }}{{ if true }}{{ $x = 2 }}{{ $x := 3 }}{{ end }}{{ $x }}", "2"),
    ("{{ $d := .D }}{{ $d.x.y }}", "deep"),
    ("{{ with $x := 5 }}{{ $x }}{{ . }}{{ end }}", "55"),
    ("{{ if $x := 0 }}{{ else }}{{ $x }}{{ end }}", "0"),
    # if
    ("{{ if .S }}y{{ else }}n{{ end }}{{ if .E }}y{{ else }}n{{ end }}", "yn"),
    ("{{ if .E }}1{{ else if .N }}2{{ else if .S }}3{{ else }}4{{ end }}", "3"),
    ("{{ if and .S .E }}y{{ end }}{{ if or .E .S }}z{{ end }}", "z"),
    # range
    ("{{ range .L }}<{{ . }}>{{ end }}", "<a><b><c>"),
    ("{{ range $i, $e := .L }}{{ $i }}{{ $e }}{{ end }}", "0a1b2c"),
    ("{{ range $e := .L }}{{ $e }}{{ end }}", "abc"),
    ("{{ range .M }}{{ . }}{{ end }}", "12"),
    ("{{ range $k, $v := .M }}{{ $k }}={{ $v }};{{ end }}", "a=1;b=2;"),
    ("{{ range .N }}x{{ else }}none{{ end }}", "none"),
    ("{{ range 3 }}{{ . }}{{ end }}", "012"),
    ("{{ range $i, $e := .L }}{{ if eq $i 1 }}{{ continue }}{{ end }}{{ $e }}{{ end }}", "ac"),
    ("{{ range $i, $e := .L }}{{ if eq $i 1 }}{{ break }}{{ end }}{{ $e }}{{ end }}!", "a!"),
    ("{{ $last := 0 }}{{ range $i, $e := .L }}{{ $last = $i }}{{ end }}{{ $last }}", "2"),
    ("{{ range .L }}{{ $.S }}{{ end }}", "texttexttext"),
    # with
    ("{{ with .D.x }}{{ .y }}{{ end }}{{ with .E }}x{{ else }}{{ .S }}{{ end }}", "deeptext"),
    ("{{ with .E }}x{{ else with .S }}{{ . }}{{ end }}", "text"),
    # templates
    ('{{ define "t" }}[{{ . }}]{{ end }}{{ template "t" .S }}{{ template "t" 3 }}', "[text][3]"),
    ('{{ block "u" 5 }}<{{ . }}>{{ end }}', "<5>"),
    ('{{ define "t" }}{{ $ }}{{ end }}{{ range .L }}{{ template "t" . }}{{ end }}', "abc"),
    # pipelines and functions
    ('{{ "a" | printf "%s-%s" "b" }}', "b-a"),
    ("{{ .L | len }} {{ len .S }} {{ len .M }}", "3 4 2"),
    ('{{ len "é" }}', "2"),
    ("{{ and 1 0 2 }} {{ or 0 .E 3 }} {{ not 0 }}", "0 3 true"),
    # what is behind the deciding value is not evaluated: `.E.no` alone would fail
    ("{{ or .S .E.no }} {{ and .E .E.no }}", "text "),
    ('{{ eq .S "text" }} {{ eq .I 1 2 }} {{ ne 1 2 }}', "true false true"),
    ("{{ eq 3 1 2 3 }} {{ eq .N nil }} {{ eq .S nil }}", "true true false"),
    ('{{ lt 1 2 }} {{ le 2 2 }} {{ gt 1 2 }} {{ ge 2 3 }} {{ lt "a" "b" }}', "true true false false true"),
    ('{{ index .L 1 }} {{ index .M "b" }} {{ index "abc" 1 }} {{ index .M "zz" }}', "b 2 98 <no value>"),
    ('{{ slice .S 1 3 }} {{ slice .L 1 }} {{ slice "abc" }}', "ex [b c] abc"),
    ('{{ print 1 2 "a" 3 nil }}|{{ print "a" "b" }}|{{ println 1 "a" }}', "1 2a3 <nil>|ab|1 a\n"),
    ('{{ printf "%s %d %v %q|%5d|%-3s|%03d|%.1f|%t|100%%" "a" 3 true "x\\n" 4 "b" 5 2.25 true }}',
     'a 3 true "x\\n"|    4|b  |005|2.2|true|100%'),
    ('{{ printf "%d" }} {{ printf "%d" "x" }} {{ printf "x" 1 }} {{ printf "%s" 5 }}',
     "%!d(MISSING) %!d(string=x) x%!(EXTRA int=1) %!s(int=5)"),
    ("{{ .L }} {{ .M }} {{ .P }}", "[a b c] map[a:1 b:2] [map[k:v]]"),
    ('{{ html "<a href=\'x\'>" }}', "&lt;a href=&#39;x&#39;&gt;"),
    # JSON as Go writes it
    ("{{ json .M }} {{ json .L }} {{ json .N }} {{ .S | json }}", '{"a":1,"b":2} ["a","b","c"] null "text"'),
    ('{{ json "<é&\\t\\"\\\\>" }}', '"\\u003cé\\u0026\\t\\"\\\\\\u003e"'),
    ("{{ json 2.5 }} {{ json 1e6 }} {{ json 1e21 }} {{ json 0.0000001 }}", "2.5 1000000 1e+21 1e-7"),
    ("{{ currentDate }} {{ yesterdayDate }}", "2026-03-01 2026-02-28"),
]  # fmt: skip


@pytest.mark.parametrize(("template", "wanted"), RENDERED, ids=range(len(RENDERED)))
def test_a_template_renders_as_gos_documentation_says(template, wanted):
    assert parse(template).execute(DATA, today=date(2026, 3, 1)) == wanted


REFUSED = [
    ("{{ foo }}", 1, "unknown function `foo`"),
    ("\n\n{{ js .S }}", 3, "does not cover"),
    ("{{ if 1 }}", 1, "no `end`"),
    ("a\n{{ end }}", 2, "belongs to nothing"),
    ("{{ else }}", 1, "belongs to nothing"),
    ("{{ if 1 }}{{ else }}{{ else }}{{ end }}", 1, "second `else`"),
    ("{{ if }}x{{ end }}", 1, "value is missing"),
    ("{{ }}", 1, "value is missing"),
    ("{{ .A", 1, "not closed"),
    ('{{ "a\nb" }}', 1, "unexpected"),
    ("{{/* x", 1, "comment has no end"),
    ("{{/* x */ }}", 1, "comment ends before"),
    ("{{ $x }}", 1, "undefined variable `$x`"),
    ("{{ if 1 }}{{ $y := 1 }}{{ end }}{{ $y }}", 1, "undefined variable `$y`"),
    ("{{ 1 | 2 }}", 1, "hands on to a function"),
    ('{{ "a""b" }}', 1, "space is missing"),
    ("{{ print(1) }}", 1, "space is missing"),
    ("{{ (1 }}", 1, "`)` is missing"),
    ("{{ 1 ) }}", 1, "unexpected `)`"),
    ("{{ .a-b }}", 1, "unexpected '-'"),
    ("{{ break }}", 1, "outside `range`"),
    ("{{ range .L }}{{ else }}{{ break }}{{ end }}", 1, "outside `range`"),
    ("{{ $a, $b := .L }}", 1, "only `range`"),
    ("{{ if 1 }}{{ define \"x\" }}{{ end }}{{ end }}", 1, "`define`"),
    ("{{ template x }}", 1, "name in quotes"),
    ("{{ 99999999999999999999 }}", 1, "too large"),
    ('{{ "\\z" }}', 1, "unknown escape"),
    ("{{ 3i }}", 1, "no number"),
    # while running
    ("{{ nil }}", 1, "`nil` alone"),
    ("\n{{ .N.x }}", 2, "`.x` of nil"),
    ("{{ .S.x }}", 1, "no field `.x` in a string"),
    ("{{ .S 1 }}", 1, "only a function takes values"),
    ("{{ eq 1 1.0 }}", 1, "can't compare a int with a float64"),
    ("{{ eq .L .L }}", 1, "can't compare"),
    ('{{ lt "a" 1 }}', 1, "can't order"),
    ("{{ len 3 }}", 1, "`len` of a int"),
    ("{{ index .L 3 }}", 1, "out of range"),
    ("{{ index .N 0 }}", 1, "of nil"),
    ("{{ index .M 0 }}", 1, "no key"),
    ("{{ slice .L 2 1 }}", 1, "not in order"),
    ("{{ not }}", 1, "got 0 values"),
    ("{{ range 1.5 }}{{ end }}", 1, "range can't go over a float64"),
    ('{{ template "none" }}', 1, "not defined"),
    ('{{ printf "%x" 1 }}', 1, "not covered"),
    ("{{ printf 3 }}", 1, "needs a format"),
]  # fmt: skip


@pytest.mark.parametrize(("template", "line", "said"), REFUSED, ids=range(len(REFUSED)))
def test_a_wrong_template_is_refused_with_its_line(template, line, said):
    with pytest.raises(GoTemplateError) as error:
        parse(template).execute(DATA)
    assert error.value.line == line
    assert said in error.value.problem
    assert str(error.value) == f"line {line}: {error.value.problem}"


HOSTILE = [
    "{{ range 100000000000 }}{{ end }}",
    "{{ range 10000 }}{{ range 10000 }}{{ end }}{{ end }}",
    '{{ $x := "aaaaaaaa" }}' + "{{ $x = print $x $x }}" * 60,
    '{{ $x := "aaaaaaaa" }}' + "{{ $x = printf `%s%s` $x $x }}" * 60,
    '{{ define "t" }}{{ template "t" . }}{{ end }}{{ template "t" . }}',
    '{{ define "t" }}{{ template "t" . }}{{ template "t" . }}{{ end }}{{ template "t" . }}',
    "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "{{ if 1 }}" * 5000 + "{{ end }}" * 5000,
    "{{ if 0 }}" + "{{ else if 0 }}" * 5000 + "{{ end }}",
    '{{ printf "%999999999d" 1 }}',
    "x" * (SOURCE + 1),
    "{{" * 100_000,
    '{{ "' * 100_000,
    "{{ `" + "a" * 500_000,
    "{{ " + ".a" * 300_000 + " }}",
    "{{ $x := 1 }}" * 20_000 + "{{ range 1000 }}{{ $y }}{{ end }}",
    "{{ .S" + " | print" * 100_000 + " }}",
]


@pytest.mark.parametrize("template", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_template_ends_soon_with_an_error(template):
    begun = time.monotonic()
    with pytest.raises(GoTemplateError):
        parse(template).execute({"S": "s" * 1000})
    assert time.monotonic() - begun < 10


def test_blocks_may_nest_as_deep_as_said():
    deep = DEPTH - 1
    assert parse("{{ if 1 }}" * deep + "x" + "{{ end }}" * deep).execute({}) == "x"
    assert parse("{{ " + "(" * deep + "1" + ")" * deep + " }}").execute({}) == "1"


@given(st.text().filter(lambda text: "{{" not in text))
def test_text_without_actions_renders_to_itself(text):
    assert parse(text).execute({}) == text


@given(st.text(alphabet='{}-. $x:=|()"`\n/*ifendrange0,', max_size=40))
def test_any_text_renders_or_is_refused(text):
    with suppress(GoTemplateError):
        parse(text).execute({"x": "y"})


# Ollama ----------------------------------------------------------------------------------------------------

TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "One?"},
    {"role": "assistant", "content": "1"},
    {"role": "user", "content": "Two?"},
]

CHATML_EXCHANGE = (
    "{{ if .System }}<|im_start|>system\n{{ .System }}<|im_end|>\n{{ end }}"
    "{{ if .Prompt }}<|im_start|>user\n{{ .Prompt }}<|im_end|>\n{{ end }}"
    "<|im_start|>assistant\n{{ .Response }}<|im_end|>\n"
)
CHATML_MESSAGES = (
    "{{- range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}<|im_start|>assistant\n"
)
CHATML_TALK = (
    "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nOne?<|im_end|>\n"
    "<|im_start|>assistant\n1<|im_end|>\n<|im_start|>user\nTwo?<|im_end|>\n<|im_start|>assistant\n"
)
LLAMA3 = """{{- range $i, $m := .Messages -}}
<|start_header_id|>{{ .Role }}<|end_header_id|>

{{ .Content }}<|eot_id|>
{{- if eq (len (slice $.Messages $i)) 1 }}<|start_header_id|>assistant<|end_header_id|>

{{ end }}
{{- end }}"""
GEMMA = """<start_of_turn>user
{{ if .System }}{{ .System }} {{ end }}{{ .Prompt }}<end_of_turn>
<start_of_turn>model
{{ .Response }}<end_of_turn>
"""
MISTRAL = """{{- range $index, $_ := .Messages }}
{{- if eq .Role "user" }}
{{- if and (eq (len (slice $.Messages $index)) 1) $.Tools }}[AVAILABLE_TOOLS] {{ $.Tools }}[/AVAILABLE_TOOLS]
{{- end }}[INST] {{ if and $.System (eq (len (slice $.Messages $index)) 1) }}{{ $.System }}

{{ end }}{{ .Content }}[/INST]
{{- else if eq .Role "assistant" }}
{{- if .Content }} {{ .Content }}</s>
{{- else if .ToolCalls }}[TOOL_CALLS] [
{{- range .ToolCalls }}{"name": "{{ .Function.Name }}", "arguments": {{ json .Function.Arguments }}}
{{- end }}]</s>
{{- end }}
{{- else if eq .Role "tool" }}[TOOL_RESULTS] {"content": {{ .Content }}}[/TOOL_RESULTS]
{{- end }}
{{- end }}"""
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tells it.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "Where", "default": "Bonn"}, "at": {"enum": [1]}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
WEATHER_JSON = (
    '{"type":"function","function":{"name":"weather","description":"Tells it.","parameters":{"type":"object",'
    '"required":["city"],"properties":{"at":{"enum":[1]},"city":{"type":"string","description":"Where"}}}}}'
)


@pytest.mark.parametrize(
    ("template", "wanted"),
    [
        (CHATML_EXCHANGE, CHATML_TALK),
        (CHATML_MESSAGES, CHATML_TALK),
        (
            LLAMA3,
            "<|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\nOne?<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n1<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\nTwo?<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n",
        ),
        (
            GEMMA,
            "<start_of_turn>user\nBe brief. One?<end_of_turn>\n<start_of_turn>model\n1<end_of_turn>\n"
            "<start_of_turn>user\nTwo?<end_of_turn>\n<start_of_turn>model\n",
        ),
        (MISTRAL, "[INST] One?[/INST] 1</s>[INST] Be brief.\n\nTwo?[/INST]"),
        ("{{ .Prompt }}", "One?1Two?"),
        ("{{ .System }}|{{ .Prompt }}>", "Be brief.|One?>1|Two?>"),
    ],
    ids=["chatml by exchange", "chatml by message", "llama 3", "gemma", "mistral", "default", "no response"],
)
def test_the_usual_templates_open_the_answer(template, wanted):
    assert render(template, TALK) == wanted


def test_tools_and_calls_are_written_as_json():
    talk = [
        {"role": "user", "content": "Weather?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c1", "function": {"name": "weather", "arguments": '{"b": 1, "a": "<x>"}'}}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "rain"},
        {"role": "user", "content": "And?"},
    ]
    wanted = (
        '[INST] Weather?[/INST][TOOL_CALLS] [{"name": "weather", "arguments": {"a":"\\u003cx\\u003e","b":1}}]</s>'
        '[TOOL_RESULTS] {"content": rain}[/TOOL_RESULTS]'
        f"[AVAILABLE_TOOLS] [{WEATHER_JSON}][/AVAILABLE_TOOLS][INST] And?[/INST]"
    )
    assert render(MISTRAL, talk, [WEATHER]) == wanted
    names = (
        "{{ range .Messages }}{{ .ToolName }}"
        "{{ range .ToolCalls }}<{{ .ID }} {{ .Function.Arguments }}>{{ end }}{{ end }}"
    )
    assert render(names, talk) == '<c1 {"a":"\\u003cx\\u003e","b":1}>weather'
    parts = (
        "{{ range .Messages }}{{ end }}{{ range .Tools }}{{ .Function.Name }}:"
        "{{ range $n, $p := .Function.Parameters.Properties }} "
        "{{ $n }} {{ $p.Type }} {{ toTypeScriptType $p }};{{ end }}"
        "{{ . }}{{ end }}"
    )
    assert render(parts, talk, [WEATHER]) == f"weather: at  any; city string string;{WEATHER_JSON}"


def test_whole_numbers_of_arguments_are_floats_as_in_go():
    call = {"function": {"name": "f", "arguments": {"n": 1000000}}}
    talk = [{"role": "assistant", "content": "", "tool_calls": [call]}]
    each = (
        "{{ range .Messages }}{{ range .ToolCalls }}{{ range .Function.Arguments }}{{ . }}{{ end }}{{ end }}{{ end }}"
    )
    assert render(each, talk) == "1e+06"
    assert render(each.replace("{{ . }}", "{{ json . }}"), talk) == "1000000"


def test_neighbours_of_one_role_are_joined_but_tools_are_not():
    talk = [
        {"role": "System", "content": "a"},
        {"role": "system", "content": "b"},
        {"role": "user", "content": "c"},
        {"role": "user", "content": "d"},
        {"role": "tool", "content": "e"},
        {"role": "tool", "content": "f"},
        {"role": "system", "content": "g"},
    ]
    shown = "{{ .System }}{{ range .Messages }}|{{ .Role }}:{{ .Content }}{{ end }}"
    assert render(shown, talk) == "a\n\nb\n\ng|system:a\n\nb|user:c\n\nd|tool:e|tool:f|system:g"
    assert [message["content"] for message in talk] == ["a", "b", "c", "d", "e", "f", "g"]


def test_a_late_system_turn_opens_an_exchange():
    talk = [*TALK[:3], {"role": "system", "content": "New."}, TALK[3]]
    assert render("<{{ .System }}|{{ .Prompt }}|{{ .Response }}>", talk) == "<Be brief.|One?|1><New.|Two?|"


def test_the_text_behind_the_response_is_cut_inside_a_block_too():
    template = "{{ if .Prompt }}U {{ .Prompt }} A {{ .Response }} Z{{ end }}!"
    assert render(template, TALK[1:]) == "U One? A 1 Z!U Two? A "
    assert render("{{ if .Response }}R{{ end }}{{ .Prompt }}{{ .Response }}x", TALK[1:2]) == "One?"


def test_an_answer_that_was_begun_is_kept():
    assert render(CHATML_EXCHANGE, [*TALK[:2], {"role": "assistant", "content": "Let"}]).endswith("assistant\nLet")


def test_a_template_that_shows_thinking_is_asked_to_think_unless_told():
    template = (
        "{{ range .Messages }}{{ .Content }}{{ with .Thinking }}<{{ . }}>{{ end }}{{ end }}"
        "{{ if and $.IsThinkSet $.Think }}think{{ else if $.IsThinkSet }}no{{ end }}{{ .ThinkLevel }}"
    )
    assert render(template, TALK[1:2]) == "One?think"
    assert render(template, TALK[1:2], think=False) == "One?no"
    assert render(template, TALK[1:2], think="high") == "One?thinkhigh"
    assert render("{{ range .Messages }}{{ end }}{{ .Think }} {{ .IsThinkSet }}", TALK) == "false false"
    thought = {"role": "assistant", "content": "1", "reasoning_content": "hm"}
    assert render(template, [thought], think=False) == "1<hm>no"


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": [{"type": "text", "text": "a"}]},
        {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "[1]"}}]},
        {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "no json"}}]},
    ],
)
def test_a_message_that_ollama_does_not_take_is_refused(message):
    with pytest.raises(ValueError, match=r"content|arguments|Expecting"):
        render(CHATML_MESSAGES, [message])
