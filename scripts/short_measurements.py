"""Shortens an experiment's metrics.json to what its claims need, for the tests that judge it again.

    python3 scripts/short_measurements.py METRICS.json SHORT.json

Of several cases or families of networks the first is kept, of a path a few points and runs; what is only drawn goes; numbers
keep five digits.
"""

import json
import sys

DRAWN = {"curve", "units", "config", "epochs", "traces", "tensors"}
PATH_POINTS, PATH_RUNS = 4, 4
SETTLED_WIDTH = 256


def short(value):
    if isinstance(value, dict):
        kept = {key: short(item) for key, item in value.items() if key not in DRAWN}
        if "tensors" in value:
            kept["tensors"] = []
        return kept
    if isinstance(value, list):
        return [short(item) for item in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def main(source, target):
    with open(source) as file:
        metrics = json.load(file)
    if isinstance(metrics, dict) and "path" in metrics:
        path = metrics["path"]
        metrics["path"] = path[:: max(1, len(path) // PATH_POINTS)][:PATH_POINTS]
        for point in metrics["path"]:
            point["ends"] = point["ends"][:PATH_RUNS]
        metrics["cases"] = metrics["cases"][:1]
    elif isinstance(metrics, dict) and "variances" in metrics:
        family = metrics["variances"][0]
        family["points"] = [point for point in family["points"] if point["width"] >= SETTLED_WIDTH]
        metrics["variances"] = [family]
    elif isinstance(metrics, list) and metrics and "case" in metrics[0]:
        metrics = metrics[:1]
    with open(target, "w") as file:
        json.dump(short(metrics), file, separators=(",", ":"))
        file.write("\n")


main(*sys.argv[1:])
