"""Find secrets in one text: by the name before them, by their shape, by their exact value.

Traces hold prose mostly, so cost there decides: a plain substring test, many times faster than
a regular expression, stands before each pattern. Text is hostile: patterns repeat possessively
or within bounds, and none begins inside a run that it could itself have begun earlier.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from urllib.parse import quote

REDACTED = "<redacted>"
MIN_SECRET_CHARS = 12  # of an exact value: shorter ones are words of ordinary text
_LONGEST_NAME_CHARS = 80
_MOST_PASSES = 8  # a secret may show only once the one that it was glued to is gone

_SECRET_NAME = re.compile(
    r"(?:^|[_?&])(?:"
    r"(?:api|access|account|auth|client|encryption|master|private|secret|shared|signing"
    r"|subscription)_?keys?(?:_?id)?"
    r"|passwords?|passwd|pwd|passphrase|(?:client)?secrets?|(?:access|auth|refresh|id)?token"
    r"|auth|authorization|cookies?|credentials?|jwt)(?:_?\d+)?$"
    r"|[?&](?:key|sig|signature)$"  # too common a name anywhere but in a URL
)
_VOCABULARY_TOKEN = re.compile(r"(?:^|_)(?:bos|cls|eos|mask|pad|sep|stop|unk)_token$")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_PUNCTUATION = re.compile(r"[-.\s]")


def _from_edge(prefix: str, before: str = "A-Za-z0-9") -> str:
    # At the start of a word, or behind an escape: backslash n, %3D, backslash u003d.
    edges = (rf"(?<![{before}]", r"(?<=\\[abfnrtv]", r"(?<=%[\dA-Fa-f]{2}", r"(?<=\\u[\dA-Fa-f]{4}")
    return f"{prefix}(?:{'|'.join(f'{edge}{prefix})' for edge in edges)})"


_PEM = r"[A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
_NO_WORD = r"[A-Za-z._~+/-]{0,200}(?:[\d=]|(?<=[a-z])[A-Z])"
_BEARER = rf"(earer(?:\s{{1,8}}|%20))(?=[\w.~+/=-]{{24}}|{_NO_WORD})[\w.~+/=-]{{12,}}+"
_BASIC = rf"(asic(?:\s{{1,8}}|%20))(?={_NO_WORD})[A-Za-z0-9+/]{{8,}}+={{0,2}}(?![\w.-])"
_LOGIN = r"""://(?:[^/\s:@"'<>]{0,128}:[^/\s"'<>]{1,256}|[^/\s:@"'<>]{20,256})@"""
# What a text must contain before the pattern is tried, the pattern, what takes its place.
_SHAPES: tuple[tuple[str, re.Pattern[str], str], ...] = tuple(
    (literal, re.compile(pattern, re.ASCII), replacement)
    for literal, pattern, replacement in (
        ("sk-", _from_edge("sk-") + r"[\w-]{16,}+", REDACTED),  # OpenAI, Anthropic, OpenRouter
        ("_live_", r"[prs]k_live_\w{16,}+", REDACTED),  # Stripe
        ("AIza", r"AIza[\w-]{30,}+", REDACTED),  # Google
        ("ya29.", r"ya29\.[\w-]{20,}+", REDACTED),  # Google, OAuth
        *((f"gh{kind}_", rf"gh{kind}_[A-Za-z0-9]{{30,}}+", REDACTED) for kind in "pousr"),
        ("github_pat_", r"github_pat_\w{22,}+", REDACTED),
        ("glpat-", r"glpat-[\w-]{20,}+", REDACTED),
        ("hf_", r"hf_[A-Za-z0-9]{20,}+", REDACTED),
        ("dapi", r"dapi[0-9a-f]{32}", REDACTED),  # Databricks
        ("AKIA", r"AKIA[0-9A-Z]{16,}+", REDACTED),  # AWS
        ("ASIA", r"ASIA[0-9A-Z]{16,}+", REDACTED),  # AWS, temporary
        ("xox", r"xox[abeoprs]-[A-Za-z0-9-]{10,}+", REDACTED),  # Slack
        ("gsk_", r"gsk_[A-Za-z0-9]{20,}+", REDACTED),  # Groq
        ("lsv2_", r"lsv2_[a-z]{2}_\w{20,}+", REDACTED),  # LangSmith
        ("xai-", r"xai-[\w-]{20,}+", REDACTED),
        ("pplx-", r"pplx-[\w-]{20,}+", REDACTED),
        ("nvapi-", r"nvapi-[\w-]{20,}+", REDACTED),
        ("eyJ", _from_edge("eyJ", r"\w-") + r"[\w-]{8,}+\.[\w-]{8,}+(?:\.[\w-]*+)?", REDACTED),
        ("earer", _BEARER, rf"\1{REDACTED}"),
        ("asic", _BASIC, rf"\1{REDACTED}"),
        ("PRIVATE KEY", rf"-----BEGIN {_PEM}[\s\S]*?(?:-----END {_PEM}|\Z)", REDACTED),
        ("PRIVATE KEY", rf"(?<![\w+/=\s\\])[A-Za-z0-9+/=\s\\]++-----END {_PEM}", REDACTED),
        ("://", _LOGIN, f"://{REDACTED}@"),
    )
)
# By whether a text has an underscore, and a hyphen: most texts need not be tried for all.
_SHAPES_OF = {
    (underscore, hyphen): tuple(
        shape
        for shape in _SHAPES
        if (underscore or "_" not in shape[0]) and (hyphen or "-" not in shape[0])
    )
    for underscore in (False, True)
    for hyphen in (False, True)
}

