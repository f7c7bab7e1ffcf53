"""What is private in some hundred snippets, and what only looks so: written by hand, and by templates.

Values are published examples of their kinds, or drawn here; none is anybody's. Keys are drawn when this runs, so that
no scanner takes them for leaked ones.

`python benchmarks/privacy.py` prints precision and recall.
"""

import random
import string
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

DRAWN = random.Random(20261121)
LETTERS = string.ascii_letters + string.digits


class Snippet(NamedTuple):
    text: str
    gold: tuple[tuple[str, int, int], ...]
    """Kind, start and end of each private piece."""


def words(text: str, *more: str) -> list[str]:
    return [*text.split(), *more]


def drawn(size: int, of: str = LETTERS) -> str:
    """A word as a machine draws it, with digits and letters in it."""
    word = "".join(DRAWN.choice(of) for _ in range(size))
    return word if sum(char.isdigit() for char in word) > 1 and any(map(str.isalpha, word)) else drawn(size, of)


EMAILS = words(
    """
    anna.schmidt@web.de jane_doe+news@corp.co.uk x@y.org o'brien@trinity.ie jürgen@müller.de 王伟@例子.中国
    first.last@sub.domain.example.com 12345@qq.com UPPER@CASE.COM a-b@c-d.io me@example.com dev@startup.ai
    """,
    "jane [at] mail [dot] org",
    "tom(at)uni-bonn(dot)de",
    "kim [at] posteo.net",
)

PHONES = [
    "+1 212 664 7665",
    "+1-202-555-0143",
    "+1 (415) 555-2671",
    "+14155552671",
    "(212) 664-7665",
    "212-664-7665",
    "212.664.7665",
    "1-800-356-9377",
    "1 (303) 499-7111",
    "123-456-7890",
    "+44 20 7946 0958",
    "+44 (0)20 7946 0958",
    "+447911123456",
    "020 7946 0958",
    "(020) 7946 0958",
    "07700 900123",
    "+49 30 901820",
    "+49 (0)171 1234567",
    "030/901820",
    "0171 1234567",
    "0171-1234567",
    "+33 1 42 68 53 00",
    "01 42 68 53 00",
    "06.12.34.56.78",
    "+34 612 34 56 78",
    "+39 06 6982",
    "+39 333 1234567",
    "+55 11 91234-5678",
    "(11) 91234-5678",
    "+91 98765 43210",
    "+91-9876543210",
    "+86 138 0013 8000",
    "138 0013 8000",
    "+81 3-1234-5678",
    "03-1234-5678",
    "090-1234-5678",
    "+61 2 9374 4000",
    "0412 345 678",
    "+7 495 123-45-67",
    "8 (495) 123-45-67",
    "0044 20 7946 0958",
    "+971 50 123 4567",
    "+234 803 123 4567",
]
SAID = [  # only what stands before makes these phone numbers
    "phone: 4155552671",
    "Tel. 5550123",
    "call me at 9876543210",
    "text 415 555 2671",
    "WhatsApp 612 34 56 78",
    "my cell is 415 555 2671",
    "Telefon 901820 45",
    "call 555-0123",
    "手机：13800138000",
    "电话 01012345678",
]

CARDS = words(
    """
    4111111111111111 4012888888881881 5555555555554444 5105105105105100 2223003122003222 378282246310005
    371449635398431 6011111111111117 6011000990139424 30569309025904 3530111333300000 3566002020360505 4222222222222
    6200000000000005
    """,
    "4111 1111 1111 1111",
    "5555-5555-5555-4444",
    "3782 822463 10005",
    "4012 8888 8888 1881",
)

IBANS = words(
    """
    GB82WEST12345698765432 DE89370400440532013000 FR1420041010050500013M02606 ES9121000418450200051332
    NL91ABNA0417164300 IT60X0542811101000000123456 BE68539007547034 CH9300762011623852957 AT611904300234573201
    SE4550000000058398257466 NO9386011117947 DK5000400440116243 FI2112345600000785 PL61109010140000071219812874
    PT50000201231234567890154
    """,
    "GB82 WEST 1234 5698 7654 32",
    "DE89 3704 0044 0532 0130 00",
    "NL91 ABNA 0417 1643 00",
    "BE68 5390 0754 7034",
)

