"""`MultiChainComparison`: several answers, compared once more by an LM."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from nbtool.errors import InputError
from nbtool.programs.module import Module
from nbtool.programs.predict import Predict
from nbtool.programs.rollouts import check_count
from nbtool.signatures.fields import InputField, OutputField
from nbtool.signatures.signature import Signature, ensure_signature

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from nbtool.programs.prediction import Prediction


class MultiChainComparison(Module):
    """Show an LM several attempts at a question, and ask for the right answer.

    Args:
        signature: What is asked; its last output field is what the attempts have answered.
        M: How many attempts there are (>= 1).
        temperature: Sampling temperature of the comparison.
        **config: Further options of its request.

    Attributes:
        predict: The predictor that compares. Its inputs are those of the signature and
            ``reasoning_attempt_1`` and so on; its first output is ``rationale``.

    Raises:
        InputError: `M` is no whole number >= 1.

    Example:
        >>> import nbtool
        >>> from nbtool.testing import DummyLM
        >>> compare = nbtool.MultiChainComparison("question -> answer", M=2)
        >>> attempts = [
        ...     {"reasoning": "It is the largest city.", "answer": "Sydney"},
        ...     {"reasoning": "Parliament sits there.", "answer": "Canberra"},
        ... ]
        >>> lm = DummyLM([{"rationale": "Parliament decides.", "answer": "Canberra"}])
        >>> with nbtool.context(lm=lm):
        ...     compare(attempts, question="Capital of Australia?").answer
        'Canberra'

    Source:
        Names, call shape and fields as DSPy's class of that name.
    """

    def __init__(
        self,
        signature: str | dict[str, Any] | type[Signature],
        M: int = 3,  # noqa: N803 - DSPy's name
        temperature: float = 0.7,
        **config: Any,
    ) -> None:
        super().__init__()
        self.M = check_count("M", M)
        asked = ensure_signature(signature)
        *_, self.last_key = asked.output_fields
        for number in range(1, self.M + 1):
            field = InputField(desc="an attempt, right or wrong")
            asked = asked.append(f"reasoning_attempt_{number}", field, type_=str)
        rationale = OutputField(desc="what is right in the attempts, and why")
        asked = asked.prepend("rationale", rationale, type_=str)
        self.predict = Predict(asked, temperature=temperature, **config)

    async def aforward(
        self, completions: Iterable[Mapping[str, Any] | Prediction], **inputs: Any
    ) -> Prediction:
        """Compare attempts.

        Args:
            completions: M attempts: predictions or dicts with the last output field, and
                ``rationale`` or ``reasoning``. The first line of each counts.
            **inputs: Input fields of the signature by name.

        Returns:
            ``rationale`` and the output fields.

        Raises:
            InputError: There are more or fewer attempts than M, or one lacks a field.
        """
        attempts = [self._told(attempt) for attempt in completions]
        if len(attempts) != self.M:
            raise InputError(
                f"The number of attempts ({len(attempts)}) doesn't match the expected number M "
                f"({self.M}).",
                hint="Set M to the number of attempts when MultiChainComparison is made.",
            )
        shown = {f"reasoning_attempt_{n}": text for n, text in enumerate(attempts, start=1)}
        return await self.predict.acall(**{**shown, **inputs})

    def _told(self, attempt: Any) -> str:
        fields = cast("dict[str, Any]", dict(attempt))
        thought = fields.get("rationale", fields.get("reasoning"))
        if thought is None or self.last_key not in fields:
            raise InputError(
                f"An attempt has the fields {list(fields)}; it needs 'reasoning' and "
                f"{self.last_key!r}.",
                hint="Compare what ChainOfThought returned.",
            )
        return f"«{_first_line(thought)} So the answer is: {_first_line(fields[self.last_key])}»"


def _first_line(value: Any) -> str:
    return str(value).strip().partition("\n")[0].strip()
