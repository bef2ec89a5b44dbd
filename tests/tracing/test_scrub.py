import copy
import json
import string
import time
from types import MappingProxyType
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbtool.tracing.scrub import HIDDEN, MAX_DEPTH, known_secrets, scrub, scrub_text
from nbtool.tracing.secret_text import REDACTED

PEM_BODY = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj"

# Each secret, and the part of it that must be nowhere afterwards.
SECRETS = {
    "openai": ("sk-abcDEF123456ghiJKL7890", "abcDEF123456"),
    "openai_project": ("sk-proj-Ab1_cd2-Ef3Gh4Ij5Kl6Mn7", "Ab1_cd2"),
    "anthropic": ("sk-ant-api03-Zz9Yy8Xx7Ww6Vv5Uu4", "Zz9Yy8Xx7"),
    "google": ("AIzaSyA1B2C3D4E5F6G7H8I9J0K1L2M3N4O5P6Q", "SyA1B2C3D4"),
    "github": ("ghp_16C7e42F292c6912E7710c838347Ae178B4a", "16C7e42F292c"),
    "github_fine_grained": ("github_pat_11ABCDEFG0abcdefghijkl_MNOP", "11ABCDEFG0"),
    "hugging_face": ("hf_AbCdEfGhIjKlMnOpQrStUvWxYz01234567", "AbCdEfGhIj"),
    "databricks": ("dapi0123456789abcdef0123456789abcdef", "0123456789abcdef"),
    "aws": ("AKIAIOSFODNN7EXAMPLE", "IOSFODNN7"),
    "slack": ("xoxb-1234567890-abcdefghijkl", "1234567890-abc"),
    "groq": ("gsk_abcdefghij0123456789KLMN", "abcdefghij0123"),
    "jwt": ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w", "eyJzdWIiOi"),
    "bearer": ("Bearer a1b2c3d4e5f6g7h8i9", "a1b2c3d4"),
    "basic": ("Basic YWxhZGRpbjpvcGVuc2VzYW1l", "YWxhZGRpbjpv"),
    "pem": (f"-----BEGIN PRIVATE KEY-----\n{PEM_BODY}\n-----END PRIVATE KEY-----", PEM_BODY),
    "pem_cut_short": (f"-----BEGIN RSA PRIVATE KEY-----\n{PEM_BODY}", PEM_BODY),
    "pem_without_head": (f"{PEM_BODY}\n-----END RSA PRIVATE KEY-----", PEM_BODY),
    "url_login": ("postgres://admin:hunter2@db.internal:5432/app", "hunter2"),
    "assignment": ("AZURE_API_KEY=0a1b2c3d4e5f", "0a1b2c3d4e5f"),
}

PLACES = {
    "value": lambda secret: {"note": secret},
    "sentence": lambda secret: [f"it was {secret} all along"],
    "key": lambda secret: {secret: 1},
    "bytes": lambda secret: {"body": secret.encode()},
    "json_text": lambda secret: json.dumps({"body": f"\n{secret}"}),
    "python_repr": lambda secret: repr({"body": f"\n{secret}"}),
    "set_of_tuples": lambda secret: {("a", secret)},
    "twelve_deep": lambda secret: _nested(secret, 12),
    "traceback": lambda secret: (
        f'  File "a.py", line 3, in f\n    g({secret!r})\nValueError: {secret}'
    ),
    "url": lambda secret: f"https://api.example/v1?q=1&x={secret}",
}


def _nested(value, depth):
    return {"in": [_nested(value, depth - 1)]} if depth else value


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize(("secret", "telling"), SECRETS.values(), ids=SECRETS)
def test_secret_is_gone_wherever_it_stood(secret, telling, place):
    value = place(secret)
    assert telling in repr(value)

    shown = repr(scrub(value))

    assert telling not in shown
    assert REDACTED in shown


