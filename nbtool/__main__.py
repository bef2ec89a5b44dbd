"""``python -m nbtool``: the `nbtool` command."""

from nbtool.cli import main

if __name__ == "__main__":
    main()
