"""`ChainOfThought`: think in words first, then answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbtool.programs.module import Module
from nbtool.programs.predict import Predict
from nbtool.signatures.fields import OutputField
from nbtool.signatures.signature import Signature, ensure_signature

if TYPE_CHECKING:
    from nbtool.programs.prediction import Prediction


class ChainOfThought(Module):
    """Ask for a ``reasoning`` field before the output fields of a signature.

    Args:
        signature: ``"question -> answer"``, a dict, or a `Signature` class.
        rationale_field: The reasoning field, where the usual one does not suit.
        rationale_field_type: Its type.
        **config: Options of every request.

    Attributes:
        predict: The predictor that asks.

    Example:
        >>> import nbtool
        >>> from nbtool.testing import DummyLM
        >>> lm = DummyLM([{"reasoning": "2+2 is 4.", "answer": "4"}])
        >>> with nbtool.context(lm=lm):
        ...     nbtool.ChainOfThought("question -> answer")(question="2+2?").answer
        '4'

    Source:
        Names and call shapes as DSPy's class of that name.
    """

    def __init__(
        self,
        signature: str | dict[str, Any] | type[Signature],
        rationale_field: Any = None,
        rationale_field_type: Any = str,
        **config: Any,
    ) -> None:
        super().__init__()
        asked = ensure_signature(signature)
        if "reasoning" not in asked.output_fields:  # else the user's own field is the reasoning
            field = rationale_field or OutputField(desc="${reasoning}")
            asked = asked.prepend("reasoning", field, type_=rationale_field_type)
        self.predict = Predict(asked, **config)

    async def aforward(self, **kwargs: Any) -> Prediction:
        """Ask and wait for reasoning and answer; arguments as `Predict.acall`."""
        return await self.predict.acall(**kwargs)
