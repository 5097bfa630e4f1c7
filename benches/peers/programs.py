"""The programs: which of them can run here and how, what starts them, and what they report."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from table import Turn, Variant, Work

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TORCH_STEP = HERE / "torch_step.py"
# Networks that Jostle reads from a file.
FILES = {"resnet18-plain": HERE / "models" / "resnet18-plain.toml"}
# What Meganeura trains: it has no batch norm, and its max pool's gradient is another.
MEGANEURA_MODELS = ("mlp", "resnet18-plain")
# What Burn's crate does not build.
TRANSFORMERS = ("gpt", "vit")
AUTOCAST = {"cpu": "autocast bf16", "cuda": "autocast f16"}


def say(text: str) -> None:
    print(f"run.py: {text}", file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Amount:
    """Steps of a turn: timed ones, a multiple of a block from one synchronisation to the next, and those before."""

    steps: int
    block: int
    warmup: int


class Failure(Exception):
    """A program did not give what it was run for; the text says why."""


class Programs:
    """The variants that can run here, what is missing for the others, and how to run them."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.missing: list[str] = []
        self.reports: dict[Variant, dict[str, object]] = {}  # the first of each: version and adapter
        self.device = args.device
        self.versions: dict[str, str] = {}
        self.variants = [*self._jostle(), *self._burn(), *self._meganeura(), *self._torch()]

    def lacks(self, text: str) -> None:
        """Says what is missing, and keeps it for the end."""
        if text not in self.missing:
            say(text)
            self.missing.append(text)

    def _jostle(self) -> list[Variant]:
        path = self.args.jostle
        if not path.is_file():
            self.lacks(f"no jostle at {path}: cargo build --release in {ROOT}, or --jostle")
            return []
        found = []
        if "f32" in self.args.precisions:
            found.append(Variant("jostle", "wgpu", "f32"))
        if "mixed" in self.args.precisions:
            if "--precision" in self._output([path.resolve(), "bench", "--help"]):
                found.append(Variant("jostle", "wgpu", "f16", ("--precision", "f16")))
            else:
                self.lacks("jostle f16: the bench of this build has no --precision")
        self.versions["jostle"] = self._output([path.resolve(), "--version"]).strip().removeprefix("jostle ")
        return found

    def _burn(self) -> list[Variant]:
        if "burn" not in self.args.peers or "f32" not in self.args.precisions:
            return []
        if not self.args.burn.is_file():
            self.lacks(f"no burn at {self.args.burn}: cargo build --release in {HERE / 'burn'}, or --burn")
            return []
        return [Variant("burn", "wgpu", "f32")]

    def _meganeura(self) -> list[Variant]:
        if "meganeura" not in self.args.peers or "f32" not in self.args.precisions:
            return []
        if not self.args.meganeura.is_file():
            crate = HERE / "meganeura"
            self.lacks(f"no meganeura at {self.args.meganeura}: cargo build --release in {crate}, or --meganeura")
            return []
        return [Variant("meganeura", "vulkan", "f32")]

    def _torch(self) -> list[Variant]:
        if "torch" not in self.args.peers:
            return []
        try:
            probe = self._run([self.args.python, TORCH_STEP, "--probe"])
        except Failure as failure:
            self.lacks(f"torch, with {self.args.python}: {failure}")
            return []
        if self.device == "auto":
            self.device = "cuda" if probe["cuda"] else "cpu"
        if not probe["cuda"]:
            here = "it runs on the CPU" if self.device == "cpu" else "left out"
            self.lacks(f"PyTorch {probe['version']} sees no CUDA device: {here}")
            if self.device == "cuda":
                return []
        layouts = ["", ", channels_last"] if self.args.channels_last else [""]
        return [
            self._torch_variant(mode, layout, precision)
            for mode in self._torch_modes(probe)
            for precision in self._torch_precisions(probe)
            for layout in layouts
        ]

    def _torch_modes(self, probe: dict) -> list[str]:
        """Those that can run: eager, compile, compile:MODE."""
        modes = []
        for mode in self.args.torch_modes:
            if mode != "eager" and (reason := probe["no_compile"][self.device]):
                self.lacks(f"torch {mode}: {reason}")
            else:
                modes.append(mode)
        return modes

    def _torch_precisions(self, probe: dict) -> list[str]:
        """Of those asked for, the ones that the device has."""
        reason = probe["no_tf32"] if self.device == "cuda" else "only CUDA devices have it"
        if "tf32" in self.args.precisions and reason:
            self.lacks(f"torch tf32: {reason}")
            return [precision for precision in self.args.precisions if precision != "tf32"]
        return self.args.precisions

    def _torch_variant(self, mode: str, layout: str, precision: str) -> Variant:
        options = ["--precision", "autocast" if precision == "mixed" else precision]
        if mode != "eager":
            options += ["--compile", mode.partition(":")[2] or "default"]
        if layout:
            options.append("--channels-last")
        name = AUTOCAST[self.device] if precision == "mixed" else precision
        return Variant("torch", mode + layout, name, tuple(options))

    def supports(self, variant: Variant, work: Work) -> bool:
        """Burn and Meganeura are timed without noise; products only as they are, in f32 or TF32; channels_last needs channels."""
        if work.side:
            return variant.precision in ("f32", "tf32") and variant.mode in ("wgpu", "eager")
        if variant.program == "meganeura":
            return work.noise == "none" and work.model.startswith(MEGANEURA_MODELS)
        if work.model in FILES and variant.program != "jostle":
            return False
        if variant.program == "burn":
            return work.noise == "none" and not work.model.startswith(TRANSFORMERS)
        return "--channels-last" not in variant.options or not work.model.startswith(("mlp", *TRANSFORMERS))

    def command(self, variant: Variant, work: Work, amount: Amount) -> list[str | Path]:
        what = ["--matmul", str(work.side)] if work.side else ["--model", work.model, "--batch", str(work.batch)]
        if variant.program == "jostle":
            if not work.side:
                what = [*self._jostle_model(work.model), "--batch", str(work.batch)]
            program = [self.args.jostle.resolve(), "bench", "--json", *what, *variant.options]
            rounds = str(amount.steps // amount.block)  # of a product its bench knows only rounds
            if work.side:
                return [*program, "--rounds", rounds]
            return [*program, "--noise", work.noise, "--timed-steps", str(amount.steps), "--rounds", rounds]
        peer = [*what, "--steps", str(amount.steps), "--warmup", str(amount.warmup), "--sync-every", str(amount.block)]
        if variant.program == "burn":
            return [self.args.burn.resolve(), *peer]
        if variant.program == "meganeura":
            return [self.args.meganeura.resolve(), *peer]
        where = ["--device", self.device, "--threads", str(self.args.threads)]
        return [self.args.python, TORCH_STEP, *peer, "--noise", work.noise, *where, *variant.options]

    @staticmethod
    def _jostle_model(model: str) -> list[str | Path]:
        """The options by which Jostle knows a network; one in a file takes its input's shape from data."""
        return ["--model", FILES[model], "--data", "cifar10"] if model in FILES else ["--model", model]

    def turn(self, variant: Variant, work: Work, amount: Amount) -> Turn:
        """Runs the program once."""
        report = self._run(self.command(variant, work, amount))
        # Of a product Jostle gives three layouts, the plain one first.
        times = report["layouts"][0] if "layouts" in report else report
        self.reports.setdefault(variant, report)
        self._check(variant, report)
        turn = Turn(
            ms=times["median_ms"],
            least_ms=times.get("p10_ms", times.get("min_ms", times["median_ms"])),
            first_step_ms=report.get("first_step_ms"),
            gflops=report.get("gflops") if work.side else None,
            noise_cost=report.get("noise_cost_percent") if work.noise != "none" else None,
            noise_cost_error=report.get("noise_cost_error") if work.noise != "none" else None,
            parameters=report.get("parameters"),
        )
        if turn.ms > 1.5 * turn.least_ms:
            spread = f"{turn.least_ms:.2f} ms at best, {turn.ms:.2f} in the median"
            say(f"{variant}, {work}: unsteady, {spread}: a busy machine?")
        return turn

    @staticmethod
    def _check(variant: Variant, report: dict) -> None:
        """Against a program that ignores the precision it was given."""
        found = report.get("precision", variant.precision)
        if variant.program == "jostle" and found != variant.precision:
            raise Failure(f"its report says precision {found}")

    def planned_parameters(self, model: str) -> int:
        """Of Jostle's network, which its bench does not report."""
        plan = self._run([self.args.jostle.resolve(), "plan", *self._jostle_model(model), "--json"])
        if "parameters" not in plan:
            raise Failure("its plan does not tell")
        return plan["parameters"]

    def used(self) -> list[dict[str, object]]:
        """Each program that ran, with its version and the device it named."""
        found = []
        for variant, report in self.reports.items():
            version = report.get("version", self.versions.get(variant.program, ""))
            entry = {"program": variant.program, "version": version, "adapter": report.get("adapter")}
            if entry not in found:
                found.append(entry)
        return found

    def _output(self, command: list[str | Path]) -> str:
        try:
            return subprocess.run(command, check=False, capture_output=True, text=True).stdout
        except OSError:
            return ""

    def _run(self, command: list[str | Path]) -> dict:
        """The JSON object that a program prints."""
        try:
            done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=self.args.timeout)
        except OSError as error:
            raise Failure(str(error)) from error
        except subprocess.TimeoutExpired as error:
            raise Failure(f"no result after {self.args.timeout:.0f} s (--timeout)") from error
        try:
            if done.returncode == 0:
                return json.loads(done.stdout)
        except json.JSONDecodeError:
            pass
        lines = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()
        raise Failure(f"status {done.returncode}, {lines[-1]}")
