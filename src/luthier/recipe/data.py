"""The recipe's `data`: where rows come from, what their columns are, what is done to them, which are held back."""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from luthier.recipe.methods import Rows, Share
from luthier.recipe.options import Options
from luthier.recipe.privacy import Privacy

Named = Annotated[str, Field(min_length=1)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]


Format = Literal[
    "openai",
    "sharegpt",
    "alpaca",
    "completion",
    "qa",
    "choice",
    "summary",
    "translation",
    "transcript",
    "preference",
    "kto",
    "classification",
    "text",
]

MADE_FROM: dict[Rows, tuple[Format, ...]] = {
    "conversation": (
        "preference",
        "summary",
        "openai",
        "sharegpt",
        "translation",
        "choice",
        "qa",
        "alpaca",
        "completion",
        "transcript",
        "classification",
    ),
    "pair": ("preference",),
    "judged": ("kto", "preference"),
    "class": ("classification",),
    "text": ("text",),
}
"""What an objective learns from, and the shapes of a row that give it, in the order in which `auto` tries them.

Of a preference, a conversation takes the better ending, and judged rows are two: a good one and a bad one. Of a text
with a class, the text is what is asked, and the class the answer.
"""

Output = Literal["openai", "sharegpt", "alpaca", "completion", "preference", "kto", "classification", "text"]

WRITTEN_AS: dict[Rows, tuple[Output, ...]] = {
    "conversation": ("openai", "sharegpt", "alpaca", "completion"),
    "pair": ("openai", "sharegpt", "alpaca", "preference"),
    "judged": ("openai", "sharegpt", "alpaca", "kto"),
    "class": ("openai", "classification"),
    "text": ("text",),
}
"""What an objective learns from, and the formats it can be written in for other programs."""

NEEDED: dict[Format, tuple[str, ...]] = {
    "openai": ("messages",),
    "sharegpt": ("messages",),
    "choice": ("prompt", "choices", "answer"),
    "qa": ("prompt", "context", "answer"),
    "alpaca": ("prompt", "answer"),
    "completion": ("prompt", "answer"),
    "transcript": ("text",),
    "preference": ("chosen", "rejected"),
    "kto": ("prompt", "answer", "label"),
    "classification": ("text", "label"),
    "text": ("text",),
}
"""Which fields a format can't do without, of those whose columns can be named."""


class Fields(Options):
    """Which columns hold what, for files whose column names luthier doesn't know."""

    prompt: Named | None = None
    """Column with what the user says."""

    answer: Named | None = None
    """Column with what the model should answer."""

    context: Named | None = None
    """Column with text that goes below the prompt: a passage, an input."""

    system: Named | None = None
    """Column with the instruction the model works under."""

    messages: Named | None = None
    """Column with a list of turns, each with its role and text."""

    tools: Named | None = None
    """Column with the functions the model may call."""

    choices: Named | None = None
    """Column with the answers to choose from; `answer` says which one is right."""

    chosen: Named | None = None
    """Column with the better ending, for objectives that learn from pairs."""

    rejected: Named | None = None
    """Column with the worse ending."""

    margin: Named | None = None
    """Column with how much better the chosen ending is, a number."""

    text: Named | None = None
    """Column with plain text, or the text to classify."""

    label: Named | None = None
    """Column with the class of the text, or whether the answer is a good one."""


Action = Literal["tell", "drop"]
"""What becomes of a row in which a step sees a fault that nobody can repair: it is counted, or dropped."""


class Transcript(Options):
    """What is done to transcripts of speech."""

    timestamps: bool = True
    """Take away times before a line: `[00:01:23]`, `00:01:23,400 --> 00:01:25,000`."""

    sounds: bool = True
    """Take away `[Music]`, `(laughter)`, `[inaudible]` and the like."""

    speakers: Literal["even", "remove"] | Literal[False] = "even"
    """Speaker tags before a line are written one way, or removed. `SPEAKER_01 >` becomes `Speaker 1:`."""

    names: tuple[Named, ...] = ()
    """Names that are speaker tags too when a colon follows, such as `Interviewer`."""


class Fillers(Options):
    """Which filler words go. Only where they are set off from the sentence: `um`, `uh`, `, you know,`."""

    languages: Annotated[tuple[Literal["en", "de", "es", "fr", "it", "pt", "nl", "ja", "zh"], ...], Field(min_length=1)]
    """Whose filler words: `um` says nothing in English and "around" in German."""

    words: tuple[Named, ...] = ()
    """Further words, removed wherever they stand alone."""


class Boilerplate(Options):
    """Which lines go that say nothing about the subject. A text that holds nothing else stays."""

    lines: tuple[Named, ...] = ()
    """Further lines that go, case and spaces evened out: a footer of your own documents."""


