import contextvars

from nbtool.runtime.variables import copy_changed

first = contextvars.ContextVar("first")
second = contextvars.ContextVar("second")


def test_only_what_changed_between_the_two_contexts_is_set():
    here = contextvars.copy_context()
    here.run(first.set, "old")
    here.run(second.set, "old")
    start, end = here.copy(), here.copy()
    end.run(first.set, "from the chain")
    here.run(second.set, "meanwhile")

    here.run(copy_changed, start, end)

    assert (here[first], here[second]) == ("from the chain", "meanwhile")


def test_a_variable_that_is_new_at_the_end_is_set():
    start = contextvars.Context()
    end = start.copy()
    end.run(first.set, "new")
    here = contextvars.Context()

    here.run(copy_changed, start, end)

    assert here[first] == "new"


def test_an_equal_value_that_is_another_object_counts_as_changed():
    start = contextvars.Context()
    start.run(first.set, [1])
    end = start.copy()
    changed = [1]
    end.run(first.set, changed)
    here = start.copy()

    here.run(copy_changed, start, end)

    assert here[first] is changed
