import pytest

from bench.registry import Case, NotMeasuredError, Pair, Registry, exit_code


def _case(measure, *, target=1.0, direction="lower", against="a competitor", name="a case"):
    return Case(name, "us", target, direction, against, measure)


def _unmeasurable():
    raise NotMeasuredError("no network")


PAIRS = {
    "lower_and_below": ("lower", 0.5, Pair(40.0, 100.0), "met"),
    "lower_and_equal": ("lower", 0.5, Pair(50.0, 100.0), "met"),
    "lower_and_above": ("lower", 0.5, Pair(60.0, 100.0), "missed"),
    "higher_and_above": ("higher", 2.0, Pair(900.0, 414.0), "met"),
    "higher_and_equal": ("higher", 2.0, Pair(828.0, 414.0), "met"),
    "higher_and_below": ("higher", 2.0, Pair(500.0, 414.0), "missed"),
}


@pytest.mark.parametrize(("direction", "target", "pair", "outcome"), PAIRS.values(), ids=PAIRS)
def test_ratio_of_two_figures_is_what_is_judged(direction, target, pair, outcome):
    verdict = _case(lambda: pair, target=target, direction=direction).judge()

    assert verdict.outcome == outcome
    assert verdict.ratio == pair.own / pair.rival


FIGURES = {
    "lower_and_below": ("lower", 460.0, "met"),
    "lower_and_above": ("lower", 462.0, "missed"),
    "higher_and_above": ("higher", 462.0, "met"),
    "higher_and_below": ("higher", 460.0, "missed"),
}


@pytest.mark.parametrize(("direction", "figure", "outcome"), FIGURES.values(), ids=FIGURES)
def test_single_figure_is_judged_in_its_unit(direction, figure, outcome):
    verdict = _case(lambda: figure, target=461.0, direction=direction, against="").judge()

    assert (verdict.outcome, verdict.own, verdict.ratio) == (outcome, figure, None)


def test_case_that_cannot_be_measured_says_why():
    verdict = _case(_unmeasurable).judge()

    assert (verdict.outcome, verdict.reason) == ("not measured", "no network")


def test_competitor_that_measures_nothing_decides_nothing():
    verdict = _case(lambda: Pair(1.0, 0.0)).judge()

    assert verdict.outcome == "not measured"
    assert "0.0" in verdict.reason


@pytest.mark.parametrize(
    ("against", "measured"), [("DSPy", 1.0), ("", Pair(1.0, 2.0))], ids=["one", "pair"]
)
def test_figures_that_do_not_fit_the_target_are_an_error(against, measured):
    with pytest.raises(TypeError, match="a case"):
        _case(lambda: measured, against=against).judge()


MEASURES = {"met": lambda: 1.0, "missed": lambda: 2.0, "not measured": _unmeasurable}
EXITS = {
    "nothing": ([], False, 0),
    "met": (["met", "met"], False, 0),
    "missed": (["met", "missed"], False, 1),
    "missing": (["met", "not measured"], False, 1),
    "missing_allowed": (["met", "not measured"], True, 0),
    "missed_beside_missing_allowed": (["missed", "not measured"], True, 1),
}


@pytest.mark.parametrize(("outcomes", "allowed", "code"), EXITS.values(), ids=EXITS)
def test_exit_code_is_one_for_what_is_missed_or_not_measured(outcomes, allowed, code):
    verdicts = [_case(MEASURES[outcome], against="").judge() for outcome in outcomes]

    assert [verdict.outcome for verdict in verdicts] == outcomes
    assert exit_code(verdicts, allow_missing=allowed) == code


@pytest.fixture
def registry():
    registry = Registry()
    for name in ("import time", "cost of a call", "cost of an import"):
        registry.case(name=name, unit="us", target=1.0)(lambda: 0.5)
    return registry


def test_registered_function_stays_callable(registry):
    @registry.case(name="another", unit="s", target=3.0, direction="higher", against="DSPy")
    def measure():
        return Pair(2.0, 1.0)

    assert measure() == Pair(2.0, 1.0)
    assert registry.cases[-1] == Case("another", "s", 3.0, "higher", "DSPy", measure)


def test_name_is_given_once(registry):
    with pytest.raises(ValueError, match="'import time'"):
        registry.case(name="import time", unit="us", target=1.0)(lambda: 0.5)


SELECTIONS = {
    "all": ([], ["import time", "cost of a call", "cost of an import"]),
    "part": (["IMPORT"], ["import time", "cost of an import"]),
    "several": (["call", "time"], ["import time", "cost of a call"]),
}


@pytest.mark.parametrize(("wanted", "names"), SELECTIONS.values(), ids=SELECTIONS)
def test_cases_are_selected_by_part_of_their_name(registry, wanted, names):
    assert [case.name for case in registry.select(wanted)] == names


def test_unknown_name_lists_the_known_ones(registry):
    with pytest.raises(LookupError, match=r"'nonsense'.*'cost of a call'"):
        registry.select(["call", "nonsense"])