class Length(Options):
    """How long something may be. What isn't set isn't looked at."""

    min_chars: PositiveInt | None = None
    """Fewest characters."""

    max_chars: PositiveInt | None = None
    """Most characters."""

    min_words: PositiveInt | None = None
    """Fewest words. In scripts without spaces a Chinese or Japanese character counts as one, five Thai ones too."""

    max_words: PositiveInt | None = None
    """Most words."""

    max_tokens: PositiveInt | None = None
    """Most tokens of the model, without its template; estimated from bytes where its tokenizer isn't asked."""

    @model_validator(mode="after")
    def leaves_something(self) -> "Length":
        """Refuse bounds that nothing meets, and no bounds."""
        if not any(self.model_dump().values()):
            message = "names no bound; `max_tokens: 2048`, say, is one"
            raise ValueError(message)
        for what in ("chars", "words"):
            least, most = getattr(self, f"min_{what}"), getattr(self, f"max_{what}")
            if least and most and least > most:
                message = f"min_{what} {least:,} is above max_{what} {most:,}: no text is left"
                raise ValueError(message)
        return self


class Lengths(Options):
    """Bounds for the parts of a row."""

    prompt: Length | None = None
    """All that is not an answer, together."""

    answer: Length | None = None
    """The longest of the assistant's turns; of a preference, that of each ending. A call of a tool may be short."""

    row: Length | None = None
    """Everything together."""


class Language(Options):
    """Which languages stay. Needs `pip install 'luthier[data]'`. Code and short texts are undecided, and stay."""

    keep: tuple[Annotated[str, Field(pattern="^[a-z]{2,3}$")], ...] = ()
    """Languages that stay, as ISO 639 codes (`en`, `de`, `zh`). Empty tells which there are and drops nothing."""

    min_confidence: Annotated[float, Field(gt=0, le=1)] = 0.9
    """How sure the detector must be; other rows are undecided, and stay."""

    min_letters: PositiveInt = 20
    """Rows with fewer letters of prose than this are undecided."""


class NearDuplicates(Options):
    """Rows that are nearly the same as an earlier one: pairs of neighbouring words are compared, all of them."""

    key: Literal["row", "text", "prompt", "answer", "last_user"] = "row"
    """What must be alike. `row`: the prompt and each answer, each for itself, with the same numbers in them, under
    equal tools and instructions of the system; rows whose answers have less than nine words and signs must have equal
    prompts. `text`: all that is said, taken together. Plain text, and texts with a class, are compared whole. Labels
    must always be equal."""

    threshold: Annotated[float, Field(ge=0.5, le=1)] = 0.8
    """Share of the pairs of neighbouring words that two rows must have in common (Jaccard similarity), in each thing
    that is compared. At 0.8, one word in eighteen may be another."""

    action: Literal["drop", "tell"] = "drop"
    """`tell` keeps the rows, counts them and holds them back together."""


class SemanticDuplicates(Options):
    """Rows that say nearly the same in other words, as far as embeddings tell that a function of yours makes."""

    embed: Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")]
    """`module:function`, looked for where luthier runs and among installed packages: `embed(texts: list[str])` returns
    a row of numbers for each text, such as `SentenceTransformer(…).encode`. It gets 256 texts at once."""

    key: Literal["text", "prompt", "answer"] = "text"
    """What is embedded: all that is said, what is asked (of plain text and texts with a class, the text), or the
    answer. Labels must always be equal."""

    threshold: Annotated[float, Field(gt=0, le=1)] = 0.95
    """Cosine similarity from which on two rows are the same. Every model has its own scale: look at the pairs in the
    report before you trust a number."""

    action: Literal["drop", "tell"] = "drop"
    """`tell` keeps the rows, counts them and holds them back together."""


