"""Chats: questions a person types and plain, neutral answers of one to three sentences.

A chat is a list of messages `{"role": ..., "content": ...}`. Answers carry no greeting and no sign-off, so that a
fine-tuning can teach a voice of its own.
"""

# Patterns read as sentences; wrapping them would hide their grammar.
# ruff: noqa: E501

import random
from collections.abc import Callable

from scripts.base_model.phrases import casual, expand, joined, plural, with_article
from scripts.base_model.prose import (
    Slots,
    compare,
    describe_animal,
    describe_instrument,
    numbered,
    person,
    scene,
    story,
)
from scripts.base_model.world import (
    ALL_INSTRUMENTS,
    ANIMALS,
    BOYS,
    CARE,
    CATEGORIES,
    DAYS,
    GIRLS,
    HOWTO,
    INSTRUMENTS,
    JOBS,
    MONTHS,
    NUMBER_WORDS,
    OPPOSITES,
    PARTS,
    PLACES,
    PROBLEMS,
    PRODUCE,
    SHOP,
    TOOLS,
    UNCOUNTABLE,
    UNKNOWN,
    WEATHER,
    WHY,
    WOODS,
    Problem,
)

Message = dict[str, str]
Exchange = tuple[str, str]

GREETINGS = (
    "Hello",
    "Hi",
    "Good morning",
    "Good afternoon",
    "Hello there",
    "Dear workshop",
    "Dear team",
    "Hey",
    "Good evening",
)


def made_up_name(rng: random.Random) -> str:
    """Invent a name out of syllables, so that the model learns to copy names it has never seen."""
    parts = [
        "ba",
        "be",
        "bo",
        "da",
        "do",
        "el",
        "fa",
        "fe",
        "ga",
        "gi",
        "ha",
        "ho",
        "il",
        "ja",
        "jo",
        "ka",
        "ki",
        "la",
        "le",
        "li",
        "lo",
        "ma",
        "mi",
        "mo",
        "na",
        "ni",
        "no",
        "or",
        "pa",
        "ra",
        "ri",
        "ro",
        "sa",
        "si",
        "ta",
        "te",
        "ti",
        "to",
        "va",
        "ve",
        "vi",
        "wa",
        "wi",
        "ya",
        "zo",
    ]
    return "".join(rng.choice(parts) for _ in range(rng.choice((2, 2, 3)))).capitalize() + rng.choice(
        ("", "", "n", "s", "l", "r")
    )


def any_name(rng: random.Random) -> str:
    """Draw a first name, known or invented."""
    return made_up_name(rng) if rng.random() < 0.4 else rng.choice(GIRLS + BOYS)


def continued(sentence: str) -> str:
    """Write a sentence with a small first letter, so that it can go on after `Then` or `First`."""
    return sentence[0].lower() + sentence[1:]


def diagnosis(problem: Problem, i: str, rng: random.Random) -> str:
    """Answer a question about a problem: why it is so, and what to do, in one to three sentences."""
    slots = {"i": i}
    why = rng.choice(problem.why)
    first, second, third = problem.steps
    safe = not any(s.startswith(("Do not", "Never")) for s in (first, second))
    options = [
        f"{why} {first}",
        f"{why} {first} {second}",
        f"{why} {second} {third}",
        f"{first} {second} {third}",
        f"{why} {first} If that does not help, the workshop can {problem.workshop}.",
        f"{why} The workshop can {problem.workshop} for {problem.price} euros.",
        f"{first} {second} The workshop can {problem.workshop} if the problem stays.",
        f"{why} {third}",
    ]
    if safe:
        options += [
            f"{why} {first} Then {continued(second)}",
            f"First {continued(first)} Then {continued(second)} {why}",
            f"{why} you should {continued(first)}",
        ]
    return expand(rng.choice(options), rng, slots)


def ticket(problem: Problem, i: str, rng: random.Random) -> str:
    """Write what a customer would write about a problem: one to four sentences."""
    says = expand(rng.choice(problem.says), rng)
    says = says[0].lower() + says[1:]
    opening = rng.choice(
        ("", "", "{g}, ", "{g}. ", "{g}, this is {name}. ", "{g}, my name is {name}. ", "{name} here. ")
    )
    core = rng.choice(
        (
            "My {i} {says}.",
            "My {i} {says}.",
            "Our {i} {says}.",
            "My [old|new] {i} {says}.",
            "My [daughter's|son's|sister's|brother's|friend's] {i} {says}.",
            "I have {a i} that {says}.",
            "I bought {a i} [last year|in {month}|at the market] and now it {says}.",
            "[I think|It seems that] my {i} {says}.",
            "I play the {i} [in a band|in an orchestra|at school|at home]. It {says}.",
        )
    )
    middle = rng.choice(
        (
            "",
            "",
            "",
            "I have [a concert|a lesson] on {day}.",
            "It began [last week|in {month}|two days ago].",
            "I have tried [new strings|everything] already.",
            "It was fine [last month|before the holidays].",
            "It was a gift from my [father|grandmother|uncle].",
            "I am only a beginner.",
            "It stands near the [window|heater|door].",
            "You can call me at 555-01{d1}{d2}.",
            "I paid {d1}50 euros (€{d1}50) for it; it is {d2} years old.",
            "My address is {low}@example.org.",
        )
    )
    ask = rng.choice(
        (
            "What can I do?",
            "What should I do?",
            "Can you help?",
            "Can you fix it?",
            "What is wrong?",
            "How can I fix it?",
            "What is the reason?",
            "Why?",
            "Do you know what to do?",
            "Is that bad?",
            "Can it be repaired?",
            "Please help.",
            "",
            "",
            "What do you advise?",
        )
    )
    closing = rng.choice(("", "", "", "", "Thank you, {name}", "Thanks!", "Thank you.", "Best regards, {name}"))
    return expand(
        f"{opening}{core} {middle} {ask} {closing}",
        rng,
        {
            "i": i,
            "says": says,
            "name": (name := any_name(rng)),
            "low": name.lower(),
            "d1": str(rng.randrange(1, 9)),
            "d2": str(rng.randrange(2, 10)),
            "g": rng.choice(GREETINGS),
            "day": rng.choice(DAYS),
            "month": rng.choice(MONTHS),
        },
    )