_ASSIGNMENT = re.compile(  # tried on lower-cased text
    r"(?P<word>(?:key(?:_?id)?|token|secret|pass(?:word|wd|phrase)|pwd|auth(?:orization)?"
    r"|cookie|credential|jwt|sig(?:nature)?)s?(?:_?\d{1,3})?)"
    r"""\\{0,3}["']?[ \t]{0,3}(?P<sign>=>?|:|%3d)[ \t]{0,3}"""
)
_BEFORE_NAME = re.compile(r"\\[a-z]|[^\w.?&-]")
_QUOTED = re.compile(
    r"""(?:[A-Za-z_.]{1,40}\()?[bruf]{0,2}(?P<quote>\\{0,3}["'])(?P<value>(?:(?!(?P=quote))\\?.)++)""",
    re.DOTALL,
)
_BARE = re.compile(r"""(?P<value>[^\s"',;&<>]{6,}+)""")
_REST_OF_LINE = re.compile(r"""(?P<value>[^\r\n"'\\]{6,}+)""")
_WORDS = re.compile(r"(?!(?:Basic|Bearer|Token) )[A-Za-z][a-z' -]*+[.:!?)]*+")


@lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """Tell whether a name is a secret's: ``x-api-key``, ``dbPassword``.

    Args:
        name: A key of a mapping, a header, a variable; longer than 80 characters it is none.
    """
    if len(name) > _LONGEST_NAME_CHARS:
        return False
    snake = _PUNCTUATION.sub("_", _HUMP.sub("_", name)).lower()
    return bool(_SECRET_NAME.search(snake)) and not _VOCABULARY_TOKEN.search(snake)


def may_be_count(name: str) -> bool:
    """Tell whether a number under a secret name is harmless, as under ``token``."""
    return name.lower().endswith(("token", "s"))


def is_distinctive(value: str) -> bool:
    """Tell whether an exact value can be taken out without blanking ordinary words."""
    return len(value) >= MIN_SECRET_CHARS and not value.isalpha()


@lru_cache(maxsize=16)
def spellings(secrets: tuple[str, ...]) -> tuple[str, ...]:
    """Add to distinctive values how JSON and URLs spell them.

    Args:
        secrets: Exact values, in any order.

    Returns:
        What to look for, longest first, so that no rest of a longer one is left.
    """
    exact = [secret for secret in secrets if is_distinctive(secret)]
    escaped = [json.dumps(secret)[1:-1] for secret in exact]
    quoted = [quote(secret, safe="", errors="replace") for secret in exact]
    return tuple(sorted({*exact, *escaped, *quoted}, key=lambda value: (-len(value), value)))


def without_secrets(text: str, exact: tuple[str, ...]) -> str:
    """Replace each secret in a text by ``<redacted>``.

    Args:
        text: Any string.
        exact: Values to take out, from `spellings`.
    """
    for _ in range(_MOST_PASSES):
        before, text = text, _pass(text, exact)
        if text == before:
            break
    return text


def _pass(text: str, exact: tuple[str, ...]) -> str:
    for secret in exact:
        text = text.replace(secret, REDACTED)
    for literal, shape, replacement in _SHAPES_OF["_" in text, "-" in text]:
        if literal in text:
            text = shape.sub(replacement, text)
    return _without_assigned(text) if "=" in text or ":" in text or "%3" in text else text


def _without_assigned(text: str) -> str:
    # One letter for one: a place in it is a place in `text`. No letter but this one has a
    # lower case of another length.
    lowered = text.replace("\u0130", "i").lower()
    kept: list[str] = []
    done = 0
    for found in _ASSIGNMENT.finditer(lowered):
        if found.end() < done:
            continue
        end = found.end("word")
        name = _BEFORE_NAME.split(text[max(done, end - _LONGEST_NAME_CHARS) : end])[-1]
        span = _assigned_span(text, name, found) if is_secret_name(name) else None
        if span:
            kept += (text[done : span[0]], REDACTED)
            done = span[1]
    return "".join((*kept, text[done:]))


def _assigned_span(text: str, name: str, found: re.Match[str]) -> tuple[int, int] | None:
    bare = _REST_OF_LINE if found["word"] in {"authorization", "cookie"} else _BARE
    value = _QUOTED.match(text, found.end()) or bare.match(text, found.end())
    if value is None:
        return None
    shown = value["value"]
    if value.re is not _QUOTED and found["sign"] == ":" and _WORDS.fullmatch(shown):
        return None  # prose: "the secret: patience"
    if shown.rstrip(")]}").isdigit() and may_be_count(name):
        return None
    return value.span("value")
