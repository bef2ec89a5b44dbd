"""One step in full: what a person gets who clicks on its row. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

from nbtool.views.model import tokens_of

if TYPE_CHECKING:
    from nbtool.tracing.record import SpanRecord

Section = dict[str, Any]
"""``title``, ``kind`` and what that kind has: ``text``, ``messages``, ``rows``, or an error."""

_MOST_CHARS = 1_000_000  # of one text: a page with more of it stands still
_FACTS = ("model", "response_model", "waited_s", "retries")


def sections(record: SpanRecord) -> list[Section]:
    """Return the parts of a step, in the order in which they are read.

    Args:
        record: The step. Everything is scrubbed, and each text cut off after a million characters.
    """
    found = _given(record)
    if record.error is not None:
        found.append(_error(record))
    elif record.status == "running":
        found += [_text("So far", record.arrived)] if record.arrived else []
    else:
        found += _gave(record)
    return [*found, _facts(record)]


def _given(record: SpanRecord) -> list[Section]:
    inputs = record.inputs
    messages = inputs.pop("messages", None) if record.kind == "lm" else None
    found: list[Section] = []
    if isinstance(messages, list):
        turns = [_turn(message) for message in cast("list[Any]", messages)]
        found.append({"title": "Messages", "kind": "messages", "messages": turns})
    if inputs:
        title = "Options" if messages else "Arguments" if record.kind == "tool" else "Inputs"
        found.append(value(title, inputs))
    return found


def _turn(message: Any) -> dict[str, str]:
    turn: dict[str, Any] = cast("dict[str, Any]", message) if isinstance(message, dict) else {}
    content = turn.get("content", "" if turn else message)
    rest = {name: value for name, value in turn.items() if name not in {"role", "content"}}
    parts = [content if isinstance(content, str) else as_json(content)]
    parts += [as_json(rest)] if rest else []
    return {"role": str(turn.get("role", "?")), "text": cut("\n".join(parts))}


def _gave(record: SpanRecord) -> list[Section]:
    output = record.output
    if record.kind == "lm" and isinstance(output, list):
        answers = cast("list[Any]", output)
        names = (
            ["Completion"]
            if len(answers) == 1
            else [f"Completion {n + 1}" for n in range(len(answers))]
        )
        return [value(name, answer) for name, answer in zip(names, answers, strict=True)]
    title = {"tool": "Result", "predict": "Fields"}.get(record.kind, "Output")
    return [value(title, output)]


def value(title: str, held: Any) -> Section:
    """Return one part of a step: a text, a table of fields, or JSON.

    Args:
        title: What stands above it.
        held: JSON-like and scrubbed.
    """
    if isinstance(held, str):
        return _text(title, held)
    if isinstance(held, dict) and held:
        fields = cast("dict[str, Any]", held).items()
        shown = [
            [str(name), cut(each if isinstance(each, str) else as_json(each))]
            for name, each in fields
        ]
        return {"title": title, "kind": "table", "rows": shown}
    return {"title": title, "kind": "json", "text": cut(as_json(held))}


def _text(title: str, text: str) -> Section:
    return {"title": title, "kind": "text", "text": cut(text)}


def _error(record: SpanRecord) -> Section:
    error = record.error
    if error is None:
        return _text("Error", "")
    return {
        "title": "Error",
        "kind": "error",
        "type": error.type,
        "message": cut(error.message),
        "traceback": cut(error.traceback),
    }


def _facts(record: SpanRecord) -> Section:
    attributes = record.attributes
    rows = [["kind", record.kind], ["status", record.status]]
    if record.duration_s is not None:
        rows.append(["seconds", f"{record.duration_s:.3f}"])
    sent, received = tokens_of(record)
    if sent or received:
        rows.append(["tokens", f"{sent:,} sent, {received:,} received"])
    if record.cost_usd is not None:
        rows.append(["price", f"{record.cost_usd:.6f} USD"])
    if attributes.get("cache_hit"):
        rows.append(["answer", "from the cache"])
    if attributes.get("shared"):
        rows.append(["answer", "of an identical request at the same time"])
    rows += [
        [name.replace("_", " "), str(attributes[name])] for name in _FACTS if name in attributes
    ]
    return {"title": "Facts", "kind": "table", "rows": rows}


def python_call(record: SpanRecord) -> str:
    """Write a step as the Python call that repeats it.

    Values that have no literal are written as their repr.

    Args:
        record: The step.
    """
    inputs = record.inputs
    arguments = ", ".join(
        f"{name}={value!r}" if name.isidentifier() else f"**{ {name: value}!r}"
        for name, value in inputs.items()
    )
    return cut(f"{_callee(record)}({arguments})")


def _callee(record: SpanRecord) -> str:
    attributes = record.attributes
    if record.kind == "lm":
        return f"nbtool.LM({attributes.get('model') or record.name!r})"
    if "code" in attributes:
        return str(attributes["code"])
    return f"{record.name}()" if record.kind in {"module", "predict"} else record.name


def as_json(value: Any) -> str:
    """Write JSON-like values for reading."""
    return json.dumps(value, ensure_ascii=False, indent=2, default=str)


def cut(text: str) -> str:
    """Cut a text off that would make a page stand still."""
    if len(text) <= _MOST_CHARS:
        return text
    return f"{text[:_MOST_CHARS]}… ({len(text):,} characters in all; `trace.save(...)` has them)"
