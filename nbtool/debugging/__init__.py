"""The debugger: a gate on the boundary of one call, and what uses it.

::

    breakpoints   which steps match                     pure
    stepping      which boundaries a step command passes   pure
    stops         one branch that waits, and what it is told
    edits         checks of what a person sets, by the step's own rules
    redefined     functions as the notebook defines them now
    open_steps    what is under way
    kept          results of a run that are not to be paid for twice
    session       the gate with its states and verbs
    attaching     `debug`, `breakpoint`, `paused`
    commands      a session in JSON: for views and prompts
    prompt        the same at a terminal
    matching, replaying    a recording served back

It serves any coroutine and knows no LM: a step's subject says what fits it, see `edits`.
"""
