"""Plain prose about the town: stories, descriptions, how-tos, dialogues, lists, letters and notes."""

# Patterns read as sentences; wrapping them would hide their grammar.
# ruff: noqa: E501

import random
import re
from collections.abc import Callable, Iterable

from scripts.base_model.phrases import expand, joined, plural, with_article
from scripts.base_model.world import (
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
    TOOLS,
    UNCOUNTABLE,
    WEATHER,
    WHY,
    WOODS,
    Instrument,
    Problem,
)

Slots = dict[str, str]

TRAITS = (
    "kind",
    "quiet",
    "cheerful",
    "careful",
    "curious",
    "patient",
    "brave",
    "clever",
    "shy",
    "busy",
    "friendly",
    "honest",
    "tired",
    "gentle",
    "lively",
    "polite",
    "proud",
)
OUTINGS = tuple(p for p in PLACES if p[0] not in ("hospital", "bank", "workshop", "mill"))
TIMES = (
    "[One|On a] {weather} morning",
    "[One|On a] {weather} day",
    "[One|On a] {weather} afternoon",
    "On {day}",
    "Last {day}",
    "Early in the morning",
    "In [spring|summer|autumn|winter]",
    "After [school|lunch|breakfast]",
    "One evening",
    "At the end of {month}",
)


def person(rng: random.Random, prefix: str = "") -> Slots:
    """Draw a first name with its pronouns: slots name, he, him, his, child, grown."""
    girl = rng.random() < 0.5
    words = ("she", "her", "her", "girl", "woman") if girl else ("he", "him", "his", "boy", "man")
    keys = ("he", "him", "his", "child", "grown")
    slots = {prefix + k: w for k, w in zip(keys, words, strict=True)}
    slots[prefix + "name"] = rng.choice(GIRLS if girl else BOYS)
    return slots


def scene(rng: random.Random) -> Slots:
    """Draw the people, things, places and weather of a story."""
    slots = person(rng) | person(rng, "o")
    while slots["oname"] == slots["name"]:
        slots |= person(rng, "o")
    animal, weather, fruit = rng.choice(ANIMALS[:9]), rng.choice(WEATHER), rng.choice(PRODUCE)
    instrument, job, place, tool = (
        rng.choice(INSTRUMENTS),
        rng.choice(JOBS),
        rng.choice(OUTINGS),
        rng.choice(TOOLS),
    )
    while tool[0] in UNCOUNTABLE:
        tool = rng.choice(TOOLS)
    return slots | {
        "animal": animal[0],
        "noise": animal[2],
        "home": animal[3],
        "young": animal[5],
        "fur": animal[7],
        "weather": weather[0],
        "weathernoun": weather[1],
        "wear": weather[2],
        "fruit": fruit[0],
        "fruits": plural(fruit[0]),
        "taste": fruit[3],
        "i": instrument.name,
        "sound": instrument.sound,
        "job": job[0],
        "work": job[1],
        "does": job[2],
        "place": place[0],
        "act": place[1],
        "where": place[2],
        "tool": tool[0],
        "use": tool[1],
        "spot": tool[3],
        "day": rng.choice(DAYS),
        "month": rng.choice(MONTHS),
        "trait": rng.choice(TRAITS),
        "trait2": rng.choice(TRAITS),
        "n": rng.choice(NUMBER_WORDS[2:13]),
    }


def start(rng: random.Random) -> str:
    """Open a story: who, where, when."""
    return rng.choice(
        (
            "[Once there was|There was once] a {trait} {child} [called|named] {name}.",
            "{name} was a {trait} {child} who lived [near the {place}|in a small town|in a house by the river].",
            "{name} lived in [a small house|a white house|an old house] near the {place}.",
            "{name} had a [good|close] friend [called|named] {oname}.",
            "In [a small town|the town by the river|a quiet street] lived a {trait} {grown} [called|named] {name}.",
            "{name} [loved|liked] to {act}.",
        )
    )