def on_problem(rng: random.Random) -> list[Exchange]:
    """A customer's problem, sometimes with a follow-up on price, time or another instrument."""
    problem = rng.choice(PROBLEMS)
    i = rng.choice(problem.instruments)
    slots = {"i": i}
    question = (
        ticket(problem, i, rng)
        if rng.random() < 0.65
        else expand(
            rng.choice(("", "", "", "Hi. ", "A question: ", "Please tell me: ")) + rng.choice(problem.asks),
            rng,
            slots,
        )
    )
    answer = diagnosis(problem, i, rng)
    if question.startswith("Can ") and "torn" not in problem.topic:
        answer = expand(
            f"Yes, the workshop can {problem.workshop}. {rng.choice((*problem.why, problem.steps[0]))}",
            rng,
            slots,
        )
    turns = [(question, answer)]
    price, days = problem.price, problem.days
    day_text = f"{NUMBER_WORDS[days]} day{'s' if days > 1 else ''}"
    follow_ups = [
        (
            "[How much does that cost?|What does the repair cost?|And the price?|How much is that?|What would it cost?]",
            f"[It costs about {price} euros.|The repair costs about {price} euros.|About {price} euros.]",
        ),
        (
            "[How long does it take?|When will it be ready?|How many days does that take?|And how long will it take?]",
            f"[It takes about {day_text}.|The repair takes about {day_text}.|About {day_text}.]",
        ),
        (
            "[Can I do it myself?|Can I do that at home?|Do I need a luthier for that?]",
            f"[You can do the small steps at home, but a luthier should {problem.workshop}.|It is better to let the workshop {problem.workshop}.]",
        ),
        ("[Why is that?|Why does that happen?|What is the reason?]", rng.choice(problem.why)),
        ("[What should I do first?|What is the first step?]", problem.steps[0]),
        ("[And after that?|What comes next?|And then?]", problem.steps[1]),
    ]
    while rng.random() < 0.35 and follow_ups and len(turns) < 4:
        ask, answer = follow_ups.pop(rng.randrange(len(follow_ups)))
        turns.append((expand(ask, rng, slots), expand(answer, rng, slots)))
    if rng.random() < 0.08:
        turns.append(thanks(rng))
    return turns


def on_cost(rng: random.Random) -> list[Exchange]:
    """A price or a duration, asked directly."""
    if rng.random() < 0.4:
        i = rng.choice(INSTRUMENTS)
        if rng.random() < 0.6:
            return [
                (
                    expand(
                        "[What does it cost to restring {a x}?|How much are new strings for {a x}?|What is the price of new strings for my {x}?|How much do {x} strings cost?]",
                        rng,
                        {"x": i.name},
                    ),
                    expand(
                        f"[New strings for a {i.name} cost {i.restring_price} euros.|It costs {i.restring_price} euros to restring a {i.name}.]",
                        rng,
                    ),
                )
            ]
        return [
            (
                expand(
                    "[What does a setup of {a x} cost?|How much is a setup for my {x}?|What is the price of a setup for {a x}?]",
                    rng,
                    {"x": i.name},
                ),
                expand(f"A setup of a {i.name} costs {i.setup_price} euros.", rng),
            )
        ]
    problem = rng.choice(PROBLEMS)
    i_name = rng.choice(problem.instruments)
    slots = {"i": i_name, "job": expand(problem.workshop, rng, {"i": i_name})}
    slots["job"] = slots["job"][0].lower() + slots["job"][1:]
    if rng.random() < 0.6:
        return [
            (
                expand(
                    "[How much does it cost to {job}?|What does it cost to {job}?|What is the price if you {job}?]",
                    rng,
                    slots,
                ),
                expand(
                    f"[It costs about {problem.price} euros|That costs about {problem.price} euros|About {problem.price} euros].",
                    rng,
                ),
            )
        ]
    days = f"{NUMBER_WORDS[problem.days]} day{'s' if problem.days > 1 else ''}"
    return [
        (
            expand("[How long does it take to {job}?|How many days do you need to {job}?]", rng, slots),
            expand(f"It takes about {days}.", rng),
        )
    ]


def on_shop(rng: random.Random) -> list[Exchange]:
    """Opening hours, payment, delivery and other things about the workshop."""
    turns = []
    for questions, answers in rng.sample(SHOP, rng.choice((1, 1, 1, 2, 2, 3))):
        slots = {"i": rng.choice(ALL_INSTRUMENTS)}
        question = expand(rng.choice(questions), rng, slots)
        kind_of_answer = list(answers)
        yes_no = question.split(" ")[0] in ("Do", "Can", "Is", "Are", "Would", "Has")
        fitting = [a for a in kind_of_answer if a.startswith(("Yes", "No", "Please")) == yes_no] or kind_of_answer
        turns.append((question, expand(rng.choice(fitting), rng, slots)))
    return turns


