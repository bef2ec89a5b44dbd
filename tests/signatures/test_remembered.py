"""What is remembered of a signature is worked out anew where its texts were changed in place."""

from __future__ import annotations

import pytest

from nbtool.adapters.chat import ChatAdapter
from nbtool.signatures.remembered import once_for_each_signature, once_for_each_text
from nbtool.signatures.signature import Signature


def of(signature):
    return ChatAdapter().format_system_message(signature)


def test_prompt_follows_texts_that_are_set_in_place():
    signature = Signature("question -> answer", "Be short.")
    before = of(signature)
    signature.instructions = "Be long."
    signature.fields["answer"].json_schema_extra["desc"] = "in Latin"

    assert "Be short." in before
    assert ("Be long." in of(signature), "in Latin" in of(signature)) == (True, True)


@pytest.mark.parametrize("once", [once_for_each_signature, once_for_each_text])
def test_each_signature_is_asked_once_and_a_derived_one_anew(once):
    asked = []
    remembering = once(lambda signature: asked.append(signature) or signature.signature)
    one = Signature("question -> answer")
    other = one.append("reason", Signature("a -> b").output_fields["b"])

    assert [remembering(each) for each in (one, one, other, other)] == [
        "question -> answer", "question -> answer",
        "question -> answer, reason", "question -> answer, reason",
    ]  # fmt: skip
    assert asked == [one, other]