ADDRESSES = words("""
    142.250.74.46 93.184.216.34 203.0.113.7 198.51.100.23 2001:4860:4860::8888 2001:db8:85a3::8a2e:370:7334
    2606:2800:220:1:248:1893:25c8:1946 2A00:1450:4001:81B::200E
""")

IDENTITIES = [
    "078-05-1120",
    "536-90-4399",
    "123-45-6789",
    "AB123456C",
    "AB 12 34 56 C",
    "12345678Z",
    "12345678-Z",
    "X1234567L",
    "529.982.247-25",
    "111.444.777-35",
    "9999 4105 7058",
    "ABCPE1234F",
    "11010519491231002X",
    "1 84 12 76 451 089 46",
    "184127645108946",
    "RSSMRA85T10A562S",
]


def credentials() -> list[tuple[str, str]]:
    """Addresses, each with its private piece."""
    pairs = [f"{user}:{drawn(12)}" for user in ("jane", "root", "deploy", "svc-backup")]
    forms = (
        "https://{}@git.corp.org/repo.git",
        "postgres://{}@db.corp.org:5432/app",
        "ftp://{}@10.0.0.7/x",
        "redis://{}@cache",
    )
    return [(form.format(pair), pair) for form, pair in zip(forms, pairs, strict=True)]


def secrets() -> list[tuple[str, str]]:
    """Snippets with a key, token or password, each with its private piece."""
    hexadecimal, upper, urlsafe = "0123456789abcdef", string.ascii_uppercase + string.digits, LETTERS + "_-"
    by_makers = [
        f"sk-{drawn(48)}",
        f"sk-proj-{drawn(64, urlsafe)}",
        f"sk-ant-api03-{drawn(80, urlsafe)}",
        f"AKIA{drawn(16, upper)}",
        f"ASIA{drawn(16, upper)}",
        f"ghp_{drawn(36)}",
        f"gho_{drawn(36)}",
        f"github_pat_{drawn(22)}_{drawn(59)}",
        f"glpat-{drawn(20)}",
        f"xoxb-{drawn(12, string.digits + 'a')}-{drawn(24)}",
        f"AIza{drawn(35)}",
        f"sk_live_{drawn(24)}",
        f"rk_test_{drawn(24)}",
        f"hf_{drawn(34)}",
        f"npm_{drawn(36)}",
        f"pypi-{drawn(80)}",
        f"SG.{drawn(22)}.{drawn(43)}",
        f"SK{drawn(32, hexadecimal)}",
        f"gsk_{drawn(52)}",
        f"dop_v1_{drawn(64, hexadecimal)}",
        f"{drawn(9, '123456789a').replace('a', '7')}:AA{drawn(33)}",
        f"eyJ{drawn(33)}.eyJ{drawn(60)}.{drawn(43)}",
        f"https://hooks.slack.com/services/T{drawn(8, upper)}/B{drawn(8, upper)}/{drawn(24)}",
    ]
    block = "\n".join(drawn(64) for _ in range(12))
    pem = f"-----BEGIN RSA PRIVATE KEY-----\n{block}\n-----END RSA PRIVATE KEY-----"
    given = [
        ('aws_secret_access_key = "{}"', drawn(40, LETTERS + "/+")),
        ("api_key: {}", drawn(32)),
        ('"apiKey": "{}"', drawn(32, hexadecimal)),
        ("export AUTH_TOKEN={}", drawn(40)),
        ("password = '{}'", "Tr0ub4dor&3"),
        ("Password: {}", "hT7!pq9$Lm"),
        ("my password is: {}", "Zx81-Quartz!"),
        ("Authorization: Bearer {}", drawn(40, urlsafe)),
        ("client_secret={}&grant_type=x", drawn(36)),
    ]
    return [*((word, word) for word in [*by_makers, pem]), *((form.format(value), value) for form, value in given)]


AROUND = (
    "{}",
    "Please reach me under {} before Friday.",
    "Contact: {}",
    '{{"value": "{}", "count": 3}}',
    'He said "{}" and left.',
    "- {}\n- the second point",
    "Bitte notieren: {}, danke.",
    "Voici : {} — merci !",
    "我的信息是{}，谢谢",
    "| name | {} | 2026-11-21 |",
    "It is <b>{}</b> now.",
    "({})",
)