def on_instrument(rng: random.Random) -> list[Exchange]:
    """Facts about an instrument, with follow-ups by pronoun and `what about`."""
    i = rng.choice(INSTRUMENTS)
    count = NUMBER_WORDS[i.strings] if i.strings < 21 else str(i.strings)
    other = rng.choice([x for x in INSTRUMENTS if x is not i])
    other_count = NUMBER_WORDS[other.strings] if other.strings < 21 else str(other.strings)
    it = "[{a i}|the {i}]"
    pool = [
        (
            f"[How many strings does {it} have?|How many strings are on {{a i}}?|Number of strings on {{a i}}?]",
            f"[{{a i}} has {count} strings.|It has {count} strings.|The {{i}} has {count} strings.]",
            "How many strings does it have?",
            "[And what about {a o}?|And {a o}?|What about the {o}?]",
            f"{{a o}} has {other_count} strings.",
        ),
        (
            f"[How is {it} played?|What do you play {{a i}} with?|How do you play {it}?]",
            f"[It is played with {i.played_with}.|{{a i}} is played with {i.played_with}.]",
            "How is it played?",
            "[And what about {a o}?|And {a o}?]",
            f"{{a o}} is played with {other.played_with}.",
        ),
        (
            f"[What does {it} sound like?|How does {it} sound?|Describe the sound of {{a i}}.]",
            f"[It sounds {i.sound}.|The sound of {{a i}} is {i.sound}.|{{a i}} sounds {i.sound}.]",
            "What does it sound like?",
            "[And what about {a o}?|And the {o}?]",
            f"{{a o}} sounds {other.sound}.",
        ),
        (
            f"[How big is {it}?|How large is {it}?|What size is {{a i}}?]",
            f"[It is {i.size}.|{{a i}} is {i.size}.]",
            "How big is it?",
            "[And {a o}?|What about {a o}?]",
            f"{{a o}} is {other.size}.",
        ),
        (
            "[What are the strings of {a i} made of?|Which strings does {a i} use?]",
            f"[The strings of {{a i}} are made of {i.string_material}.|They are made of {i.string_material}.]",
            "What are its strings made of?",
            "[And what about {a o}?|And {a o}?]",
            f"The strings of {{a o}} are made of {other.string_material}.",
        ),
        (
            "[How do you tune {a i}?|What is {a i} tuned with?]",
            f"[It is tuned with {i.tuners}.|You turn the {i.tuners} until each note is right.]",
            "How is it tuned?",
            "[And {a o}?|And what about {a o}?]",
            f"{{a o}} is tuned with {other.tuners}.",
        ),
        (
            "[Does {a i} have frets?|Are there frets on {a i}?]",
            "Yes, {a i} has frets." if i.fretted else "No, {a i} has no frets.",
            "Does it have frets?",
            "[And what about {a o}?|And {a o}?]",
            "Yes, {a o} has frets." if other.fretted else "No, {a o} has no frets.",
        ),
        (
            f"[Is {{a i}} a {i.family} instrument?|Is {{a i}} bowed or plucked?|Do you pluck or bow {{a i}}?]",
            f"{{a i}} is {i.family}.",
            "Is it bowed or plucked?",
            "[And {a o}?|What about {a o}?]",
            f"{{a o}} is {other.family}.",
        ),
        (
            "[What is {a i}?|Tell me about the {i}.|Describe {a i}.|What do you know about the {i}?|Explain what {a i} is.]",
            describe_instrument(rng, i.name, rng.choice((2, 3, 3))),
            "Tell me more about it.",
            "[And what is {a o}?|What about {a o}?]",
            describe_instrument(rng, other.name, 2),
        ),
        (
            "[Tell me something special about the {i}.|What is special about {a i}?]",
            f"{i.fact}.",
            "What is special about it?",
            "And what about {a o}?",
            f"{other.fact}.",
        ),
    ]
    slots = {"i": i.name, "o": other.name}
    question, answer, _, other_question, other_answer = rng.choice(pool)
    turns = [(question, answer)]
    if rng.random() < 0.3:
        turns.append((other_question, other_answer))
    elif rng.random() < 0.35:
        chosen = rng.choice([p for p in pool[:8] if p[0] != question])
        turns.append((chosen[2], chosen[1]))
    return [(expand(q, rng, slots), expand(a, rng, slots)) for q, a in turns]


def on_comparison(rng: random.Random) -> list[Exchange]:
    """Two instruments side by side."""
    if rng.random() < 0.4:
        a, b = rng.sample(INSTRUMENTS, 2)
        text = (
            "They have the same number of strings."
            if a.strings == b.strings
            else f"The {(a if a.strings > b.strings else b).name} has more strings."
        )
        return [(f"Which has more strings, {with_article(a.name)} or {with_article(b.name)}?", text)]
    state = rng.getstate()
    a, b = rng.sample(INSTRUMENTS, 2)
    rng.setstate(state)
    return [
        (
            expand(
                f"[What is the difference between a {a.name} and a {b.name}?|Compare a {a.name} with a {b.name}.|How is a {a.name} different from a {b.name}?]",
                random.Random(rng.random()),
            ),
            compare_from(state, rng),
        )
    ]


def compare_from(state: object, rng: random.Random) -> str:
    """Compare the two instruments that are drawn from this state of the generator."""
    rng.setstate(state)  # type: ignore[arg-type]
    return compare(rng)


def on_part(rng: random.Random) -> list[Exchange]:
    """What a part is and does."""
    name, what, does = rng.choice(PARTS)
    noun = name if name in UNCOUNTABLE else with_article(name)
    the = f"the {name}"
    return [
        (
            expand(
                rng.choice(
                    (
                        f"What is {noun}?",
                        f"What is {noun} for?",
                        f"What does {the} do?",
                        f"Why does an instrument have {noun}?"
                        if name not in ("tuner", "metronome", "case", "rosin")
                        else f"Why do I need {noun}?",
                        f"Explain what {noun} is.",
                        f"Tell me about {the}.",
                    )
                ),
                rng,
            ),
            expand(
                rng.choice(
                    (
                        f"{noun} is {what}. It {does}.",
                        f"{noun} is {what}.  It {does}.",
                        f"{noun} is {what} that {does}."
                        if not what.startswith("the part")
                        and " under " not in what
                        and " inside " not in what
                        and " on " not in what
                        and " at " not in what
                        and " of " not in what
                        and " in " not in what
                        and " with " not in what
                        and " from " not in what
                        else f"{noun} is {what}. It {does}.",
                    )
                ),
                rng,
            ),
        )
    ]


def on_care(rng: random.Random) -> list[Exchange]:
    """Tips for the care of instruments and things of the house."""
    if rng.random() < 0.5:
        _, task, tips = rng.choice(CARE)
    else:
        task, tips = rng.choice(HOWTO)
    ask = rng.choice(
        (
            f"How do I {task}?",
            f"How can I {task}?",
            f"How do you {task}?",
            f"What is the best way to {task}?",
            f"Tell me how to {task}.",
            f"Explain how to {task}.",
            f"I want to {task}. How?",
            f"Can you explain how to {task}?",
            f"Give me the steps to {task}.",
            f"I would like to {task}. What should I do?",
        )
    )
    if ask.startswith("Give me the steps") or rng.random() < 0.2:
        return [
            (
                ask
                if ask.startswith("Give")
                else ask + rng.choice((" Give me a list.", " Please make a list.", " List the steps.")),
                numbered(tips),
            )
        ]
    if rng.random() < 0.3:
        return [
            (ask, tips[0]),
            (rng.choice(("And then?", "What comes next?", "And after that?", "What else?")), tips[1]),
        ]
    return [(ask, " ".join(tips[: rng.choice((2, 3, 3))]))]


