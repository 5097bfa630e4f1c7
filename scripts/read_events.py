#!/usr/bin/env python3
"""Holds what `jostle train --tensorboard` and `jostle export --csv` write against TensorBoard's own readers.

    python3 read_events.py --jostle JOSTLE

A run is killed and resumed; its events have to be those of an unbroken run, clocks aside, and those of its metrics.
Exit status 77: there is no TensorBoard here, or the program finds no adapter.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import pathlib
import signal
import struct
import subprocess
import sys
import tempfile
import time
from typing import Any

SKIPPED = 77
# 82 steps an epoch: the third ends between two checkpoints.
TRAIN = ["train", "--tensorboard", "--model", "mlp:64-24-10", "--noise", "layer", "--ema", "0.9", "--eval-noisy", "1",
         "--batch", "16", "--steps", "700", "--log-every", "1"]
EVERY = ["--checkpoint-every", "200"]
CLOCK = "epoch/samples_per_second"
EVENTS = "events.out.tfevents.0.jostle"


def run(program: str, arguments: list[str]) -> None:
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    if done.returncode == 3:
        print(f"skipped: {done.stderr.strip()}")
        sys.exit(SKIPPED)
    if done.returncode != 0:
        sys.exit(f"{' '.join(arguments)} ended with {done.returncode}: {done.stderr}")


def kill(program: str, out: pathlib.Path) -> None:
    """Begins a run and kills it after its third epoch, whose rows and events no checkpoint counts yet."""
    quiet = subprocess.DEVNULL
    child = subprocess.Popen([program, *TRAIN, *EVERY, "--out", str(out)], stdout=quiet, stderr=quiet)
    until, metrics = time.monotonic() + 60.0, out / "metrics.jsonl"
    while not metrics.exists() or metrics.read_text().count('"kind":"epoch"') < 3:
        if child.poll() is not None or time.monotonic() > until:
            child.kill()
            sys.exit("the run has not ended its third epoch, to be killed there")
        time.sleep(0.002)
    child.send_signal(signal.SIGKILL)
    if child.wait() != -signal.SIGKILL:
        sys.exit("the run ended before it was killed: it needs more steps")


def accumulated(folder: pathlib.Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    kinds = ("scalars", "histograms", "images", "tensors", "compressedHistograms")
    accumulator = EventAccumulator(str(folder / EVENTS), size_guidance={kind: 0 for kind in kinds})
    accumulator.Reload()
    return accumulator


def everything(folder: pathlib.Path) -> dict[str, list[Any]]:
    """All that EventAccumulator finds but for times, by tag."""
    events, found = accumulated(folder), {}
    tags = events.Tags()
    for tag in tags["scalars"]:
        found[tag] = [(event.step, repr(event.value)) for event in events.Scalars(tag)]
    for tag in tags["histograms"]:
        found[tag] = [(event.step, event.histogram_value) for event in events.Histograms(tag)]
    for tag in tags["images"]:
        found[tag] = [(event.step, event.width, event.height, event.encoded_image_string) for event in events.Images(tag)]
    for tag in tags["tensors"]:
        found[tag] = [(event.step, event.tensor_proto.string_val[0].decode()) for event in events.Tensors(tag)]
    return found


def single(value: float | None) -> str:
    """As TensorBoard has a number of the metrics: in f32, and NaN for what is not finite."""
    return repr(math.nan if value is None else struct.unpack("f", struct.pack("f", value))[0])


def flat(row: dict[str, Any]) -> dict[str, Any]:
    columns = {}
    for key, value in row.items():
        columns.update({f"{key}.{inner}": number for inner, number in value.items()} if isinstance(value, dict) else {key: value})
    return columns


def rows(folder: pathlib.Path) -> list[dict[str, Any]]:
    return [flat(json.loads(line)) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def scalars(folder: pathlib.Path) -> dict[str, list[tuple[int, str]]]:
    """What the metrics say that TensorBoard should have."""
    expected: dict[str, list[tuple[int, str]]] = {}
    for row in rows(folder):
        for column, value in row.items():
            if column not in ("kind", "step"):
                expected.setdefault(f"{row['kind']}/{column}", []).append((row["step"], single(value)))
    return expected


def weights(folder: pathlib.Path) -> dict[str, Any]:
    import numpy

    data = (folder / "weights.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + length])
    places = {name: entry["data_offsets"] for name, entry in header.items() if name != "__metadata__"}
    body = data[8 + length:]
    return {name: numpy.frombuffer(body[begin:end], "<f4").astype(float) for name, (begin, end) in places.items()}


def check(name: str, found: Any, expected: Any) -> None:
    if found != expected:
        sys.exit(f"{name}: found {found}, expected {expected}")


def check_run(folder: pathlib.Path) -> None:
    found = everything(folder)
    for tag, expected in scalars(folder).items():
        check(tag, found[tag], expected)
    tensors = weights(folder)
    histograms = {tag for tag in found if tag.startswith("weights/")}
    check("tags", set(found), {*scalars(folder), *histograms, "configuration", "curves"})
    check("histograms", histograms, {f"weights/{name}" for name in tensors})
    for name, values in tensors.items():
        step, last = found[f"weights/{name}"][-1]
        check(name, (step, last.num, last.min, last.max), (700, values.size, values.min(), values.max()))
        check(f"{name}'s buckets", sum(last.bucket), values.size)
        if not math.isclose(last.sum_squares, (values**2).sum(), rel_tol=1e-9):
            sys.exit(f"{name}: sum of squares {last.sum_squares}")
    text = "".join(f"    {line}\n" for line in (folder / "config.toml").read_text().splitlines())
    check("configuration", found["configuration"], [(0, text)])
    ((step, width, height, png),) = found["curves"]
    check("curves", (step, png), (700, (folder / "curves.png").read_bytes()))
    check("size of the curves", (width, height), struct.unpack(">II", png[16:24]))


def check_plugins(folder: pathlib.Path) -> None:
    """The reader of TensorBoard's pages converts what is in an older form, and knows which page shows it."""
    from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / EVENTS))
    events.Reload()
    found = everything(folder)
    for plugin, tag in [("scalars", "epoch/test_loss"), ("histograms", "weights/fc1.weight"), ("images", "curves"),
                        ("text", "configuration")]:
        if tag in found and tag not in events.PluginTagToContent(plugin):
            sys.exit(f"TensorBoard's page of {plugin} has no {tag}")


