import random

import pytest

from nbtool.tracing.arriving import Arriving
from nbtool.tracing.record import SpanRecord, remember_secret
from nbtool.tracing.scrub import scrub_text

KEY = "sk-proj-a1B2c3D4e5F6g7H8i9J0k1L2m3N4"
PEM = (
    "-----BEGIN PRIVATE KEY-----\n"
    + "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n" * 40
    + ("-----END PRIVATE KEY-----")
)


def arriving():
    pieces = []
    record = SpanRecord(id=1, parent_id=None, kind="lm", name="m", start_s=1.0)
    record.show_arriving(pieces)
    return pieces, Arriving(record)


def shown(text, size):
    """Let a text arrive in pieces, and return what a view that appends would show."""
    pieces, answer = arriving()
    seen = ""
    for start in range(0, len(text), size):
        pieces.append(text[start : start + size])
        new = answer.take()
        seen = answer.text if new is None else seen + new
        assert seen == answer.text
    return seen


def test_words_are_given_out_once_they_are_whole():
    pieces, answer = arriving()
    pieces += ["The sky", " is bl"]

    assert (answer.take(), answer.take()) == ("The sky is ", "")
    pieces.append("ue.\n")
    assert (answer.take(), answer.text) == ("blue.\n", "The sky is blue.\n")


def test_text_without_spaces_arrives_too():
    assert shown("天空是蓝色的因为瑞利散射", 1) == "天空是蓝色的因为瑞利散射"


def test_word_longer_than_any_key_is_not_held_back_for_ever():
    assert len(shown("x" * 10_000, 100)) > 5_000


SECRETS = {
    "key": f"Your key is {KEY} keep it.\n",
    "named": "password = hunter2hunter2 and more\n",
    "private key": f"Here:\n{PEM}\nDone.\n",
    "url": "See https://me:s3cretpassw0rd@example.org/x for it.\n",
    "bearer": "Authorization: Bearer abcdefghijklmnop.qrstuv-wxyz0123456789 ok\n",
}


@pytest.mark.parametrize("size", [1, 3, 7, 50, 10_000])
@pytest.mark.parametrize("text", SECRETS.values(), ids=SECRETS)
def test_secret_that_arrives_in_pieces_is_never_shown(text, size):
    assert shown(text, size) == scrub_text(text)


def test_remembered_secret_is_never_shown():
    remember_secret("correct-horse-battery-9")

    assert shown("It is correct-horse-battery-9, I think.\n", 2) == "It is <redacted>, I think.\n"


@pytest.mark.parametrize("seed", range(20))
def test_random_pieces_give_what_the_whole_text_gives(seed):
    choice = random.Random(seed)  # noqa: S311 - no secret
    words = [*SECRETS.values(), "a few words ", "数字 ", "\n", "x = {'a': 1} "]
    text = "".join(choice.choice(words) for _ in range(30)) + "\n"

    assert shown(text, choice.randrange(1, 40)) == scrub_text(text)