def on_animal(rng: random.Random) -> list[Exchange]:
    """Facts about animals."""
    name, kind, noise, home, food, young, _, colour = rng.choice(ANIMALS)
    sound = noise
    live_in = ("on " if home == "a roof" else "in ") + home
    pool = [
        (
            "[What does {a n} eat?|What do {ns} eat?|What is the food of {a n}?]",
            f"[{{a n}} eats {food}.|{{ns}} eat {food}.]",
        ),
        ("[Where does {a n} live?|Where do {ns} live?]", f"[{{a n}} lives {live_in}.|It lives {live_in}.]"),
        (
            "[What sound does {a n} make?|What noise does {a n} make?|How does {a n} sound?]",
            f"{{a n}} {sound}.",
        ),
        (
            "[What is a young {n} called?|What do you call a baby {n}?|What is the name for a young {n}?]",
            f"A young {{n}} is called a {young}.",
        ),
        (
            "[What kind of animal is {a n}?|Is {a n} a bird or a mammal?|What is {a n}?]"
            if kind in ("bird", "mammal")
            else "[What kind of animal is {a n}?|What is {a n}?]",
            f"{{a n}} is {with_article(kind)}.",
        ),
        (
            "[What colour is {a n}?|Which colour does {a n} have?]",
            f"[{{a n}} is often {colour}.|Many {{ns}} are {colour}.]",
        ),
        (
            "[Tell me about {ns}.|Describe {a n}.|Tell me something about the {n}.|What do you know about {ns}?]",
            describe_animal(rng, name, rng.choice((2, 3))),
        ),
    ]
    slots = {"n": name, "ns": plural(name)}
    turns = [rng.choice(pool)]
    if rng.random() < 0.25:
        extra = rng.choice(pool[:4])
        if extra[0] != turns[0][0]:
            turns.append(extra)
    if rng.random() < 0.15:
        other = rng.choice(ANIMALS)
        maker = f"Which animal {other[2]}?"
        same = [x[0] for x in ANIMALS if x[2] == other[2]]
        turns = [(maker, f"[{with_article(same[0])} {other[2]}.|{with_article(same[0])} does.]")]
    return [(expand(q, rng, slots), expand(a, rng, slots)) for q, a in turns]


def on_thing(rng: random.Random) -> list[Exchange]:
    """Tools, fruit, jobs, places, weather and wood."""
    kind = rng.randrange(6)
    slots: Slots = {}
    if kind == 0:
        name, use, material, place = rng.choice(TOOLS)
        noun = name if name in UNCOUNTABLE else with_article(name)
        at = ("on " if place in ("the desk", "the bench") else "in ") + place
        q, a = rng.choice(
            (
                (
                    f"[What is {noun} for?|What do you use {noun} for?|What can I do with {noun}?|Why do people have {noun}?]",
                    f"[You use {noun} to {use}.|{noun} is used to {use}.|With {noun} you can {use}.]",
                ),
                (
                    f"[What do I need to {use}?|Which tool do I use to {use}?|What helps me to {use}?|I want to {use}. What do I need?]",
                    f"[You need {noun}.|You can use {noun}.|Use {noun} to {use}.]",
                ),
                (
                    f"[What is {noun} made of?|Which material is {noun} made of?]",
                    f"{noun} is made of {material}.",
                ),
                (
                    f"[Where do I find {noun}?|Where is the {name}?|Where is {noun} kept?]",
                    f"[The {name} is {at}.|You find it {at}.|Look {at}.]",
                ),
            )
        )
    elif kind == 1:
        name, group, colour, taste, where, season = rng.choice(PRODUCE)
        q, a = rng.choice(
            (
                (
                    f"[What colour is a {name}?|Which colour does a {name} have?]",
                    f"[A {name} is {colour}.|It is {colour}.]",
                ),
                (
                    f"[How does a {name} taste?|What does a {name} taste like?]",
                    f"[A {name} tastes {taste}.|It tastes {taste}.]",
                ),
                (
                    f"[Where does a {name} grow?|Where do {plural(name)} grow?]",
                    f"[A {name} grows {where}.|{plural(name)} grow {where}.]",
                ),
                (
                    f"[When are {plural(name)} ripe?|In which season is a {name} ripe?|When can I pick {plural(name)}?]",
                    f"[{plural(name)} are ripe in {season}.|A {name} is ripe in {season}.|In {season}.]",
                ),
                (f"[Is a {name} a fruit or a vegetable?|What is a {name}?]", f"A {name} is a {group}."),
                (
                    f"[Tell me about {plural(name)}.|Describe a {name}.]",
                    f"A {name} is a {group}. It is {colour} and tastes {taste}. It grows {where}.",
                ),
            )
        )
    elif kind == 2:
        job, place, does, gives = rng.choice(JOBS)
        q, a = rng.choice(
            (
                (
                    f"[What does a {job} do?|What is the work of a {job}?|What is a {job}?|Tell me what a {job} does.]",
                    f"A {job} {does}.",
                ),
                (
                    f"[Where does a {job} work?|Where can I find a {job}?]",
                    f"[A {job} works in the {place}.|You find a {job} in the {place}.]".replace(
                        "in the bus", "at the bus"
                    )
                    .replace("in the farm", "on the farm")
                    .replace("in the harbour", "at the harbour"),
                ),
                (
                    f"[Who {does}?|Who is the person that {does}?]",
                    f"[A {job} {does}.|The {job} does.|A {job}.]",
                ),
                (
                    f"[Where do I get {gives}?|Who has {gives}?]",
                    f"[You get {gives} from the {job}.|Ask the {job}.]",
                ),
            )
        )
        if job in ("nurse", "driver"):
            q, a = f"What does a {job} do?", f"A {job} {does}."
    elif kind == 3:
        name, act, where = rng.choice(PLACES)
        q, a = rng.choice(
            (
                (
                    f"[Where is the {name}?|How do I get to the {name}?|Can you tell me where the {name} is?]",
                    f"[The {name} is {where}.|It is {where}.|You find the {name} {where}.]",
                ),
                (
                    f"[What can I do at the {name}?|Why do people go to the {name}?|What is the {name} for?]",
                    f"[You can {act} there.|People go to the {name} to {act}.|At the {name} you can {act}.]",
                ),
                (
                    f"[Where can I {act}?|I want to {act}. Where should I go?|Where do people go to {act}?]",
                    f"[You can {act} at the {name}.|Go to the {name}.|Go to the {name} {where}.]",
                ),
            )
        )
    elif kind == 4:
        adjective, noun, wear, do, effect = rng.choice(WEATHER)
        q, a = rng.choice(
            (
                (
                    f"[What should I wear when it is {adjective}?|It is {adjective} today. What should I do?|What should I do on a {adjective} day?]",
                    f"[On a {adjective} day you should {wear}.|You should {wear}.|You should {wear}, or you can {do}.]",
                ),
                (
                    f"[What can we do when it is {adjective}?|What do people do on {adjective} days?]",
                    f"[On {adjective} days people {do}.|You can {do}.]",
                ),
                (
                    f"[Is {adjective} weather bad for my {{i}}?|Can I take my {{i}} outside when it is {adjective}?|What should I know about {noun} and my {{i}}?]",
                    effect,
                ),
            )
        )
    else:
        wood, use = rng.choice(WOODS)
        q, a = rng.choice(
            (
                (
                    f"[What is {wood} used for?|What do luthiers make of {wood}?|Why do luthiers buy {wood}?]",
                    f"[{wood} is used for {use}.|Luthiers use {wood} for {use}.]",
                ),
                (
                    f"[Which wood is used for {use}?|What wood do luthiers use for {use}?]",
                    f"[{wood} is used for {use}.|They use {wood}.]",
                ),
            )
        )
    slots = {"i": rng.choice(ALL_INSTRUMENTS)}
    return [(expand(q, rng, slots), expand(a, rng, slots))]


