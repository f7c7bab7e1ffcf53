import time
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from luthier.data.keys import evened
from luthier.data.normal_form import normal_form

LETTERS = "aé e\u0301\u0323カ\uff76\uff9e\u304b\u3099각\u1100\u1161\u11a8한ก\u0e4d\u0e32ﬁ²漢\n.אָ"


@given(text=st.text(LETTERS, min_size=200), times=st.integers(1, 40))
def test_long_texts_get_the_form_that_unicode_says(text: str, times: int) -> None:
    for form in ("NFC", "NFKC"):
        assert normal_form(form, text * times) == unicodedata.normalize(form, text * times)


def test_a_hundred_thousand_marks_take_no_more_than_a_moment() -> None:
    began = time.process_time()
    evened("a" + "\u0f72\u0f71" * 50_000)
    assert time.process_time() - began < 2
