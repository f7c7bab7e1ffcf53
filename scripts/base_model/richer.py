"""The second part of the training text: the same chats in more wordings, and tasks that ask for exact copying.

Copying (a list said again, a customer's name) is what a small model learns last; here it is asked for often.
"""

# Patterns read as sentences; wrapping them would hide their grammar.
# ruff: noqa: E501

import random
import re

from scripts.base_model.chat import GREETINGS, Exchange, Message, any_name, chat, made_up_name, on_smalltalk
from scripts.base_model.phrases import expand
from scripts.base_model.prose import choose_says, numbered, problem_for, scene
from scripts.base_model.world import (
    ALL_INSTRUMENTS,
    ANIMALS,
    BOYS,
    DAYS,
    GIRLS,
    OPPOSITES,
    PARTS,
    PLACES,
    PRODUCE,
    TOOLS,
)

COPYING_SHARE = 0.14
"""Share of the chats of the second part that are copying tasks."""
REWORDED_SHARE = 0.4
"""Share of the other chats whose first question is put in other words."""

WORDS: tuple[str, ...] = (
    *(row[0] for table in (ANIMALS, PRODUCE, TOOLS, PARTS, PLACES) for row in table),
    *(word for pair in OPPOSITES for word in pair),
    *ALL_INSTRUMENTS,
    *DAYS,
    *GIRLS,
    *BOYS,
)

REWORDINGS: tuple[tuple[str, str], ...] = (
    (
        r"^What does (an? [\w ]+) do\?$",
        r"[Could you tell me what \1 does?|I'd like to know what \1 does.|What is it that \1 does?]",
    ),
    (
        r"^How many strings does (an? [\w ]+|the [\w ]+) have\?$",
        r"[Could you tell me how many strings \1 has?|How many strings are there on \1?|I want to know how many strings \1 has.]",
    ),
    (r"^Where is (the [\w ]+)\?$", r"[Could you tell me where \1 is?|I am looking for \1.|I cannot find \1.]"),
    (
        r"^What is (an? \w+(?: \w+)?)\?$",
        r"[Could you tell me what \1 is?|I do not know what \1 is. Can you help?|What exactly is \1?]",
    ),
    (r"^What is (\d+) \+ (\d+)\?$", r"[How much is \1 and \2?|Please add \1 and \2.|What do you get for \1 + \2?]"),
    (
        r"^(?:Name|Tell me|List) (two|three|four|five) ",
        r"[Please name \1 |Give me the names of \1 |I need \1 |Say \1 ]",
    ),
    (
        r"^(?:Tell me|Write|Write me|Please write) a (?:short |little )?story",
        r"[Make up a story|Please tell me a story|I want to hear a story|Invent a little story|Could you write a story]",
    ),
    (r"^How (?:do|can) I ", r"[How would I |How should I |What is a good way to |Can you show me how to ]"),
    (r"^How do you ", r"[How would you |How does one ]"),
    (
        r"^When is the workshop open\?$|^What are your opening hours\?$",
        r"[When can I come by?|On which days are you open?|What time do you open and close?|Tell me your hours.]",
    ),
    (r"^What (?:sound|noise) does ", r"[Which sound does |What kind of noise does |What sound is made by ]"),
    (
        r"What (?:can|should) I do\?",
        r"[Any idea?|Any ideas?|What would help?|What now?|What do you suggest?|How do I fix that?]",
    ),
    (
        r"Can you (?:help|fix it)\?",
        r"[Could you help me?|Could you repair it?|Would you have a look at it?|Is there a way to fix it?]",
    ),
    (r"has started to buzz", r"[started buzzing|began to buzz|keeps buzzing]"),
    (r"has pegs that slip", r"[keeps losing its pegs|has slipping pegs|has pegs that keep slipping]"),
    (
        r"\bMy ([\w ]+) has (an? [\w ]+)\.",
        r"[There is a problem with my \1: it has \2.|My \1 now has \2.|I noticed that my \1 has \2.]",
    ),
)

LETTER_OPENINGS: tuple[str, ...] = (
    *(g.casefold() for g in GREETINGS),
    "my name",
    "i am ",
    "i'm ",
    "a question",
    "please",
)

FRAMES: tuple[str, ...] = (
    "One quick question: {q}",
    "Just wondering: {q}",
    "{q} Any idea?",
    "{q} Please tell me.",
    "Hi, I am {name}. {q}",
    "Sorry to bother you. {q}",
    "{q} Thanks in advance.",
    "I have been asking myself: {q}",
    "{q} I would be glad to know.",
    "Hello there, I am {name}. {q}",
    "Please help me. {q}",
    "{name} asked me: {q}",
)