FURTHER_PREFIXES = (
    "sk_live_", "rk_live_", "ya29.", "glpat-", "gho_", "ghu_", "ghs_", "ghr_", "ASIA", "xoxp-",
    "lsv2_pt_", "xai-", "pplx-", "nvapi-", "Bearer%20",
)  # fmt: skip


@pytest.mark.parametrize("prefix", FURTHER_PREFIXES)
def test_shape_of_a_further_provider_is_known(prefix):
    assert "Q1W2" not in scrub_text(f"say {prefix}{'Q1W2' * 10} and go on")


SECRET_NAMES = (
    "api_key", "apiKey", "openai_api_key", "OPENAI_API_KEY", "X-Api-Key", "api_key_2", "HFToken",
    "Authorization", "proxy-authorization", "token", "access_token", "sessionToken", "secret",
    "client_secret", "aws.secret_access_key", "password", "dbPassword", "passwd", "Cookie",
    "Set-Cookie", "credentials", "private_key", "Ocp-Apim-Subscription-Key",
)  # fmt: skip


@pytest.mark.parametrize("name", SECRET_NAMES)
@pytest.mark.parametrize("value", ["plain words", b"plain words", ["plain words"], {"a": "b"}])
def test_whatever_stands_under_a_secret_name_is_redacted(name, value):
    assert scrub({"x": {name: value}}) == {"x": {name: REDACTED}}


@pytest.mark.parametrize("pair", [tuple, list])
@pytest.mark.parametrize("name", ["authorization", b"x-api-key"])
def test_header_kept_as_a_pair_loses_its_value(name, pair):
    headers = [pair((name, "plain words")), pair(("accept", "json"))]

    assert scrub(headers) == [pair((name, REDACTED)), pair(("accept", "json"))]


HARMLESS = {
    "prose": "the secret of life is patience; a password alone: useless. Secret: sharing it.",
    "basic_prose": "The basic requirements, basic understanding, a bearer of responsibilities.",
    "counts": {"max_tokens": 5, "prompt_tokens": 12, "total_tokens": [1, 2], "token": 7},
    "counts_in_text": 'usage: {"max_tokens": 500000, "token": 1234567}, n_tokens=100000',
    "vocabulary": {"eos_token": "</s>", "stop_token": "<|im_end|>", "tokenizer": "cl100k"},
    "logprob": {"token": " Paris", "logprob": -0.01},
    "sort_key": "SORT_KEY=name PRIMARY_KEY=identifier",
    "other_key": {"sort_key": "name", "key": "value", "keyboard": "qwerty"},
    "git_hash": "commit be206e7d6f0c1a2b3c4d5e6f708192a3b4c5d6e7",
    "uuid": {"id": "550e8400-e29b-41d4-a716-446655440000"},
    "url": "https://user.example:8080/a?page=2&sort=name#top",
    "mail": "http://localhost:8000/a, mail me: someone@example.org",
    "hyphens": "a task-force and a risk-adjusted-return-on-capital desk-research",
    "empty_setting": "OPENAI_API_KEY=\nNEXT_LINE=1",
    "short": "sk-learn, hf_hub, ghp_, AKIA, eyJ, Bearer token",
    "nothing_under_a_secret_name": {"api_key": None, "token": "", "auth": False, "cookies": []},
    "numbers": [1, 2.5, True, None, -1e300, 1j],
}


@pytest.mark.parametrize("value", HARMLESS.values(), ids=HARMLESS)
def test_harmless_value_comes_back_equal(value):
    assert scrub(value) == value


ASSIGNMENTS = (
    "OPENAI_API_KEY=zebra-crossing",
    "export DB_PASSWORD='zebra-crossing'",
    '{"api_key": "zebra-crossing"}',
    '{\\"token\\": \\"zebra-crossing\\"}',
    "{'password': 'zebra-crossing'}",
    "LM('gpt', api_key='zebra-crossing')",
    "client_secret: zebra2crossing",
    "token=pydantic.SecretStr('zebra-crossing')",
    "https://a.example/v1?key=zebra-crossing&q=1",
    "https://a.example/v1?q=1&sig=zebra-crossing",
    "?X-Amz-Security-Token=zebra-crossing",
    "Authorization: Token zebra-crossing",
    "Cookie: theme=dark; session=zebra-crossing",
    "first\\nMY_SECRET=zebra-crossing",
    "apiKey: 'zebra\\' crossing'",
)