class Clean(Options):
    """Cleaning steps, in the order in which they run. Each is counted in the report."""

    mojibake: bool = True
    """Repair text that was decoded with the wrong encoding (`donâ€™t`); nothing else is rewritten."""

    html: bool = True
    """Turn HTML into text in fields that hold HTML tags."""

    control: bool = True
    """Remove control and zero-width characters, which nobody sees and the model learns."""

    unicode: Literal["nfc", "nfkc"] | Literal[False] = False
    """Unicode form all texts get. `nfc` writes é one way, and takes Bengali and Hindi letters apart; `nfkc` also makes
    `x²` into `x2` and full-width signs into plain ones."""

    punctuation: bool = False
    """Make curly quotes, dashes, ellipses and full-width letters plain. Code stays."""

    transcript: Transcript | Literal[False] = False
    """Take times, sounds and odd speaker tags out of transcripts. Code stays."""

    fillers: Fillers | Literal[False] = False
    """Remove filler words (`um`, `you know`) of transcribed speech. Code stays."""

    boilerplate: Boilerplate | Literal[False] = False
    """Remove lines such as cookie notices, `All rights reserved`, newsletter footers, and e-mail signatures."""

    special_tokens: Literal["trim", "tell", "remove", "neutralise", "drop"] | Literal[False] = "trim"
    """Control tokens written in a text (`<|im_start|>`, `</s>`, `[INST]`, and the model's own). luthier reads them as
    text, so they open no turn; other trainers and servers may take them for real. `trim` takes off those that another
    template left at the ends of a text, and tells the others; `remove` takes out all, `neutralise` puts a space into
    each, `drop` drops the row."""

    residue: Literal["tell", "remove", "drop"] | Literal[False] = "tell"
    """What is left of a prompt template: `### Response:`, a leading `Assistant:`, unfilled `{{name}}`. `remove` takes
    labels off the ends of texts and tells the others."""

    whitespace: bool = True
    """Trim both ends, line ends and runs of blank lines."""

    roles: Literal["repair", "tell", "drop"] | Literal[False] = "repair"
    """Turns out of order: `repair` joins turns of one speaker, moves the system prompt to the front, leaves out empty
    turns and an opening by the assistant; a tool's result that follows no call drops the row."""

    min_answer_chars: Annotated[int, Field(ge=1)] = 1
    """Rows whose answers are all shorter than this, in characters, are dropped as empty."""

    length: Lengths | Literal[False] = False
    """Drop rows that are too short or too long."""

    language: Language | Literal[False] = False
    """Tell languages, and drop those that aren't wanted."""

    echo: Action | Literal[False] = "tell"
    """Answers that only repeat the prompt, or begin by repeating it."""

    refusals: Action | Literal[False] = "tell"
    """Answers that begin with a refusal ("I'm sorry, but as an AI language model …"), in ten languages."""

    repetition: Action | Literal[False] = "tell"
    """Answers that go round in a loop: most of the text repeats itself."""

    privacy: Privacy = Privacy()
    """What is done about personal data and secrets. By default they are told and stay."""

    profanity: Literal["off", "flag", "mask", "drop"] = "flag"
    """What is done about swear words and slurs, by word lists in six languages: told, masked (`f***`), or the row is
    dropped. A list of words knows no tone: profanity is not toxicity, and neither implies the other."""

    duplicates: bool = True
    """Drop rows that equal an earlier one after case, width and spaces are evened out."""

    near_duplicates: NearDuplicates | Literal[False] = NearDuplicates()
    """Drop rows that are nearly the same as an earlier one, from whatever source: the source named first wins. Where
    `duplicates` is false, nothing is looked for."""

    semantic_duplicates: SemanticDuplicates | Literal[False] = False
    """Drop rows that say nearly the same as an earlier one in other words, by embeddings of yours. Every row is
    compared with each before it: minutes for 100,000 rows, hours for a million."""


