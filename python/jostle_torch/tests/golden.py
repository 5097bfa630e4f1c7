#!/usr/bin/env python3
"""Makes golden.json, the noise of each committed case as the program `jostle` writes it; needs no PyTorch.

    python3 golden.py --jostle JOSTLE             writes it anew
    python3 golden.py --jostle JOSTLE --check     holds what is committed against this program

Exit status 77: the program finds no adapter.
"""

from __future__ import annotations

import argparse
import json
import math
import pathlib
import sys
from typing import Any

import cases

FILE = pathlib.Path(__file__).with_name("golden.json")


def load() -> list[dict[str, Any]]:
    """Each case with its tensors; those without noise are written as null."""
    entries = json.loads(FILE.read_text())["cases"]
    for entry in entries:
        shapes = cases.MODELS[entry["case"]["model"]]
        for tensor, values in entry["noise"].items():
            entry["noise"][tensor] = [0.0] * math.prod(shapes[tensor]) if values is None else values
    return entries


def check(program: str) -> None:
    worst = 0
    for entry in load():
        case = entry["case"]
        found = cases.furthest(cases.from_program(program, case), entry["noise"])
        if found > cases.tolerance(case):
            sys.exit(f"this program's noise is {found} ulp from the committed one: {entry['command']}")
        worst = max(worst, found)
    print(f"{len(load())} committed cases are this program's, within {worst} ulp")


def write(program: str) -> None:
    lines = []
    for case in cases.committed():
        noise = cases.from_program(program, case)
        # Nine digits tell every float32 from its neighbours.
        short = {tensor: [float(f"{value:.9g}") for value in values] for tensor, values in noise.items()}
        short = {tensor: values if any(values) else None for tensor, values in short.items()}
        lines.append(json.dumps({"command": cases.shown_command(case), "case": case, "noise": short}))
    made = "python3 golden.py --jostle JOSTLE; its cases with scale filter take the weights that cases.py makes"
    FILE.write_text(f'{{"made_by": {json.dumps(made)},\n"cases": [\n' + ",\n".join(lines) + "\n]}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jostle", required=True, metavar="PROGRAM", help="the program, such as target/release/jostle")
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    args = parser.parse_args()
    try:
        (check if args.check else write)(args.jostle)
    except cases.NoAdapter as reason:
        print(f"skipped: {reason}")
        sys.exit(77)


if __name__ == "__main__":
    main()