@pytest.mark.parametrize("text", ASSIGNMENTS)
def test_value_assigned_in_text_is_redacted(text):
    shown = scrub_text(text)

    assert "zebra" not in shown
    assert "crossing" not in shown
    assert REDACTED in shown


def test_rest_of_the_text_stays_beside_a_secret():
    text = 'GET https://me:pw@h/x?a=1\nx-api-key: q9w8e7r6\nbody {"api_key": "k", "model": "gpt"}'

    assert scrub_text(text) == (
        "GET https://<redacted>@h/x?a=1\nx-api-key: <redacted>\n"
        'body {"api_key": "<redacted>", "model": "gpt"}'
    )


@pytest.mark.parametrize("spelling", [str, json.dumps, repr, lambda s: quote(s, safe="")])
def test_exact_value_is_redacted_in_every_spelling(spelling):
    secret = "corréct/horse-9"

    assert "horse" not in scrub_text(f"a{spelling(secret)}z", secrets=[secret])


def test_longest_exact_value_goes_first():
    shown = scrub_text(
        "base-value-123-and-more", secrets=["base-value-123", "base-value-123-and-more"]
    )

    assert shown == REDACTED


@pytest.mark.parametrize("word", ["", "name", "short-1", "uninterrupted"])
def test_exact_value_that_is_a_word_of_ordinary_text_is_passed_over(word):
    assert scrub_text("sort by name uninterrupted short-1", secrets=[word]) == (
        "sort by name uninterrupted short-1"
    )


def test_single_string_given_as_secrets_is_one_secret():
    assert scrub_text("my horse-battery-9", secrets="horse-battery-9") == "my <redacted>"


def test_known_secrets_come_from_secret_names_longest_first():
    environ = {
        "OPENAI_API_KEY": "key-0123456789",
        "MY_TOKEN_2": " token-0123456789\n",
        "DB_PWD": "pwd-01234567",
        "PWD": "/a/long/directory",
        "SORT_KEY": "name",
        "LONG_KEY": "alphabetically",
        "HOME_PAGE": "https://a.example",
        "TOKENIZERS_PARALLELISM": "false-0123456789",
    }

    assert known_secrets(environ) == ("token-0123456789", "key-0123456789", "pwd-01234567")


def test_copy_shares_nothing_with_the_value_and_leaves_it_alone():
    value = {"a": [{"api_key": "k1"}, ("x", {"b": "Bearer a1b2c3d4e5f6g7"})], "s": {1, 2}}
    before = copy.deepcopy(value)

    shown = scrub(value)
    shown["a"].append(1)
    shown["s"].clear()

    assert value == before


def test_two_keys_that_are_secrets_keep_both_values():
    shown = scrub({"sk-aaaaaaaaaaaaaaaaaaaa": 1, "sk-bbbbbbbbbbbbbbbbbbbb": 2, "c": 3})

    assert list(shown.values()) == [1, 2, 3]
    assert all("aaaa" not in key for key in shown)


class Rude(str):
    __slots__ = ()

    def __str__(self):
        raise RuntimeError

    def replace(self, *args):
        return self


class Loud(dict):
    def items(self):
        raise RuntimeError


UNKNOWN = {"object": object(), "class": str, "function": len, "failing_mapping": Loud(a=1)}


@pytest.mark.parametrize("value", UNKNOWN.values(), ids=UNKNOWN)
def test_what_cannot_be_judged_is_hidden_and_its_neighbours_are_shown(value):
    assert scrub({"bad": value, "good": 1}) == {"bad": HIDDEN, "good": 1}