class Decontaminate(Options):
    """Rows that hold items of the tests a model will be judged by. What the model has seen, it can't be tested on.

    Looked for are the questions, and answers of `ngram` words and more, whatever their case and punctuation, inside
    longer texts and over the borders of turns. Another wording of the same question is not found.
    """

    against: tuple[Named, ...] = ()
    """Files, folders or globs of test sets, in any format that luthier reads and in the layouts of GSM8K, MMLU,
    HumanEval, TruthfulQA, HellaSwag, BBH, MBPP, MGSM and ARC. None: nothing is looked for."""

    fields: tuple[Named, ...] = ()
    """Columns of those files whose texts are looked for, where luthier doesn't find the questions itself."""

    ngram: Annotated[int, Field(ge=5, le=100)] = 13
    """Length in words of the runs that row and question must share. Questions of 5 words up to this are looked for
    as a whole; of scripts without spaces, a character counts as a word."""

    coverage: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Share of the question, or of the answer, that such runs must cover for the row to be a leak."""

    code_coverage: Annotated[float, Field(gt=0, le=1)] = 0.8
    """The same for programs, of which long runs of words come again anywhere."""

    action: Literal["drop", "tell"] = "drop"
    """What becomes of a leaked row: dropped, or kept and told in the report."""

    @model_validator(mode="after")
    def looks_for_something(self) -> "Decontaminate":
        """Refuse to say how to look where nothing is looked for."""
        usual = type(self).model_fields
        said = [name for name in usual if getattr(self, name) != usual[name].default]
        if said and not self.against:
            message = f"`{said[0]}` says how to look for test items, and `against` names no file that has some"
            raise ValueError(message)
        return self


Part = Literal["train", "valid", "test"]


class Split(Options):
    """How many rows are held back, as shares. A row stays where it is when others come.

    Rows with the same prompt are never torn apart.
    """

    valid: Share = 0.1
    """Share kept for the validation loss and the base-against-tuned comparison."""

    test: Share = 0.0
    """Share kept apart from both."""

    seed: Seed = 0
    """Another number gives another split."""

    stratify: Literal["auto", False] | Named = "auto"
    """Give every class its share: `auto` where rows have a class or a verdict, `false` nowhere, or the column that
    holds the class. Of each class, one row at most moves when another comes."""

    group_by: Named | None = None
    """Column whose rows stay together, such as a user, a conversation or a document."""

    own: Literal["auto", False] = "auto"
    """Rows that say themselves what they are for stay there: where all have a column `split` that holds `train`,
    `valid` (`val`, `dev`, …) or `test`, which lists of a JSON file that are called so give them, and `valid_sources`
    and `test_sources` name nothing. `false` splits them anew."""

    @property
    def stratum_column(self) -> str | None:
        """The column that `stratify` names."""
        return self.stratify if self.stratify and self.stratify != "auto" else None

    @model_validator(mode="after")
    def leaves_rows_to_train_on(self) -> "Split":
        """Refuse shares that leave nothing to learn from."""
        if self.valid + self.test >= 1:
            message = f"valid + test must stay below 1, got {self.valid} + {self.test}"
            raise ValueError(message)
        return self


NONE = ("none:",)
"""Sources of a recipe that needs none: its models are compared by benchmarks alone."""


class Data(Options):
    """Where the examples come from and what is done to them."""

    sources: Annotated[tuple[Named, ...], Field(min_length=1)]
    """Files, folders or globs: CSV, TSV, JSON, JSONL, Parquet, Arrow, Excel; for plain text also TXT, MD and HTML, each
    file one document. Any of them may be packed as gz, bz2, xz, zst or zip. `-` is what is piped in, `hub:owner/name`,
    with `@revision` and `:config/split` where wanted, a data set on the hub, `bundled` the sample data in
    the package."""

    valid_sources: tuple[Named, ...] = ()
    """Files, folders or globs of rows that are held back for validation, whatever `split.valid` says. Rows of
    `sources` that equal one, or have its prompt, are dropped."""

    test_sources: tuple[Named, ...] = ()
    """The same for tests. A file that `sources` names too is only here."""

    header: Literal["auto"] | bool = "auto"
    """Whether the first line of a table (CSV, TSV, a sheet) names its columns. `auto` looks; where none does, the
    columns are `column 1`, `column 2`, … and can be named by `fields`."""

    sheets: Literal["all"] | Annotated[tuple[Named, ...], Field(min_length=1)] = "all"
    """Which sheets of Excel and OpenDocument workbooks are read, by name. `all` leaves out hidden ones."""

    format: Literal["auto", Format] = "auto"
    """Shape of a row. `auto` decides row by row, among those the objective learns from, and says what it found."""

    fields: Fields | None = None
    """Column names, where `auto` doesn't know them."""

    output: Output | None = None
    """Format in which the splits are written once more, for other programs, as `data/FORMAT/train.jsonl` and so on:
    `openai`, `sharegpt` or `alpaca` (as LLaMA-Factory reads them), `completion`, `preference` or `kto` (as TRL does),
    `classification` or `text`. What it can't say is counted in the report. luthier trains from its own files."""

    clean: Clean = Clean()
    """Cleaning steps."""

    decontaminate: Decontaminate = Decontaminate()
    """Rows that hold items of tests."""

    split: Split = Split()
    """Rows held back."""

    processes: Literal["auto"] | Annotated[int, Field(ge=1, le=256)] = "auto"
    """Processes of this machine that convert and clean. `auto` is one a core, and one where there is little to do. The
    result is the same, to the bit."""

    @property
    def validates(self) -> bool:
        """Whether rows are held back for validation."""
        return bool(self.split.valid or self.valid_sources)

    @model_validator(mode="after")
    def fields_make_a_row(self) -> "Data":
        """Refuse fields that are too few for a row, or that say nothing of a format."""
        if self.fields is None:
            return self
        if self.format != "auto" and self.format not in NEEDED:
            message = f"`{self.format}` rows name their columns themselves: remove `fields`, or `format`"
            raise ValueError(message)
        named = {part for part, column in self.fields.model_dump().items() if column}
        formats = NEEDED if self.format == "auto" else {self.format: NEEDED[self.format]}
        if not any(named.issuperset(needed) for needed in formats.values()):
            wanted = " or ".join(", ".join(f"`{part}`" for part in parts) for parts in dict.fromkeys(formats.values()))
            message = f"`fields` must name at least {wanted}"
            raise ValueError(message)
        return self