def check_csv(program: str, folder: pathlib.Path) -> None:
    run(program, ["export", "--csv", str(folder)])
    for kind in ("step", "epoch"):
        with (folder / f"{kind}s.csv").open(newline="") as file:
            found = [{column: float(value) for column, value in row.items() if value} for row in csv.DictReader(file)]
        logged = [row for row in rows(folder) if row["kind"] == kind]
        expected = [{column: float(value) for column, value in row.items() if column != "kind"} for row in logged]
        check(f"{kind}s.csv", found, expected)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jostle", required=True, help="the program")
    program = parser.parse_args().jostle
    try:
        import tensorboard
    except ImportError:
        print("skipped: no TensorBoard here")
        sys.exit(SKIPPED)
    with tempfile.TemporaryDirectory() as folder:
        whole, killed = pathlib.Path(folder, "whole"), pathlib.Path(folder, "killed")
        run(program, [*TRAIN, "--checkpoint-every", "0", "--out", str(whole)])
        kill(program, killed)
        read = everything(killed)["step/loss"][-1][0]
        newest = max(int(step.name[5:]) for step in (killed / "checkpoints").glob("step-????????"))
        if newest > read:
            sys.exit(f"events up to step {read} are none after the checkpoint of step {newest}: nothing was cut off")
        run(program, ["train", *EVERY, "--resume", str(killed)])
        found, expected = everything(killed), everything(whole)
        for tag in (found | expected).keys() - {CLOCK}:
            check(f"{tag} of the run that was killed", found.get(tag), expected.get(tag))
        for run_folder in (whole, killed):
            check_run(run_folder)
            check_plugins(run_folder)
            check_csv(program, run_folder)
        count = sum(len(values) for values in expected.values())
        print(f"TensorBoard {tensorboard.__version__} reads {len(expected)} tags with {count} values, the same of a run that was"
              f" killed at step {read}, resumed from step {newest}, and those of metrics.jsonl; the CSV files too")


if __name__ == "__main__":
    main()