def around(kind: str, pieces: Iterable[tuple[str, str]]) -> Iterator[Snippet]:
    """Every piece in three surroundings."""
    for number, (text, piece) in enumerate(pieces):
        for place in (0, 1 + number % 11, 1 + (number + 5) % 11):
            whole = AROUND[place].format(text)
            start = whole.index(piece)
            yield Snippet(whole, ((kind, start, start + len(piece)),))


def alone(values: Sequence[str]) -> list[tuple[str, str]]:
    return [(value, value) for value in values]


NOTHING = r"""
Natalia sold 48/2 = <<48/2=24>>24 clips in May.
So 2000-1360=<<2000-1360=640>>640 are left.
The total is 555-123-4567 = -4135 in the end.
He earned $1234567890 over 30 years.
She has 123 456 789 stars in the bottle.
5 * 0171 1234567 = 5856172835
100 200 300 400 500 600
05 10 15 20 25 30
01 02 03 04 05
The war lasted 1914-1918 and 1939-1945.
From 2019-03-04 to 2020-11-12.
Due 01/02/2023 at 10:30:00.
01-02-2023 12:30
2023-05-06T07:08:09Z
20230506070809
1617181723
1617181723123
Unix time 1617181723 is in 2021.
12.11.2021
Version 1.2.3.4 is out.
Chrome/92.0.4515.107 Safari/537.36
v10.2.11.30
Release 4.19.0.12 fixes it.
See section 2.3.14.1 for more.
* Upgrade V8 to 3.9.24.7
// 23.3.1.2 element access
"NextToken": "eyJ2IjoxLCJzIjoxLCJpIjoiOU83OTFodzdycnZCbkN4MExHeHVwQT09Iiwi"
5430 5431 5432 5433
5240 5241 5242
new URL('https://a:b@host.org')
ssh://deploy@host.org/repo
ping 8.8.8.8 -c 4
The address 192.168.1.1 is private.
Listen on 127.0.0.1:8080 or 0.0.0.0.
10.0.0.5 and 172.16.4.20 are internal.
255.255.255.0 is a netmask.
The link-local address fe80::1ff:fe23:4567:890a
::1 is loopback
std::vector<int> v; a::b::c
12:34:56:78
00:1B:44:11:3A:B7
ISBN 978-3-16-148410-0
ISBN 0-306-40615-2
ISBN: 0306406152
ISSN 2049-3630
Order number 123-4567890-1234567
order #0171 1234567
Invoice 0302-4455667
Tracking 1Z999AA10123456784
Ticket no. 030-1234567
Your case ID is 020 7946 0958.
doi:10.1000/182.4567.8910
arXiv:2106.09685
RFC 2822-2001
3.14159265358979
2.718281828459045
6.02214076e23
1,234,567,890
1.234.567,89
0.123456789
0x1234567890ab
#1234567
1234567890123456
0000 0000 0000 0000
1111 2222 3333 4444
4111 1111 1111 1112
The product 4242 * 1000000000000 is large.
1234 5678 9012 3456 7890
12345678901234567890
123456789 × 987654321
9999 4105 7059
000-12-3456
666-12-3456
987-65-4321
123-45-678
12345678A
529.982.247-26
GB82WEST12345698765433
DE89370400440532013001
XX82WEST12345698765432
550e8400-e29b-41d4-a716-446655440000
d41d8cd98f00b204e9800998ecf8427e
3f786850e387550fdab836ed7e6dc881de23001b
commit 9fceb02d0ae598e95dc970b74767f19372d61af8
@user said hello
@media (max-width: 600px)
@property def name(self): ...
a@b
x @ y.com
price@5.00
icon@2x.png
git@github.com:user/repo.git
npm install react@18.2.0
user@localhost
See http://user.example.org/a@b
matrix A@B.T
40.7128, -74.0060
51.5074N 0.1278W
Between 10 000 000 and 20 000 000 people
Pages 123-4567
pp. 555-612
The score was 3-2, 4-1, 10-9.
0-0 0-1 1-1 1-2
(1) 2 (3) 4 (5) 6
f(12) 3456-7890
x = (12) * 3456
password = "your_password"
password: str = None
password = getpass.getpass()
password = base64.b64decode(rest).decode()
private_key: ed25519.Ed25519PrivateKey, other
api_key = os.environ["API_KEY"]
API_KEY=YOUR_API_KEY_HERE
token = get_token(user_id=1234)
token: "<your token 1234>"
secret = config.secret_key_v2
The password is required and must be at least 8 characters.
password=********
"password": "string"
sk-learn and sk-image-processing-tools
sk-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx
Use sk-... as your key
ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx
https://user:password@host/db
postgres://user:$PASSWORD@localhost/db
https://example.org:8080/path
https://example.org/a:b@c
http://www.w3.org/2000/svg
key = lambda x: x[1]
max_tokens=2048
tokens = tokenizer.encode(text)
the secret to happiness is 42
bearer of bad news 2023
eyJhbGciOiJIUzI1NiJ9
-----BEGIN PUBLIC KEY-----
class Base64Encoder2Implementation:
supercalifragilisticexpialidocious
Llanfairpwllgwyngyllgogerychwyrndrobwllllantysiliogogogoch
CVE-2021-44228
KB4023057
A4 210 x 297 mm
1920x1080 at 60 Hz
12V 2A
+5 points
+1 for the idea
x +1234567 y
5 +44 20 = 69
2^32 = 4294967296
3 + 4 + 5 = 12
9 - 5 - 3 = 1
1/2 + 1/3 = 5/6
10% of 1500000
year 2000-2001
2020/2021
7-11 and 24/7
911
90210-1234
New York, NY 10001-1234
SW1A 1AA
A12 345 678
AB12CDE
11:22:33
1e10
1_000_000_000
[1, 2, 3, 4, 5, 6, 7, 8, 9]
0101010101010101
1.5.2-3
2.0.0-rc.1+build.123
Model S 75D 2017
Section 5.2.1.1-2
Q3 2021: 4 567 890 €
14 000 000 000 people
Der Preis beträgt 1.234.567 Euro.
1 000 000 habitants en 2015
人口 13800138 人
公元前221年至公元1912年
1000000000
telephone was invented in 1876
call 911 in an emergency
call the function with 3 arguments
phone 12 Pro Max 256
text 2 of 3
fax machines of the 1980s
dial 0 for the operator
mobile phones: 5 of 10 in 1999-2004
call f(1234567, 8)
1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89
""".strip().splitlines()