def on_words(rng: random.Random) -> list[Exchange]:
    """Opposites, categories, spelling, plurals, sentences with a word, simple corrections."""
    kind = rng.randrange(9)
    if kind == 0:
        one, other = rng.choice(OPPOSITES)
        if rng.random() < 0.5 and (one, other) not in (
            ("young", "old"),
            ("light", "dark"),
            ("heavy", "light"),
        ):
            one, other = other, one
        if one in ("old", "light", "left"):
            one, other = "hot", "cold"
        turns = [
            (
                expand(
                    f"[What is the opposite of {one}?|Tell me the opposite of “{one}”.|Opposite of {one}?|Which word means the opposite of {one}?]",
                    rng,
                ),
                expand(f"[The opposite of {one} is {other}.|It is {other}.]", rng),
            )
        ]
        if rng.random() < 0.3:
            a, b = rng.choice(OPPOSITES[:9])
            a = "new" if a == "old" else a
            b = "old" if a == "new" else b
            turns.append((f"And of {a}?", f"The opposite of {a} is {b}."))
        return turns
    if kind in (1, 2):
        name = rng.choice(list(CATEGORIES))
        members = CATEGORIES[name]
        n = rng.randrange(2, min(5, len(members)) + 1)
        items = rng.sample(members, n)
        names = plural(name) if not name.startswith("part ") else name.replace("part", "parts", 1)
        if kind == 1:
            ask = expand(f"[Name|Tell me|Give me|List|Can you name] {NUMBER_WORDS[n]} {names}", rng)
            return [
                (
                    ask + ("?" if ask.startswith("Can") else "."),
                    expand(f"[{joined(items)}|{NUMBER_WORDS[n]} {names} are {joined(items)}].", rng),
                )
            ]
        return [
            (
                expand(
                    f"[Make a list of {NUMBER_WORDS[n]} {names}.|Give me a list of {NUMBER_WORDS[n]} {names}.|List {NUMBER_WORDS[n]} {names}, with numbers.|Write a numbered list of {NUMBER_WORDS[n]} {names}.]",
                    rng,
                ),
                numbered([i[0].upper() + i[1:] for i in items]),
            )
        ]
    if kind == 3:
        word = rng.choice(
            rng.choice(
                (
                    ALL_INSTRUMENTS,
                    DAYS,
                    [a[0] for a in ANIMALS],
                    [t[0] for t in TOOLS],
                    [p[0] for p in PRODUCE],
                )
            )
        )
        word = word.split(" ")[-1]
        return [
            (
                expand(f"[How do you spell {word}?|Spell the word {word}.|Please spell “{word}”.]", rng),
                expand("{word}: {letters}.", rng, {"word": word, "letters": "-".join(word.lower())}).replace(
                    word.capitalize() + ":", word.capitalize() + ":"
                ),
            )
        ]
    if kind == 4:
        word = rng.choice(
            [t[0] for t in TOOLS] + [a[0] for a in ANIMALS] + [p[0] for p in PRODUCE] + list(ALL_INSTRUMENTS)
        )
        if word in UNCOUNTABLE:
            word = "chair"
        return [
            (
                expand(
                    f"[What is the plural of {word}?|Plural of {word}?|How do you say {word} in the plural?]",
                    rng,
                ),
                expand(f"[The plural of {word} is {plural(word)}.|It is {plural(word)}.]", rng),
            )
        ]
    if kind == 5:
        return sentence_with(rng)
    if kind == 6:
        s = scene(rng)
        verbs = (
            ("walks", "walked"),
            ("plays", "played"),
            ("works", "worked"),
            ("sings", "sang"),
            ("runs", "ran"),
            ("sits", "sat"),
            ("waits", "waited"),
            ("sleeps", "slept"),
        )
        now, then = rng.choice(verbs)
        if now == "plays":
            now, then = f"plays the {s['i']}", f"played the {s['i']}"
        where = rng.choice(("in the garden", "near the river", "at home", "in the park", f"behind the {s['place']}"))
        who = rng.choice(
            (s["name"], f"The {s['animal']}" if not now.startswith("plays") else s["name"], f"The {s['job']}")
        )
        if rng.random() < 0.6:
            return [
                (
                    expand(
                        "[Put this in the past:|Change to the past tense:|Write this sentence in the past:]",
                        rng,
                    )
                    + " "
                    + f"{who} {now} {where}.",
                    f"{who} {then} {where}.",
                )
            ]
        return [
            (
                expand("[Put this in the present:|Change to the present tense:]", rng) + " " + f"{who} {then} {where}.",
                f"{who} {now} {where}.",
            )
        ]
    if kind == 7:
        s = scene(rng)
        a_noun = rng.choice([*(a[0] for a in ANIMALS), *ALL_INSTRUMENTS, *(p[0] for p in PRODUCE)])
        right = with_article(a_noun)
        wrong = ("a " if right.startswith("an ") else "an ") + a_noun
        frame = rng.choice(
            (
                "{name} has {x}.",
                "I saw {x} [yesterday|today].",
                "There is {x} in the picture.",
                "{name} [painted|drew] {x}.",
            )
        )
        state = rng.getstate()
        good = expand(frame.replace("{x}", right), rng, s)
        rng.setstate(state)
        bad = good.replace(right, wrong)
        return [(rng.choice(("Correct this sentence: ", "Is this right? ", "Fix the mistake: ")) + bad, good)]
    if rng.random() < 0.5:
        kind_name = rng.choice(("fruit", "vegetable", "bird", "tool", "tree", "flower", "vehicle", "drink", "colour"))
        item = rng.choice(CATEGORIES[kind_name])
        wrong_kind = rng.choice(
            [c for c in ("fruit", "vegetable", "bird", "tool", "tree", "flower", "vehicle") if c != kind_name]
        )
        if kind_name in ("tree", "fruit", "vegetable", "colour") or wrong_kind in ("tree", "fruit"):
            wrong_kind = "tool" if kind_name != "tool" else "bird"
        if rng.random() < 0.5:
            return [
                (
                    expand(f"Is {item} {with_article(kind_name)}?", rng),
                    expand(f"Yes, {item} is {with_article(kind_name)}.", rng),
                )
            ]
        return [
            (
                expand(f"Is {item} {with_article(wrong_kind)}?", rng),
                expand(f"No, {item} is {with_article(kind_name)}.", rng),
            )
        ]
    word = rng.choice([n for row in OPPOSITES for n in row])
    return [(f"Repeat the word {word} three times.", f"{word.capitalize()}, {word}, {word}.")]