def story_lost(rng: random.Random) -> list[str]:
    """Something is lost, looked for and found."""
    return [
        start(rng),
        rng.choice(TIMES) + ", {name} [could not find|lost|was looking for] {his} {tool}.",
        rng.choice(
            (
                "{he} needed it to {use}.",
                "It was [a gift|a present] from {his} [mother|father|uncle|aunt].",
                "{he} was very [sad|worried].",
                "",
            )
        ),
        "{he} looked [under the bed|behind the door|in the garden|on the shelf|in every room], but it was not there.",
        "[Then|At last|After a while] {oname} [came to help|asked what was wrong|had an idea].",
        "“[Let us look|Did you look|Have you looked] in {spot}{mark} {oname} said.",
        "[There it was|And there it lay], [next to|under|behind] [an old box|a pile of books|a blue bag|a chair].",
        "{name} [laughed|smiled] and [thanked {ohim}|gave {ohim} a {fruit}|was happy again].",
    ]


def story_repair(rng: random.Random) -> list[str]:
    """An instrument breaks and the workshop helps."""
    return [
        start(rng),
        "{he} played the {i} [every day|every evening|in the school orchestra|with {his} friends].",
        rng.choice(TIMES) + ", {he} saw that {his} {i} {says}.",
        "{he} was [sad|worried] [because the concert was near|because {he} loved it|and did not know what to do].",
        "{oname} [told {him} to go|went with {him}] to the workshop in Mill Lane.",
        "The luthier looked at the {i} [for a long time|with a small lamp|carefully].",
        "“{why}{endq} [said the luthier|the luthier said]. “[I can|We can] {workshop}.”",
        "[After {days} days|A week later|Some days later] the {i} was ready.",
        "[It sounded {sound} again|{name} played a song in the workshop|{name} paid {price} euros and went home] "
        "and [everyone was happy|{name} smiled|{he} was happy again|{he} thanked the luthier].",
    ]


def story_animal(rng: random.Random) -> list[str]:
    """A child finds, helps or loses an animal."""
    return [
        start(rng),
        "{he} had a [small|{fur}|funny|lazy] {animal}.",
        rng.choice(
            (
                "The {animal} lived in {home}.",
                "Every morning the {animal} waited at the door.",
                "The {animal} was {name}'s best friend.",
            )
        ),
        rng.choice(TIMES) + ", the {animal} [ran away|was gone|did not come home|hid in the garden].",
        "{name} [called|looked for it] [again and again|all day|until it was dark].",
        "[Then|Suddenly|At last] {he} heard a [sound|noise] behind the {place}.",
        "The {animal} sat [under a tree|beside the path|in the grass|next to a wall] and [looked at {him}|was not hurt].",
        "{name} [brought it home|took it home] and gave it [something to eat|water and food|a warm place to sleep].",
        "[From that day on|After that] the {animal} [never ran away again|always stayed close to {him}].",
    ]


def story_concert(rng: random.Random) -> list[str]:
    """A shy player practises and plays in public."""
    return [
        start(rng),
        "{he} wanted to play the {i} [at the school concert|in the concert hall|at the town party].",
        "[But {he} was afraid|At first {he} was afraid] [of the many people|to make a mistake].",
        "{oname}, who [was a teacher|played the {i} well|lived next door], said, “[Practise a little each day|Play slowly and listen|Breathe and start again].”",
        "So {name} [practised|played] [every evening|for half an hour each day|before breakfast].",
        "On {day} the hall was full, and [it was very quiet|everyone waited].",
        "{name} [closed {his} eyes|took a deep breath] and began to play.",
        "The {i} sounded {sound}, and [nobody|no one] heard the [one|small] mistake.",
        "[The people clapped for a long time|Everyone clapped], and {name} [was proud|smiled|was not afraid any more].",
    ]


def story_market(rng: random.Random) -> list[str]:
    """A trip to the market."""
    return [
        rng.choice(TIMES) + ", {name} went to the market with {his} [mother|father|brother|sister|friend {oname}].",
        "They wanted to buy {n} {fruits} and [some bread|a bag of flour|a piece of cheese|a jar of honey].",
        "The {fruits} were [fresh|ripe|very cheap] and [looked good|smelled good].",
        "“How much [are they|do they cost]?” asked {name}. “[Two|Three|Four|Five] euros,” said the [farmer|old woman|seller].",
        "[On the way home|On the bridge] the bag [broke|tore], and the {fruits} rolled [down the street|into the grass].",
        "A {trait} {job} [stopped and helped|came by and helped] them.",
        "At home they [washed the {fruits}|made a salad|cooked soup] and [ate together|invited {oname}].",
    ]