def truth() -> list[Snippet]:
    """Return all snippets."""
    found: list[Snippet] = []
    for kind, pieces in (
        ("email", alone(EMAILS)),
        ("phone", alone(PHONES)),
        ("card", alone(CARDS)),
        ("iban", alone(IBANS)),
        ("ip", alone(ADDRESSES)),
        ("identity", alone(IDENTITIES)),
        ("credentials", credentials()),
        ("secret", secrets()),
    ):
        found += around(kind, pieces)
    for text in SAID:
        start = next(place for place, char in enumerate(text) if char.isdigit())
        found.append(Snippet(text, (("phone", start, len(text)),)))
    return [*found, *(Snippet(text, ()) for text in NOTHING)]


class Score(NamedTuple):
    right: int
    missed: int
    wrong: int

    @property
    def precision(self) -> float:
        return self.right / max(1, self.right + self.wrong)

    @property
    def recall(self) -> float:
        return self.right / max(1, self.right + self.missed)


Find = Callable[[str], Iterable[tuple[int, int, str]]]


def scores(find: Find, snippets: Sequence[Snippet]) -> tuple[dict[str, Score], list[str]]:
    """Return right, missed and wrong a kind, and each mistake in words. Right is: the same kind, every character."""
    counts: dict[str, list[int]] = {}
    mistakes = []
    for text, gold in snippets:
        hits = [*find(text)]
        for kind, start, end in gold:
            right = (start, end, kind) in hits
            counts.setdefault(kind, [0, 0, 0])[not right] += 1
            if not right:
                mistakes.append(f"missed {kind}: {text!r}")
        for start, end, kind in hits:
            if not any(kind == true and start < last and first < end for true, first, last in gold):
                counts.setdefault(kind, [0, 0, 0])[2] += 1
                mistakes.append(f"wrong {kind} {text[start:end]!r}: {text!r}")
    return {kind: Score(*three) for kind, three in counts.items()}, mistakes


def table(found: dict[str, Score]) -> str:
    lines = [f"{'kind':12} {'right':>6} {'missed':>6} {'wrong':>6} {'precision':>10} {'recall':>7}"]
    lines += [
        f"{kind:12} {s.right:6} {s.missed:6} {s.wrong:6} {s.precision:10.3f} {s.recall:7.3f}"
        for kind, s in found.items()
    ]
    return "\n".join(lines)