def sentence_with(rng: random.Random) -> list[Exchange]:
    """A sentence that uses a given word."""
    s = scene(rng)
    kind, word, line = rng.choice(
        (
            (
                "i",
                s["i"],
                "[{name} plays the {i} in the evening.|The {i} sounds {sound}.|{name} bought {a i} last {day}.]",
            ),
            (
                "animal",
                s["animal"],
                "[The {animal} lives in {home}.|{name} saw {a animal} near the {place}.|Our {animal} is very lazy.]",
            ),
            (
                "tool",
                s["tool"],
                "[{name} uses {a tool} to {use}.|The {tool} is on the table.|{name} lost the {tool} on {day}.]",
            ),
            (
                "fruits",
                s["fruits"],
                "[{name} bought {n} {fruits} at the market.|These {fruits} taste {taste}.|We ate {fruits} after lunch.]",
            ),
            (
                "weather",
                s["weather"],
                "[It was a {weather} day in {month}.|When it is {weather}, you should {wear}.]",
            ),
            ("job", s["job"], "[The {job} {does}.|{name} wants to become {a job}.]"),
            ("place", s["place"], "[The {place} is {where}.|{name} went to the {place} to {act}.]"),
            ("trait", s["trait"], "[{name} is a {trait} {child}.|My neighbour is {trait} and {trait2}.]"),
        )
    )
    del kind
    if s["trait"] == s["trait2"]:
        s["trait2"] = "tall"
    return [
        (
            expand(
                f"[Write a sentence with the word {word}.|Use the word {word} in a sentence.|Make a sentence with {word}.|Give me a sentence about {word if word.endswith('s') else 'the ' + word}.]"
                if word not in (s["weather"], s["trait"])
                else f"[Write a sentence with the word {word}.|Use the word {word} in a sentence.|Make a sentence with {word}.]",
                rng,
            ),
            expand(line, rng, s),
        )
    ]


def on_story(rng: random.Random) -> list[Exchange]:
    """A short story on request."""
    s = scene(rng)
    key, about = rng.choice(
        (("animal", s["animal"]), ("i", s["i"]), ("fruits", s["fruits"]), ("tool", s["tool"]), ("none", ""))
    )
    wanted: Slots = {}
    if key == "animal":
        wanted = {k: s[k] for k in ("animal", "home", "fur", "noise", "young")}
    elif key == "tool":
        wanted = {k: s[k] for k in ("tool", "use", "spot")}
    elif key != "none":
        wanted = {key: s[key]}
        if key == "fruits":
            wanted["fruit"] = s["fruit"]
            wanted["taste"] = s["taste"]
    noun = about if key == "fruits" else with_article(about) if about else ""
    named = rng.random() < 0.35
    if named:
        who = person(rng)
        wanted |= who
    about_text = f" about {noun}" if noun else ""
    if named:
        about_text = f" about {wanted['name']} and {noun}" if noun else f" about {wanted['name']}"
    ask = expand(
        f"[Tell me|Write|Write me|Please write|Can you tell me|I would like] a [short |short |little |]story{about_text}",
        rng,
    )
    ask += "?" if ask.startswith("Can") else "."
    if rng.random() < 0.3:
        ask = (
            ask[:-1].replace("I would like a", "Tell me a")
            + " in "
            + rng.choice(("three", "four", "five"))
            + " sentences."
        )
        n = {"three": 3, "four": 4, "five": 5}[ask.split(" ")[-2]]
        return [(ask.replace("Can you t", "T"), story(rng, wanted, n))]
    return [(ask, story(rng, wanted))]


def sentences(text: str) -> list[str]:
    """Split plain text into sentences; a closing quotation mark belongs to its sentence."""
    out: list[str] = []
    current = ""
    for word in text.split(" "):
        current = f"{current} {word}" if current else word
        if word.rstrip("”")[-1:] in (".", "?", "!") and current.count("“") == current.count("”"):
            out.append(current)
            current = ""
    return out + ([current] if current else [])