def story_day(_: random.Random) -> list[str]:
    """A day of somebody who works in town."""
    return [
        "{name} is a {job}. {he} works [at|in] the {work} and {does}.",
        "{he} gets up at [five|six|seven] o'clock and [drinks a cup of tea|eats bread with honey|feeds the {animal}].",
        "[When it is {weather}|On {weather} days] {he} [walks|goes by bus|rides a bicycle] to work.",
        "{he} likes [the work because {he} meets many people|to work with {his} hands|the smell of the {work}].",
        "At noon {he} [eats soup|eats a {fruit}|sits in the park] with {his} friend {oname}.",
        "In the evening {he} plays the {i}, and [it sounds {sound}|the {animal} listens|{his} neighbours listen].",
        "[Then {he} goes to bed|{he} falls asleep at ten o'clock|{he} is tired but happy].",
    ]


def story_garden(rng: random.Random) -> list[str]:
    """Planting and harvesting."""
    return [
        start(rng),
        "[In spring|In {month}] {he} planted [some seeds|{n} seeds] in the garden.",
        "{he} took {his} spade and dug [a hole|small holes] in the [soft|dark] soil.",
        "Each [morning|evening] {he} watered them with the watering can.",
        "For a long time [nothing happened|nothing grew], and {name} [grew sad|lost hope|wanted to give up].",
        "“[Wait|Be patient]{comma} said {oname}. “[Good things need time|Plants need sun and water|Seeds are slow].”",
        "[One day|After some weeks] {he} saw [a small green leaf|the first green leaves].",
        "In the end {he} [had|picked] so many {fruits} that {he} gave some to {oname} and to the {job}.",
    ]


def story_weather(_: random.Random) -> list[str]:
    """A day and its weather."""
    return [
        "It was a {weather} day in {month}.",
        "{name} and {oname} wanted to go to the {place} to {act}.",
        "“[You should|It is better to] {wear},” said {name}'s [mother|father|grandmother].",
        "[They did not listen|{oname} forgot it], and soon [they were cold and tired|they wanted to go home].",
        "A {job} who [came by|lived nearby] [asked them in|opened the door] and gave them [hot tea|warm soup|a {fruit} each].",
        "[They waited until the evening|They talked until it was dark] and [then|at last] they went home.",
        "[The next day|On {day}] they [remembered|took] everything they needed.",
    ]


def story_build(_: random.Random) -> list[str]:
    """A young person learns to build an instrument."""
    return [
        "{name} [wanted to become|was learning to be] a luthier.",
        "[At first|In the first weeks] {he} only [swept the floor|sharpened the tools|carried wood].",
        "The old luthier, {oname}, said, “[First learn to see|A good tool is half the work|Never hurry with glue].”",
        "In {month} {name} was allowed to build {a i}.",
        "{he} [chose|picked] [spruce for the top|light wood for the top] and maple for the [back|sides].",
        "{he} [cut|carved] the wood [slowly|with a sharp chisel] and [glued|joined] the pieces with warm glue.",
        "Once {he} [cut too deep|made a mistake] and had to [start again|begin again].",
        "[After half a year|Six months later] the {i} was [ready|finished]. It sounded {sound}.",
        "{oname} [smiled|nodded] and said, “[Well done|This is good work|Now you are a luthier].”",
    ]


STORIES: tuple[Callable[[random.Random], list[str]], ...] = (
    story_lost,
    story_repair,
    story_animal,
    story_concert,
    story_market,
    story_day,
    story_garden,
    story_weather,
    story_build,
)


