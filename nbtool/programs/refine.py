"""`Refine`: run a program again with advice on what went wrong."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, TypeAlias

from nbtool.adapters.values import as_json, json_text
from nbtool.adapters.wording import field_descriptions
from nbtool.configuration import settings
from nbtool.programs.module import Module
from nbtool.programs.predict import Predict
from nbtool.programs.rollouts import Best, Rollout, check_count, copy_for, rating, rolled_out
from nbtool.signatures.fields import InputField, OutputField
from nbtool.signatures.signature import Signature

if TYPE_CHECKING:
    from nbtool.lm.base import BaseLM
    from nbtool.programs.prediction import Prediction
    from nbtool.programs.rollouts import Reward

Advice: TypeAlias = "dict[str, str]"

HINT = "hint_"
"""Name of the input field by which a predictor gets its advice."""

_NOT_TO_BLAME = "N/A"
_CHARS = 20_000  # of each part of the request for advice
_NO_SOURCE = "(its source is not at hand)"


class OfferFeedback(Signature):
    """Find out why a run of a program missed its target; advise its predictors.

    Say in `discussion` which predictors are to blame, and for what. Then write in `advice`, for
    each name of `module_names`, what that predictor should do when it gets such inputs again.
    Be concrete: it sees neither this run nor the others. Write N/A for one that did well.
    """

    program_code: str = InputField(desc="source code of the program")
    modules_defn: str = InputField(desc="what each predictor is asked")
    program_inputs: str = InputField(desc="what the program was given")
    program_trajectory: str = InputField(desc="what each predictor was asked and answered")
    program_outputs: str = InputField(desc="what the program returned")
    reward_code: str = InputField(desc="source code of the function that rates it")
    target_threshold: float = InputField(desc="the reward to reach")
    reward_value: float = InputField(desc="the reward of this run")
    module_names: list[str] = InputField(desc="names of the predictors to advise")
    discussion: str = OutputField(desc="what went wrong, and where")
    advice: dict[str, str] = OutputField(desc="advice by name of the predictor")


class Refine(Module):
    """Run a program up to N times, each time with advice; return the best answer.

    Between two attempts an LM is shown the run, its reward and the code of both, and advises
    each predictor of the program. The advice is an input field ``hint_`` of the next attempt.

    Args:
        module: The program.
        N: Most attempts (>= 1).
        reward_fn: As for `BestOfN`.
        threshold: The first attempt whose reward is at least this is taken.
        fail_count: As for `BestOfN`; a request for advice that fails counts too.

    Raises:
        InputError: `N` is no whole number >= 1.

    Example:
        >>> import nbtool
        >>> from nbtool.testing import DummyLM
        >>> def is_short(args, prediction):
        ...     return 1.0 if len(prediction.answer.split()) == 1 else 0.0
        >>> qa = nbtool.Predict("question -> answer")
        >>> refined = nbtool.Refine(qa, N=2, reward_fn=is_short, threshold=1.0)
        >>> lm = DummyLM([
        ...     {"answer": "I think Paris"},
        ...     {"discussion": "Too many words.", "advice": {"self": "Answer in one word."}},
        ...     {"answer": "Paris"},
        ... ])
        >>> with nbtool.context(lm=lm):
        ...     refined(question="Capital of France?").answer
        'Paris'

    Source:
        Names, call shape and the fields of the request as DSPy's class of that name.
    """

    def __init__(
        self,
        module: Module,
        N: int,  # noqa: N803 - DSPy's name
        reward_fn: Reward,
        threshold: float,
        fail_count: int | None = None,
    ) -> None:
        super().__init__()
        self.module = module
        self.N = check_count("N", N)
        self.reward_fn = rating(reward_fn)
        self.threshold = threshold
        self.fail_count = self.N if fail_count is None else fail_count
        self.module_code = source_of(type(module))
        self.reward_fn_code = source_of(reward_fn)

    async def aforward(self, **inputs: Any) -> Prediction:
        """Run the attempts; arguments, result and errors as of `BestOfN`."""
        best = Best(self.fail_count)
        advice: Advice = {}
        for number in range(self.N):
            try:
                program = advised(copy_for(self.module, number), advice)
                rollout = await rolled_out(program, number, inputs, self.reward_fn)
                best.add(rollout)
                if rollout.reward >= self.threshold:
                    break
                if number < self.N - 1:
                    advice = await self._advice_on(rollout, inputs)
            except Exception as error:  # noqa: BLE001 - counted, and raised where too many fail
                best.failed("Refine", number, error)
        return best.taken()

    async def _advice_on(self, rollout: Rollout, inputs: dict[str, Any]) -> Advice:
        predictors = rollout.program.named_predictors()
        names = {id(predictor): name for name, predictor in predictors}
        trajectory = [
            {"module_name": names.get(id(asked), type(asked).__name__), "inputs": given,
             "outputs": dict(answer)}
            for asked, given, answer in rollout.trace
        ]  # fmt: skip
        answer = await Predict(OfferFeedback).acall(
            lm=self._adviser(),
            program_code=self.module_code,
            modules_defn=_definitions(predictors),
            program_inputs=_shown(inputs),
            program_trajectory=_shown(trajectory),
            program_outputs=_shown(rollout.prediction),
            reward_code=self.reward_fn_code,
            target_threshold=self.threshold,
            reward_value=rollout.reward,
            module_names=[name for name, _ in predictors],
        )
        return answer.advice

    def _adviser(self) -> BaseLM | None:
        own = [predictor.lm for predictor in self.module.predictors() if predictor.lm is not None]
        return settings.lm or next(iter(own), None)


def advised(program: Module, advice: Advice) -> Module:
    """Give predictors their advice, as an input field with that default.

    Args:
        program: A copy that is to run; it is changed.
        advice: Advice by name of the predictor; none for no further field.
    """
    for name, predictor in program.named_predictors() if advice else ():
        hint = advice.get(name, _NOT_TO_BLAME)
        field = InputField(desc="advice from an earlier attempt", default=str(hint))
        predictor.signature = predictor.signature.append(HINT, field, type_=str)
    return program


def source_of(code: Any) -> str:
    """Return the source code of a class or function; a note where it cannot be found.

    Args:
        code: A class, a function, or an object that can be called.
    """
    for part in _parts_of(code):
        try:
            return _shortened(inspect.getsource(part))
        except (OSError, TypeError):  # typed at a prompt, or built in
            continue
    return _NO_SOURCE


def _parts_of(code: Any) -> list[Any]:
    # The source of a class that a cell has made is not found, that of its methods is.
    own: dict[str, Any] = dict(vars(code)) if inspect.isclass(code) else {}
    methods = [own[name] for name in ("aforward", "forward") if name in own]
    return [code, *methods, type(code)]


def _definitions(predictors: list[tuple[str, Predict]]) -> str:
    described = [
        f"{name}:\n{predictor.signature.instructions}\n{field_descriptions(predictor.signature)}"
        for name, predictor in predictors
    ]
    return _shortened("\n\n".join(described))


def _shown(value: Any) -> str:
    return _shortened(json_text(as_json(value)))


def _shortened(text: str) -> str:
    half = _CHARS // 2
    return text if len(text) <= _CHARS else f"{text[:half]}\n[...]\n{text[-half:]}"