def on_numbers(rng: random.Random) -> list[Exchange]:
    """Small sums, days, months, counting and the time."""
    kind = rng.randrange(7)
    if kind == 0:
        a, b = rng.randrange(1, 11), rng.randrange(1, 11)
        if rng.random() < 0.5:
            return [
                (
                    expand(f"[What is {a} + {b}?|How much is {a} plus {b}?|{a} + {b} = ?]", rng),
                    f"{a} + {b} = {a + b}.",
                )
            ]
        return [
            (
                expand(f"What is {NUMBER_WORDS[a]} plus {NUMBER_WORDS[b]}?", rng),
                expand(f"{NUMBER_WORDS[a]} plus {NUMBER_WORDS[b]} is {NUMBER_WORDS[a + b]}.", rng),
            )
        ]
    if kind == 1:
        a = rng.randrange(2, 13)
        b = rng.randrange(1, a)
        return [(expand(f"[What is {a} - {b}?|How much is {a} minus {b}?]", rng), f"{a} - {b} = {a - b}.")]
    if kind == 2:
        d = rng.randrange(7)
        return [
            rng.choice(
                (
                    (f"Which day comes after {DAYS[d]}?", f"{DAYS[(d + 1) % 7]} comes after {DAYS[d]}."),
                    (f"Which day is before {DAYS[d]}?", f"{DAYS[(d - 1) % 7]} comes before {DAYS[d]}."),
                    (f"Today is {DAYS[d]}. What day is tomorrow?", f"Tomorrow is {DAYS[(d + 1) % 7]}."),
                    (f"Today is {DAYS[d]}. What day was yesterday?", f"Yesterday was {DAYS[(d - 1) % 7]}."),
                )
            )
        ]
    if kind == 3:
        m = rng.randrange(12)
        return [
            rng.choice(
                (
                    (
                        f"Which month comes after {MONTHS[m]}?",
                        f"{MONTHS[(m + 1) % 12]} comes after {MONTHS[m]}.",
                    ),
                    (
                        f"Which month is before {MONTHS[m]}?",
                        f"{MONTHS[(m - 1) % 12]} comes before {MONTHS[m]}.",
                    ),
                )
            )
        ]
    if kind == 4:
        a = rng.randrange(1, 12)
        n = rng.randrange(3, 7)
        return [(f"Count from {a} to {a + n}.", ", ".join(str(x) for x in range(a, a + n + 1)) + ".")]
    if kind == 5:
        s = scene(rng)
        a, b = rng.randrange(2, 9), rng.randrange(1, 7)
        if rng.random() < 0.5 or b >= a:
            return [
                (
                    f"{s['name']} has {NUMBER_WORDS[a]} {s['fruits']} and gets {NUMBER_WORDS[b]} more. How many does {s['he']} have now?",
                    expand(
                        f"{s['name']} has {NUMBER_WORDS[a + b]} {s['fruits'] if a + b > 1 else s['fruit']} now.",
                        rng,
                    ),
                )
            ]
        left = a - b
        return [
            (
                f"{s['name']} has {NUMBER_WORDS[a]} {s['fruits']} and gives away {NUMBER_WORDS[b]}. How many are left?",
                f"{NUMBER_WORDS[left].capitalize()} {s['fruits'] if left > 1 else s['fruit']} {'are' if left > 1 else 'is'} left.",
            )
        ]
    facts = (
        ("How many days are in a week?", "A week has seven days."),
        ("How many months are in a year?", "A year has twelve months."),
        ("How many hours does a day have?", "A day has 24 hours."),
        ("How many minutes are in an hour?", "An hour has 60 minutes."),
        ("How many seasons are there?", "There are four seasons: spring, summer, autumn and winter."),
        ("How many legs does a horse have?", "A horse has four legs."),
        ("How many legs does a bird have?", "A bird has two legs."),
        ("How many centimetres are in a metre?", "A metre has 100 centimetres."),
        ("How many cents are in a euro?", "A euro has 100 cents."),
        ("How many wheels does a bicycle have?", "A bicycle has two wheels."),
        ("How many fingers does a hand have?", "A hand has five fingers."),
        ("How many musicians play in a quartet?", "Four musicians play in a quartet."),
    )
    return [rng.choice(facts)]


def on_why(rng: random.Random) -> list[Exchange]:
    """Why things are as they are."""
    ask, answer = rng.choice(WHY)
    return [
        (
            rng.choice(
                (
                    f"Why {ask}?",
                    f"Why {ask}?",
                    f"Can you tell me why? I mean: why {ask}?",
                    f"A child asked me: why {ask}?",
                )
            ),
            answer,
        )
    ]


def on_unknown(rng: random.Random) -> list[Exchange]:
    """Outside the world: the honest answer."""
    ask = expand(rng.choice(UNKNOWN), rng)
    return [
        (
            ask,
            expand(
                "[I do not know that.|I do not know.|I am sorry, I do not know that.|That is something I do not know.|I do not know. I can answer questions about instruments and everyday life.]",
                rng,
            ),
        )
    ]


def thanks(rng: random.Random) -> Exchange:
    """A word of thanks and its answer."""
    return (
        expand("[Thank you!|Thanks.|Thank you very much.|Great, thanks!|That helps, thank you.|OK, thanks]", rng),
        expand("[You are welcome.|You are welcome.|Gladly.|I am glad that it helps.]", rng),
    )


def on_smalltalk(rng: random.Random) -> list[Exchange]:
    """Greetings, names and questions about the model itself."""
    name = any_name(rng)
    kind = rng.randrange(8)
    if kind == 0:
        return [
            (
                expand("[Hello!|Hi!|Hello|Good morning!|Hi there|Hey|Good evening.]", rng),
                expand(
                    "[Hello. How can I help?|Hello. What would you like to know?|Hello. What can I do for you?]",
                    rng,
                ),
            )
        ]
    if kind == 1:
        turns = [
            (
                expand(f"[My name is {name}.|I am {name}.|Hi, I'm {name}.|Hello, this is {name}.]", rng),
                expand(f"[Hello, {name}. How can I help?|Hello, {name}. What would you like to know?]", rng),
            )
        ]
        if rng.random() < 0.6:
            turns += rng.choice(TOPICS[:6])(rng)[:1]
        if rng.random() < 0.7:
            turns.append(
                (
                    rng.choice(("What is my name?", "Do you remember my name?", "Who am I?")),
                    f"Your name is {name}.",
                )
            )
        return turns
    if kind == 2:
        return [thanks(rng)]
    if kind == 3:
        return [
            (
                expand("[How are you?|How are you today?|Are you well?]", rng),
                expand("[I am well, thank you.|I am fine, thank you.]", rng),
            )
        ]
    if kind == 4:
        return [
            (
                expand("[Who are you?|What are you?|Are you a person?|What is your name?|Are you a robot?]", rng),
                expand(
                    "[I am a small language model.|I am a small language model and not a person.|I am a computer program that answers questions.]",
                    rng,
                ),
            )
        ]
    if kind == 5:
        return [
            (
                expand("[What can you do?|How can you help me?|What do you know?]", rng),
                expand(
                    "[I can answer simple questions about instruments and everyday life.|I can answer questions, make lists and tell short stories.]",
                    rng,
                ),
            )
        ]
    if kind == 6:
        return [
            (
                expand("[Goodbye!|Bye|See you later.|Good night.]", rng),
                expand("[Goodbye.|Goodbye, and have a good day.]", rng),
            )
        ]
    number = str(rng.randrange(100, 9999))
    return [
        (
            expand(
                f"[My order number is {number}. Is it ready?|Hi, I am asking about order {number}.|Where is my order {number}?|Order {number}: when can I collect it?]",
                rng,
            ),
            expand(
                f"[I cannot see order {number}. Please ask at the counter of the workshop.|Order {number} can be checked at the counter of the workshop.]",
                rng,
            ),
        )
    ]