SHORTER: dict[str, dict[int, tuple[int, ...]]] = {
    "story_lost": {3: (0, 1, 3), 4: (0, 1, 3, 6), 5: (0, 1, 3, 4, 6)},
    "story_repair": {3: (0, 1, 2), 4: (0, 1, 2, 4), 5: (0, 1, 2, 4, 7)},
    "story_animal": {3: (0, 1, 2), 4: (0, 1, 3, 7), 5: (0, 1, 3, 6, 7)},
    "story_concert": {3: (0, 1, 2), 4: (0, 1, 2, 4), 5: (0, 1, 2, 4, 8)},
    "story_market": {3: (0, 1, 2), 4: (0, 1, 2, 6), 5: (0, 1, 4, 5, 6)},
    "story_garden": {3: (0, 1, 7), 4: (0, 1, 3, 7), 5: (0, 1, 2, 3, 7)},
    "story_build": {3: (0, 1, 3), 4: (0, 1, 3, 4), 5: (0, 1, 3, 4, 5)},
    "story_weather": {3: (0, 1, 2), 4: (0, 1, 2, 3), 5: (0, 1, 2, 3, 4)},
}
"""Which lines of a story still make a story of three, four or five sentences."""


def instrument_named(name: str) -> Instrument:
    """Look an instrument up by its name."""
    return next(i for i in INSTRUMENTS if i.name == name)


def problem_for(name: str, rng: random.Random) -> Problem:
    """Draw a problem that this instrument can have."""
    return rng.choice([p for p in PROBLEMS if name in p.instruments])


def story(rng: random.Random, wanted: Slots | None = None, count: int | None = None) -> str:
    """Write one short story; `wanted` fixes slots such as `animal` or `i`, `count` the sentences (3, 4 or 5)."""
    slots = scene(rng) | (wanted or {})
    while slots["oname"] == slots["name"]:
        slots |= person(rng, "o")
    problem = problem_for(slots["i"], rng)
    why = expand(rng.choice(problem.why), rng, {"i": slots["i"]})
    slots |= {
        "says": past(choose_says(problem, rng, _PAST)),
        "why": why[:-1],
        "endq": ",”",
        "comma": ",”",
        "workshop": expand(problem.workshop, rng, {"i": slots["i"]}),
        "days": NUMBER_WORDS[max(2, problem.days)],
        "price": str(problem.price),
        "sound": instrument_named(slots["i"]).sound,
    }
    slots["workshop"] = slots["workshop"][0].lower() + slots["workshop"][1:]
    kind: Callable[[random.Random], list[str]]
    if wanted and "animal" in wanted:
        kind = story_animal
    elif wanted and "i" in wanted:
        kind = rng.choice((story_repair, story_concert, story_build))
    elif wanted and "fruits" in wanted:
        kind = rng.choice((story_market, story_garden))
    elif wanted and "tool" in wanted:
        kind = story_lost
    else:
        kind = rng.choice([k for k in STORIES if count is None or k.__name__ in SHORTER])
    lines = kind(rng)
    if count is not None:
        lines = [lines[n] for n in SHORTER[kind.__name__][count]]
    text = expand(" ".join(line for line in lines if line), rng, slots | {"mark": rng.choice(("?”", "first,”"))})
    return fix_question(text)


def fix_question(text: str) -> str:
    """Give direct speech the mark that fits: a question mark after `Did you look`, a comma after `Let us look`."""
    text = text.replace("in the desk", "on the desk").replace("in the bench", "on the bench")
    for opening in ("Did you look in", "Did you look on", "Have you looked on", "Have you looked in"):
        text = _close_speech(text, opening, "?”")
    return _close_speech(_close_speech(text, "Let us look in", ",”"), "Let us look on", ",”")


def _close_speech(text: str, opening: str, mark: str) -> str:
    head, found, tail = text.partition("“" + opening)
    if not found:
        return text
    speech, _, rest = tail.partition("”")
    speech = speech.removesuffix("?").removesuffix(",").removesuffix("first")
    return head + found + speech.rstrip() + mark + rest


_PAST = {
    "has": "had",
    "buzzes": "buzzed",
    "does": "did",
    "sounds": "sounded",
    "will": "would",
    "smells": "smelled",
    "makes": "made",
    "crackles": "crackled",
    "rattles": "rattled",
    "fell": "had fallen",
    "lost": "had lost",
}


def past(predicate: str) -> str:
    """Put the first verb of a predicate in the past tense: `has a crack` becomes `had a crack`."""
    predicate = predicate[0].lower() + predicate[1:]
    verb, _, rest = predicate.partition(" ")
    return f"{_PAST.get(verb, verb)} {rest}"


