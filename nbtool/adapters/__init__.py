"""Adapters: from a signature and inputs to messages, and from an answer to fields. Pure."""