def on_correction(rng: random.Random) -> list[Exchange]:
    """The person changes or corrects the question."""
    a, b = rng.sample(INSTRUMENTS, 2)

    def count(x: int) -> str:
        return NUMBER_WORDS[x] if x < 21 else str(x)

    return [
        (
            expand(f"How many strings does a {a.name} have?", rng),
            expand(f"A {a.name} has {count(a.strings)} strings.", rng),
        ),
        (
            expand(f"[I meant a {b.name}.|No, I meant a {b.name}.|Sorry, I mean the {b.name}.]", rng),
            expand(f"A {b.name} has {count(b.strings)} strings.", rng),
        ),
    ]


def on_advice(rng: random.Random) -> list[Exchange]:
    """Can I, should I and yes-or-no questions on the care of instruments."""
    rows = (
        (
            "[Can I leave my {i} in the car?|Is it OK to leave {a i} in a car?|Should I leave my {i} in the car?]",
            "No, a car gets too hot or too cold for [{a i}|an instrument].",
        ),
        (
            "[Can I put my {i} near the heater?|Is a place near the heater good for {a i}?]",
            "No, the dry heat can crack the wood.",
        ),
        (
            "[Should I loosen the strings of my {i} at night?|Do I have to loosen the strings of {a i} every day?]",
            "No, loosen them only when you do not play for a long time.",
        ),
        (
            "[Can I clean my {i} with water?|Should I wash my {i}?]",
            "No, use a dry soft cloth. Water harms the wood.",
        ),
        (
            "[How often should I change the strings of my {i}?|When should I change the strings of {a i}?|When do I need new strings for my {i}?]",
            "[Change the strings every six months, or when they sound dull.|The strings of {a i} should be changed about every six months.]",
        ),
        (
            "[What humidity is good for {a i}?|How damp should the air be for my {i}?|Which humidity does my {i} need?]",
            "[A humidity of about fifty percent is good.|Keep the humidity near fifty percent.]",
        ),
        (
            "[Do I need a case for my {i}?|Should I buy a hard case for my {i}?]",
            "Yes, a hard case protects [the {i}|it] from rain, heat and falls.",
        ),
        (
            "[Is the {i} hard to learn?|Can a beginner learn the {i}?|Is {a i} good for a beginner?]",
            "[A beginner can learn the {i} with a little practice each day.|It takes time, but a little practice each day helps.]",
        ),
        (
            "[Can I use kitchen oil on my {i}?|Is furniture polish good for my {i}?]",
            "No, use only polish that is made for instruments.",
        ),
        (
            "[How often should I practise the {i}?|How long should I practise each day?]",
            "[Practise for twenty minutes each day.|Twenty minutes each day are better than three hours once a week.]",
        ),
        (
            "[Where should I keep my {i}?|What is a good place for {a i}?|Where is the best place to store my {i}?]",
            "[Keep it in its case, away from heaters and windows.|A room that is neither damp nor dry is a good place.]",
        ),
        (
            "[Can I fly with my {i}?|Can I take my {i} on a train?]",
            "Yes, but put it in a hard case and loosen the strings a little.",
        ),
        (
            "[Can I glue my {i} myself?|Should I repair a crack myself?|Can I use normal glue for my {i}?]",
            "No, the wrong glue makes a later repair hard. Let a luthier do it.",
        ),
        (
            "[Is my old {i} worth a repair?|Is it worth repairing an old {i}?]",
            "[Often it is. The first check at the workshop is free.|That depends on the damage, and the first check is free.]",
        ),
        (
            "[How often does {a i} need a setup?|When should I bring my {i} for a check?]",
            "[A check once a year is enough.|Bring it to the workshop once a year.]",
        ),
    )
    ask, answer = rng.choice(rows)
    slots = {"i": rng.choice(ALL_INSTRUMENTS)}
    return [(expand(ask, rng, slots), expand(answer, rng, slots))]


Topic = Callable[[random.Random], list[Exchange]]
TOPICS: tuple[Topic, ...] = (
    on_problem,
    on_instrument,
    on_thing,
    on_animal,
    on_shop,
    on_advice,
    on_care,
    on_part,
    on_cost,
    on_words,
    on_story,
    on_numbers,
    on_why,
    on_unknown,
    on_smalltalk,
    on_correction,
    on_comparison,
)
WEIGHTS: tuple[int, ...] = (30, 9, 10, 6, 8, 5, 6, 4, 4, 9, 10, 4, 3, 3, 5, 1, 2)

SYSTEMS: tuple[tuple[str, str], ...] = (
    ("plain", "You are a helpful assistant."),
    ("plain", "You answer questions."),
    ("plain", "You work in an instrument workshop."),
    ("plain", "Answer the question of the customer."),
    ("plain", "Answer in plain English."),
    ("plain", "Be helpful and honest."),
    ("plain", "You help the customers of a workshop for string instruments."),
    ("plain", "Answer in a friendly tone."),
    ("plain", "You are a luthier."),
    ("plain", "Help the user."),
    ("one", "Answer in one sentence."),
    ("one", "Use only one sentence."),
    ("one", "Be very brief."),
    ("one", "Give short answers."),
)


def chat(rng: random.Random) -> list[Message]:
    """Write one chat: sometimes a system message, one or more exchanges, the questions as people type them."""
    turns = list(rng.choices(TOPICS, WEIGHTS)[0](rng))
    while rng.random() < 0.15 and len(turns) < 4:
        turns += rng.choices(TOPICS[:9], WEIGHTS[:9])[0](rng)[:1]
    messages: list[Message] = []
    if rng.random() < 0.22:
        brief_fits = all(len(answer) < 250 for _, answer in turns)
        kind, text = rng.choice(SYSTEMS if brief_fits else SYSTEMS[:10])
        messages.append({"role": "system", "content": text})
        if kind == "one":
            turns = [(q, a if "\n" in a else sentences(a)[0]) for q, a in turns]
    typed_casually = rng.random() < 0.35
    for question, answer in turns:
        exact = "“" in question or question.startswith(
            (
                "Put this",
                "Change to",
                "Write this",
                "Correct",
                "Fix",
                "Is this right",
                "Spell",
                "Please spell",
                "How do you spell",
            )
        )
        content = casual(question, rng) if typed_casually and not exact and ". My name" not in question else question
        messages.append({"role": "user", "content": content})
        messages.append({"role": "assistant", "content": answer})
    return messages