def describe_instrument(rng: random.Random, name: str | None = None, sentences: int = 9) -> str:
    """Describe an instrument in up to `sentences` sentences."""
    i = instrument_named(name) if name else rng.choice(INSTRUMENTS)
    count = NUMBER_WORDS[i.strings] if i.strings < 21 else str(i.strings)
    lines = [
        f"[The {i.name} is|A {i.name} is] a {i.family} string instrument [with|that has] {count} strings.",
        f"It is played with {i.played_with}.",
        f"{i.fact}.",
        f"[Its sound is|It sounds] {i.sound}.",
        f"It is {i.size}.",
        f"[Its strings are made of|The strings are of] {i.string_material}.",
        f"{'It has frets on the neck' if i.fretted and i.name != 'zither' else 'It has frets under some strings' if i.fretted else 'It has no frets'}.",
        f"It is tuned with {i.tuners}.",
        f"A new set of strings costs {i.restring_price} euros at the workshop.",
    ]
    rest = lines[1:]
    rng.shuffle(rest)
    return expand(" ".join([lines[0], *rest][:sentences]), rng)


def describe_animal(rng: random.Random, name: str | None = None, sentences: int = 6) -> str:
    """Describe an animal."""
    a = next(x for x in ANIMALS if x[0] == name) if name else rng.choice(ANIMALS)
    lines = [
        f"A {a[0]} is {with_article(a[1])}.",
        f"[It lives|A {a[0]} lives] in {a[3]}.".replace("in a roof", "on a roof"),
        f"It eats {a[4]}.",
        f"It {a[2]}.",
        f"A young {a[0]} is called a {a[5]}.",
        f"[It is often {a[7]}|Many {plural(a[0])} are {a[7]}].",
    ]
    rest = lines[1:]
    rng.shuffle(rest)
    return expand(" ".join([lines[0], *rest][:sentences]), rng)


def describe_thing(rng: random.Random) -> str:
    """Describe a tool, a fruit, a part, a place or a job."""
    kind = rng.randrange(6)
    if kind == 0:
        name, use, material, place = rng.choice([t for t in TOOLS if t[0] not in UNCOUNTABLE])
        return expand(
            f"A {name} is [a thing that you use|used] to {use}. It is made of {material}. "
            f"[You find it in|It is kept in|Look for it in] {place}.".replace("in the desk", "on the desk").replace(
                "in the bench", "on the bench"
            ),
            rng,
        )
    if kind == 1:
        name, group, colour, taste, where, season = rng.choice(PRODUCE)
        return expand(
            f"A {name} is a {group}. It is {colour} and tastes {taste}. It grows {where} and is ripe in {season}.",
            rng,
        )
    if kind == 2:
        name, what, does = rng.choice(PARTS)
        noun = name if name in UNCOUNTABLE else with_article(name)
        return expand(f"{noun} is {what}. It {does}.", rng)
    if kind == 3:
        name, act, where = rng.choice(PLACES)
        return expand(
            f"The {name} is {where}. [You can {act} there|People go there to {act}]. [It is quiet in the morning.|It is often full on {{day}}.|]",
            rng,
            {"day": rng.choice(DAYS)},
        )
    if kind == 4:
        job, place, does, gives = rng.choice(JOBS)
        return expand(
            f"A {job} {does}. [The {job} works|You find the {job}] [at|in] the {place}. People come for {gives}.",
            rng,
        )
    wood, use = rng.choice(WOODS)
    return expand(f"{wood} is a wood that luthiers like. It is used for {use}.", rng)


def numbered(steps: tuple[str, ...] | list[str]) -> str:
    """Write steps as a numbered list, one to a line."""
    return "\n".join(f"{n}. {step}" for n, step in enumerate(steps, 1))