def reworded(question: str, rng: random.Random) -> str:
    """Put a question in other words where a rule fits, or in a frame such as `Just wondering: ...`."""
    fitting = [rule for rule in REWORDINGS if re.search(rule[0], question)]
    if fitting and rng.random() < 0.75:
        pattern, words = rng.choice(fitting)
        question = expand(re.sub(pattern, words, question, count=1), rng)
        return (
            question + "?"
            if question.startswith(("What is a good way", "Can you show", "Could you write"))
            else question
        )
    plain = question.endswith("?") and not question.casefold().startswith(LETTER_OPENINGS)
    if plain and " here. " not in question and rng.random() < 0.7:
        return rng.choice(FRAMES).replace("{q}", question).replace("{name}", any_name(rng))
    return question


def some_words(rng: random.Random, low: int, high: int) -> list[str]:
    """Draw words from all the tables, now and then an invented name or a number."""
    words = rng.sample(WORDS, rng.randrange(low, high))
    for n in range(len(words)):
        roll = rng.random()
        if roll < 0.15:
            words[n] = made_up_name(rng)
        elif roll < 0.25:
            words[n] = str(rng.randrange(2, 1000))
    return words


def copying(rng: random.Random) -> list[Exchange]:
    """Ask for something to be said again: a list, a sentence, a name, an instrument."""
    kind = rng.randrange(8)
    s = scene(rng)
    if kind in (0, 1):
        words = some_words(rng, 4, 16)
        ask = rng.choice(("Repeat this list: ", "Say after me: ", "Copy this: ", "Write this again: ", "Repeat: "))
        line = ", ".join(words) + "."
        return [(ask + line, line)]
    if kind == 2:
        words = some_words(rng, 3, 9)
        ask = rng.choice(("Number this list: ", "Write this as a numbered list: ", "Make a numbered list of this: "))
        return [(ask + ", ".join(words) + ".", numbered(words))]
    if kind == 3:
        words = some_words(rng, 3, 9)
        ask = rng.choice(("Write these in one line:\n", "Put these words in one line:\n"))
        return [(ask + "\n".join(f"- {w}" for w in words), ", ".join(words) + ".")]
    if kind == 4:
        name, i = any_name(rng), s["i"]
        says = choose_says(problem_for(i, rng), rng)
        text = rng.choice(
            (
                f"Hello, this is {name}. My {i} {says}.",
                f"{name} here. My {i} {says}.",
                f"My {i} {says}. Can you help? Thank you, {name}",
            )
        )
        if rng.random() < 0.6:
            return [
                (f"Who wrote this message? {text}", f"{name} wrote it."),
                ("Which instrument is it about?", f"It is about the {i}."),
            ]
        return [
            (f"Which instrument is this about? {text}", f"It is about the {i}."),
            ("And who wrote it?", f"{name} wrote it."),
        ]
    if kind == 5:
        name = any_name(rng)
        news = rng.choice((f"the {s['i']} is ready", f"the {s['i']} needs a new string", f"we are closed on {s['day']}",
                           f"the {s['tool']} is in {s['spot']}", f"the price is {rng.randrange(10, 300)} euros"))  # fmt: skip
        ask = rng.choice(
            (f"Write a note to {name}: {news}.", f"Tell {name} that {news}.", f"Write to {name} that {news}.")
        )
        return [(ask, rng.choice((f"Dear {name}, {news}.", f"{name}, {news}.")))]
    if kind == 6:
        name, other = rng.sample([made_up_name(rng), *GIRLS, *BOYS], 2)
        line = rng.choice((f"{{n}} plays the {s['i']}.", f"{{n}} has {s['n']} {s['fruits']}.", f"{{n}} went to the {s['place']} with the {s['animal']}.",
                           f"{{n}} lost the {s['tool']} on {s['day']}."))  # fmt: skip
        return [(f"Put {other} in place of {name}: " + line.replace("{n}", name), line.replace("{n}", other))]
    turns: list[Exchange] = []
    while not turns or "name is" not in turns[-1][1]:
        turns = on_smalltalk(rng)
    return turns


def richer_chat(rng: random.Random) -> list[Message]:
    """Write a chat of the second part of the training text."""
    if rng.random() < COPYING_SHARE:
        messages: list[Message] = []
        for question, answer in copying(rng):
            messages.append({"role": "user", "content": question})
            messages.append({"role": "assistant", "content": answer})
        return messages
    messages = chat(rng)
    if rng.random() < REWORDED_SHARE:
        first = next(m for m in messages if m["role"] == "user")
        first["content"] = reworded(first["content"], rng)
    return messages
