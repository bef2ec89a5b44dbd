"""`CompactAdapter`: short prompts and a JSON schema, for small models."""

from __future__ import annotations

from nbtool.adapters.structured import JSONAdapter


class CompactAdapter(JSONAdapter):
    """Placeholder."""