def howto(rng: random.Random) -> str:
    """Write instructions under a heading, as a list or as sentences."""
    if rng.random() < 0.5:
        name, steps = rng.choice(HOWTO)
        title = f"How to {name}"
    else:
        title, name, steps = rng.choice(CARE)
        title = title[0].upper() + title[1:]
    if rng.random() < 0.5:
        return f"{rng.choice(('# ', '', '## '))}{title}\n\n{numbered(steps)}"
    first, *rest = steps
    linked = [rng.choice(("Then ", "After that, ", "Next, ", "", "")) + (s[0].lower() + s[1:]) for s in rest]
    return expand(f"{title}: {first} " + " ".join(linked), rng)


def problem_note(rng: random.Random) -> str:
    """Write a page of the workshop's book: what is wrong, why, and what to do."""
    problem = rng.choice(PROBLEMS)
    i = rng.choice(problem.instruments)
    slots = {"i": i}
    why, steps = rng.choice(problem.why), [expand(s, rng, slots) for s in problem.steps]
    kind = rng.randrange(3)
    if kind == 0:
        text = (
            f"## {problem.topic} ({i})\n\n"
            + expand(why, rng, slots)
            + "\n\n"
            + numbered(steps)
            + f"\n\nPrice: {problem.price} euros. Time: {problem.days} day{'s' if problem.days > 1 else ''}."
        )
        return text.replace("## " + problem.topic[0], "## " + problem.topic[0].upper(), 1)
    if kind == 1:
        who = person(rng)
        return expand(
            "{name}'s {i} {says}. "
            + why
            + " "
            + " ".join(steps[:2])
            + " [The workshop can|At the workshop they can] "
            + problem.workshop
            + ".",
            rng,
            slots | who | {"says": choose_says(problem, rng)},
        )
    return expand(
        f"[About|A note on] {problem.topic}: {why} {' '.join(steps)} It costs about {problem.price} euros to {problem.workshop}.",
        rng,
        slots,
    )


def choose_says(problem: Problem, rng: random.Random, verbs: Iterable[str] = ()) -> str:
    """Draw a third-person predicate for the problem, without words of a first person; `verbs` limits its first word."""
    options = [s for s in problem.says if not re.search(r"\b(I|my)\b", s)]
    if verbs:
        options = [s for s in options if s.split(" ")[0] in verbs and "that" not in s and "since" not in s] or [
            "has a problem"
        ]
    text = expand(rng.choice(options), rng)
    return text[0].lower() + text[1:]


def dialogue(rng: random.Random) -> str:
    """Two people talk."""
    slots = scene(rng)
    problem = problem_for(slots["i"], rng)
    slots |= {
        "says": choose_says(problem, rng),
        "why": rng.choice(problem.why),
        "s1": problem.steps[0],
        "s2": problem.steps[1],
    }
    talks = (
        "“[Good morning|Hello], {oname},” said {name}. “Where are you going?” “To the {place},” said {oname}. “I want to {act}.” "
        "“[May I come with you|Can I come too]?” “[Of course|Yes, gladly],” said {oname}.",
        "{name}: My {i} {says}.\n{oname}: [Do you know why?|Have you found the cause?|Do you know what to do?]\n{name}: No, [I have no idea|I do not know].\n"
        "{oname}: {why} {s1}\n{name}: [Thank you, I will try it.|That is good advice.]",
        "“What do you do?” asked {name}. “I am a {job},” said {oname}. “I work at the {work}.” “Do you like it?” “[Yes, very much|Most of the time|Yes, because I meet many people],” said {oname}.",
        "“Do you have {fruits}?” asked {name}. “Yes, {n} euros a [basket|bag],” said the seller. “[That is too much|I will take one basket|They look good],” {name} said.",
        "“Can I borrow your {tool}?” {name} asked. “[What do you need it for|Why do you need it]?” “I want to {use}.” “[Here you are|It is in {spot}], but bring it back [tomorrow|on {day}],” {oname} said.",
        "{name}: Is it {weather} today?\n{oname}: Yes, you should {wear}.\n{name}: Then we can [stay here and play music|go another day].\n{oname}: [Good idea.|All right.|I will get my {i}.]",
    )
    return (
        expand(rng.choice(talks), rng, slots)
        .replace("in the desk", "on the desk")
        .replace("in the bench", "on the bench")
    )


