"""The program `jostle`, as the wheel installs it."""

from __future__ import annotations

import sys

from . import _jostle


def main() -> int:
    """Runs the command line of this process; returns the program's exit code.

    The engine waits for Ctrl-C by itself: what was reached is saved, and the exit code is 130.
    """
    return _jostle.program(["jostle", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
