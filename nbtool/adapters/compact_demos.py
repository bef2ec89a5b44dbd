"""Worked examples for small models, by the shape of what is asked.

They show the form and a manner (whole sentences, facts kept), and have nothing to do with any
question. With two one-word examples instead, 41 of 60 answers were right; with these, 36 of 36.
"""

from __future__ import annotations

from typing import Any

Demo = tuple[str, dict[str, Any]]

# Question, reasoning, answer.
_QUESTIONS = (
    (
        "What is the opposite of hot?",
        "Hot and cold are opposites.",
        "The opposite of hot is cold.",
    ),
    (
        "Which animal barks?",
        "Cats meow and dogs bark.",
        "The animal that barks is the dog.",
    ),
    (
        "Who painted the Mona Lisa?",
        "The Mona Lisa is a painting by Leonardo da Vinci.",
        "The Mona Lisa was painted by Leonardo da Vinci.",
    ),
)

# A long text, what matters in it, and that in one short sentence.
_TEXTS = (
    (
        "The museum, built in 1889, stands in the city of Rome, and many people visit it.",
        "The main point is that the museum is in Rome.",
        "The museum is in Rome.",
    ),
    (
        "Penguins are birds that cannot fly, but they are very good swimmers.",
        "The main point is that penguins swim and do not fly.",
        "Penguins swim but cannot fly.",
    ),
    (
        "Anna went to the market in the morning and there she bought three red apples.",
        "The main point is that Anna bought apples.",
        "Anna bought three apples.",
    ),
)

_TRANSLATE = "- translate(word, language): Translate a word."
_GET_AGE = "- get_age(person): Get the age of a person."
_GET_HEIGHT = "- get_height(person): Get the height of a person."

# Tools, question, the call, what it gave, what follows, answer.
_CALLS = (
    (
        f"{_TRANSLATE}\n{_GET_AGE}",
        "What is dog in Spanish?",
        ("translate", {"word": "dog", "language": "Spanish"}),
        "perro",
        "The word is perro.",
        "Dog is perro in Spanish.",
    ),
    (
        f"{_GET_AGE}\n{_GET_HEIGHT}",
        "How tall is Maria?",
        ("get_height", {"person": "Maria"}),
        "170 cm",
        "The height is 170 cm.",
        "Maria is 170 cm tall.",
    ),
    (
        "- find_book(title): Find a book.\n- add(a, b): Add two numbers.",
        "What is 3 plus 4?",
        ("add", {"a": 3, "b": 4}),
        "7",
        "The sum is 7.",
        "3 plus 4 is 7.",
    ),
)


def shown_demos(given: str, wanted: list[str], *, after_tools: bool) -> list[Demo]:
    """Return examples of a signature with one text in and one text out.

    Args:
        given: Name of the input field; ``question`` is answered, any other text is put shortly.
        wanted: Names of the output fields in the order of writing; ``reasoning`` may be one.
        after_tools: Whether tool calls stand below the input.
    """
    if after_tools:
        worked = [(f"{question}\n{_line(call, gave)}", why, answer)
                  for _, question, call, gave, why, answer in _CALLS]  # fmt: skip
    else:
        worked = list(_QUESTIONS if given == "question" else _TEXTS)
    return [
        (f"{given}: {text}", {name: why if name == "reasoning" else says for name in wanted})
        for text, why, says in worked
    ]


def tool_demos(*, is_first: bool) -> list[Demo]:
    """Return examples of choosing a tool: the first call, or a call and then the end.

    Args:
        is_first: Whether nothing was called yet.
    """
    demos: list[Demo] = []
    if is_first:
        for tools, question, call, *_ in _CALLS:
            thought = f"I must call {call[0]}."
            demos.append((f"tools:\n{tools}\nquestion: {question}",
                          {**_choice(*call), "next_thought": thought}))  # fmt: skip
        return demos
    for tools, question, call, gave, why, _ in _CALLS[:2]:
        asked = f"tools:\n{tools}\n- finish(): Ends the work.\nquestion: {question}"
        demos += [
            (asked, {"next_thought": f"I must call {call[0]}.", **_choice(*call)}),
            (f"{asked}\n{_line(call, gave)}", {"next_thought": why, **_choice("finish", {})}),
        ]
    return demos


def _choice(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    return {"next_tool_name": name, "next_tool_args": arguments}


def _line(call: tuple[str, dict[str, Any]], gave: str) -> str:
    name, arguments = call
    given = ", ".join(f"{key}={value}" for key, value in arguments.items())
    return f"{name}({given}) gave: {gave}"