def test_secrets_that_cannot_be_read_hide_the_value():
    assert scrub("harmless", secrets=[None]) == HIDDEN


def test_subclass_of_str_comes_back_as_plain_scrubbed_text():
    shown = scrub(Rude("sk-abcDEF123456ghiJKL7890"))

    assert (type(shown), shown) == (str, REDACTED)


def test_read_only_mapping_comes_back_as_a_dict():
    assert scrub(MappingProxyType({"token": "abc", "n": 1})) == {"token": REDACTED, "n": 1}


def test_too_deep_a_value_is_hidden_below_the_limit():
    shown = repr(scrub(_nested("bottom", 200)))

    assert HIDDEN in shown
    assert "bottom" not in shown
    assert shown.count("in") == MAX_DEPTH // 2


def test_container_inside_itself_ends():
    loop = [1]
    loop.append(loop)

    assert scrub(loop) == [1, HIDDEN]


def test_container_met_many_times_is_copied_once():
    value = ["leaf"]
    for _ in range(50):
        value = [value, value]

    shown = scrub(value)

    assert shown[0] is shown[1]


FLOODS = (
    "a", "sk-", "eyJ", "eyJaaaaaaaa.", "token=", "token: ", '"password":"', "://", "://a:",
    "-----BEGIN PRIVATE KEY-----", "a -----END PRIVATE KEY----", "Bearer ", "basic a", "cookie: a ",
    "&key=", "\\", 'token = b"\\', "ghp_", "\u0130", "\ud800", "\x00", "\U0001f600",
)  # fmt: skip


@pytest.mark.parametrize("flood", FLOODS, ids=ascii)
@pytest.mark.parametrize("end", ["", "!\x00"], ids=["open", "closed"])
def test_flood_of_one_pattern_takes_linear_time(flood, end):
    text = flood * (200_000 // len(flood)) + end

    start = time.process_time()
    scrub_text(text)

    # The slowest takes 0.4 s; steps squared would be minutes.
    assert time.process_time() - start < 5


@pytest.mark.parametrize("flood", ["a", "sk-"])
def test_megabyte_without_assignments_takes_less_than_a_second(flood):
    text = flood * (1_000_000 // len(flood))

    start = time.process_time()
    scrub_text(text)

    assert time.process_time() - start < 1


FRAGMENTS = st.sampled_from(
    [secret for secret, _ in SECRETS.values()]
    + ["token", "api_key", "cookie", "password", "=", ":", ": ", "'", '"', "\\", "\\n", "@", "://"]
    + ["Bearer ", "Basic ", "&key=", "%3D", "sk-", "eyJ", "-----", REDACTED, HIDDEN, "\u0130"]
)
TEXTS = st.lists(FRAGMENTS | st.text(max_size=8), max_size=8).map("".join)
# Every code point, lone surrogates too.
ANY_TEXT = TEXTS | st.text(st.characters(exclude_categories=()))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | ANY_TEXT | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(ANY_TEXT, inner) | st.tuples(ANY_TEXT, inner),
    max_leaves=8,
)
EXACT = st.lists(st.text(string.ascii_letters + string.digits, min_size=12), max_size=2)


@given(VALUES)
def test_scrubbing_twice_changes_nothing_more(value):
    once = scrub(value)

    assert scrub(once) == once


@given(VALUES, EXACT)
def test_no_exact_value_survives_and_nothing_is_mutated(value, secrets):
    told = {"told": [value, *secrets, {secret: secret for secret in secrets}]}
    before = copy.deepcopy(told)

    shown = repr(scrub(told, secrets=secrets))

    assert told == before
    assert not [s for s in secrets if not s.isalpha() and s in shown and s not in repr(value)]


@given(st.text(string.ascii_letters + " .,;\n"))
def test_letters_and_stops_are_never_changed(text):
    assert scrub_text(text) == text
