"""`Document` and `Citations`: sources, and what a model cites of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self, cast

from pydantic import ValidationError, model_validator

from nbtool.errors import InputError
from nbtool.signatures.types import Type

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nbtool.signatures.signature import Signature

_PDF = "application/pdf"
_CITING = "anthropic/"  # whose models cite by themselves


class Document(Type):
    """Hold a source that a model can cite.

    Attributes:
        data: Its text; base64 of a PDF.
        title: Its title.
        media_type: Of what kind it is.
        context: What else the model should know of it.

    Example:
        >>> Document("Water boils at 100 degrees.", title="Physics").format()[0]["title"]
        'Physics'

    Source:
        Names, call shapes and the content block as DSPy's class of that name; the block is
        Anthropic's.
    """

    data: str
    title: str | None = None
    media_type: Literal["text/plain", "application/pdf"] = "text/plain"
    context: str | None = None

    def __init__(self, source: Any = None, /, **fields: Any) -> None:
        super().__init__(**(fields if source is None else {"data": source, **fields}))

    @classmethod
    def description(cls) -> str:
        """Say in a sentence what the type is."""
        return "a source with its text, and a title by which it can be cited"

    def format(self) -> list[dict[str, Any]]:
        """Show the source as a content block that can be cited."""
        kind = "base64" if self.media_type == _PDF else "text"
        source = {"type": kind, "media_type": self.media_type, "data": self.data}
        more = {"title": self.title, "context": self.context}
        told = {name: text for name, text in more.items() if text}
        return [{"type": "document", "source": source, "citations": {"enabled": True}, **told}]

    @model_validator(mode="before")
    @classmethod
    def _read(cls, given: Any) -> Any:
        return {"data": given} if isinstance(given, str) else given

    def __str__(self) -> str:
        title = f"{self.title!r}: " if self.title else ""
        return f"Document({title}{len(self.data):,} characters)"


class Citations(Type):
    """Hold what a model cites, with the places in its sources.

    Models of Anthropic give them beside their answer; others are asked for them in it.

    Attributes:
        citations: The citations, in the order of the answer.

    Example:
        >>> cited = Citations.from_dict_list([{
        ...     "cited_text": "100 degrees", "document_index": 0,
        ...     "start_char_index": 15, "end_char_index": 26,
        ... }])
        >>> len(cited), cited[0].cited_text
        (1, '100 degrees')

    Source:
        Names and call shapes as DSPy's class of that name; the fields are Anthropic's.
    """

    class Citation(Type):
        """Hold one citation.

        Attributes:
            type: How the place is given; ``"char_location"`` counts characters.
            cited_text: What is cited, word for word.
            document_index: Which of the sources, from 0.
            document_title: Its title.
            start_char_index: Where the text begins in it, from 0.
            end_char_index: Where it ends; that character is no part of it.
            supported_text: What of the answer it supports.
        """

        type: str = "char_location"
        cited_text: str
        document_index: int
        document_title: str | None = None
        start_char_index: int
        end_char_index: int
        supported_text: str | None = None

        def format(self) -> dict[str, Any]:
            """Show the citation as JSON, without what it does not have."""
            always = ("type", "cited_text", "document_index", "start_char_index", "end_char_index")
            told = {name: getattr(self, name) for name in always}
            more = ("document_title", "supported_text")
            return {**told, **{name: getattr(self, name) for name in more if getattr(self, name)}}

    citations: list[Citation]

    @classmethod
    def from_dict_list(cls, citations_dicts: Sequence[dict[str, Any]]) -> Self:
        """Make citations of dicts with the attributes of a `Citation`.

        Raises:
            pydantic.ValidationError: One of them is no citation.
        """
        return cls.model_validate({"citations": list(citations_dicts)})

    @classmethod
    def description(cls) -> str:
        """Say in a sentence what the type is."""
        return "what is cited of the sources, word for word, and where it stands in them"

    def format(self) -> list[dict[str, Any]]:
        """Show the citations as JSON."""
        return [citation.format() for citation in self.citations]

    @classmethod
    def adapt_to_native_lm_feature(
        cls,
        signature: type[Signature],
        field_name: str,
        lm: Any,
        lm_kwargs: dict[str, Any],  # noqa: ARG003 - of the base
    ) -> type[Signature]:
        """Let a model that cites by itself do so; see `Type.adapt_to_native_lm_feature`."""
        return signature.delete(field_name) if lm.model.startswith(_CITING) else signature

    @classmethod
    def parse_lm_response(cls, response: str | dict[str, Any]) -> Self | None:
        """Read the citations beside an answer; those of another form are left out."""
        given: Any = response.get("citations") if isinstance(response, dict) else None
        if not isinstance(given, list):
            return None
        found = [cls._one(each) for each in cast("list[Any]", given)]
        return cls(citations=[each for each in found if each is not None])

    @classmethod
    def _one(cls, given: Any) -> Citation | None:
        try:
            return cls.Citation.model_validate(given)
        except ValidationError:  # pages of a PDF, and what other providers call so
            return None

    @model_validator(mode="before")
    @classmethod
    def _read(cls, given: Any) -> Any:
        value: Any = given
        if isinstance(given, list):
            return {"citations": value}
        if isinstance(given, dict) and "cited_text" in given:
            return {"citations": [value]}
        if not isinstance(given, (dict, cls)):
            raise InputError(f"{given!r:.100} are no citations.", hint="Give a list of dicts.")
        return value

    def __iter__(self) -> Iterator[Citation]:  # type: ignore[override] # pyright: ignore[reportIncompatibleMethodOverride] - as DSPy's
        return iter(self.citations)

    def __len__(self) -> int:
        return len(self.citations)

    def __getitem__(self, at: int) -> Citation:
        return self.citations[at]
