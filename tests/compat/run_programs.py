"""Run the programs beside this file with one library, and print what each gives as a JSON line.

Arguments: name of the library, address of the provider, names of programs.
"""

import asyncio
import importlib
import json
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "programs"))


def main() -> None:
    """Run them one after the other, each on an LM of its name."""
    library, address, *names = sys.argv[1:]
    dspy = importlib.import_module(library)
    for name in names:
        program = importlib.import_module(name)
        dspy.configure(lm=dspy.LM(f"openai/{name}", api_base=address, api_key="none", cache=False))
        try:
            result = asyncio.run(program.main(dspy))
        except Exception as error:  # noqa: BLE001 - it is what is compared
            result = f"{type(error).__name__}: {error}"
        sys.stdout.write(json.dumps([name, result]) + "\n")


if __name__ == "__main__":
    main()
