"""`ChainOfThought`: think in words first, then answer."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from nbtool.programs.code import note_code
from nbtool.programs.module import Module
from nbtool.programs.predict import Predict
from nbtool.signatures.fields import OutputField
from nbtool.signatures.signature import Signature, ensure_signature

if TYPE_CHECKING:
    from nbtool.programs.prediction import Prediction

_log = logging.getLogger("nbtool")
_REASONING = "reasoning"


class ChainOfThought(Module):
    """Ask for a ``reasoning`` field before the output fields of a signature.

    Args:
        signature: ``"question -> answer"``, a dict, or a `Signature` class.
        rationale_field: The reasoning field, where the usual one does not suit.
        rationale_field_type: Its type, where the field itself has none.
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
        if _REASONING in asked.input_fields:
            _log.warning(
                "The input field 'reasoning' of %r is not used: ChainOfThought asks for an output "
                "of that name. Rename the input.",
                asked.signature,
            )
        own = asked.output_fields.get(_REASONING)  # a user's own field is the reasoning
        field = own or rationale_field or OutputField(desc="${reasoning}")
        type_ = field.annotation or rationale_field_type
        self._asked_code = asked.code
        asked = asked.prepend(_REASONING, field, type_=type_)
        self.predict = Predict(asked, **config)

    async def aforward(self, **kwargs: Any) -> Prediction:
        """Ask and wait for reasoning and answer; arguments as `Predict.acall`."""
        note_code(self, self._asked_code)
        return await self.predict.acall(**kwargs)