def list_page(rng: random.Random) -> str:
    """A short list: a category, a shopping list, prices or a timetable."""
    kind = rng.randrange(4)
    if kind == 0:
        name = rng.choice(list(CATEGORIES))
        items = rng.sample(CATEGORIES[name], min(len(CATEGORIES[name]), rng.randrange(3, 6)))
        title = plural(name) if not name.startswith("part ") else name.replace("part", "parts", 1)
        return f"{title[0].upper()}{title[1:]}:\n" + "\n".join(f"- {i}" for i in items)
    if kind == 1:
        bought = rng.sample(PRODUCE, 4)
        return "Shopping list\n\n" + numbered([f"{rng.randrange(2, 13)} {plural(p[0])}" for p in bought])
    if kind == 2:
        rows = rng.sample(INSTRUMENTS, 4)
        return "Prices for new strings\n\n" + "\n".join(f"- {i.name}: {i.restring_price} euros" for i in rows)
    rows2 = rng.sample(PROBLEMS, 3)
    return "What repairs cost\n\n" + "\n".join(
        f"- {p.topic}: {p.price} euros, {p.days} day{'s' * (p.days > 1)}" for p in rows2
    )


def letter(rng: random.Random) -> str:
    """A short letter or a diary entry."""
    slots = scene(rng)
    kinds = (
        "Dear {oname}, [thank you for writing to me.|thank you for your letter.|how are you?|I hope you are well.] [Yesterday|On {day}] I went to the {place}. I wanted to {act}. It was {weather}, so I [was glad to be home again|had to {wear}|stayed only an hour]. "
        "[Next week|In {month}] I will [visit you|play the {i} in the concert hall|plant {fruits}]. [Yours|Warm wishes|Best wishes|With love], {name}",
        "{day}. Today it was {weather}. I [met|saw] {oname} at the {place}. {ohe} had a {animal} with {ohim}. We ate {fruits} and talked about [music|the garden|the old times]. In the evening I played the {i}.",
        "To {oname}: Please [bring the {tool} back|buy {n} {fruits}|feed the {animal}|call me] [before {day}|tomorrow|this evening]. [Thank you|Thanks]! {name}",
    )
    return expand(rng.choice(kinds), rng, slots)


def facts_page(rng: random.Random) -> str:
    """A few plain facts side by side."""
    lines = []
    for _ in range(rng.randrange(2, 5)):
        kind = rng.randrange(5)
        if kind == 0:
            lines.append(rng.choice(WHY)[1])
        elif kind == 1:
            one, other = rng.choice(OPPOSITES)
            lines.append(f"The opposite of {one} is {other}.")
        elif kind == 2:
            a, b = rng.randrange(1, 11), rng.randrange(1, 10)
            lines.append(expand(f"{NUMBER_WORDS[a]} and {NUMBER_WORDS[b]} make {NUMBER_WORDS[a + b]}.", rng))
        elif kind == 3:
            d = rng.randrange(7)
            lines.append(f"{DAYS[(d + 1) % 7]} comes after {DAYS[d]}.")
        else:
            lines.append(describe_thing(rng))
    return " ".join(lines)


def compare(rng: random.Random) -> str:
    """Compare two instruments."""
    a, b = rng.sample(INSTRUMENTS, 2)
    fewer = "the same number of" if a.strings == b.strings else "more" if a.strings > b.strings else "fewer"
    tail = "strings as" if a.strings == b.strings else "strings than"
    return expand(
        f"A {a.name} has {fewer} {tail} a {b.name}. The {a.name} sounds {a.sound}, [but|and] the {b.name} sounds {b.sound}. "
        f"The {a.name} is played with {a.played_with}. [The {b.name} is played with {b.played_with}.|]",
        rng,
    )


def page(rng: random.Random) -> str:
    """Write one document of prose, of any kind."""
    roll = rng.random()
    if roll < 0.46:
        return story(rng)
    kinds = (
        describe_instrument,
        describe_animal,
        describe_thing,
        howto,
        problem_note,
        problem_note,
        dialogue,
        dialogue,
        list_page,
        letter,
        facts_page,
        compare,
    )
    return rng.choice(kinds)(rng)


__all__ = [
    "compare",
    "describe_animal",
    "describe_instrument",
    "joined",
    "numbered",
    "page",
    "person",
    "scene",
    "story",
]
