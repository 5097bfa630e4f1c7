#!/usr/bin/env python3
"""PyTorch's side of the peer benchmarks: the published loop of noise injection (Orvieto et al., AISTATS 2023).

Prints one JSON object: the time of a training step, or of a square product, or what this PyTorch can do here. With --lines
an object for each line of options on stdin, so that PyTorch and its device start but once.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import math
import os
import shutil
import statistics
import sys
import time
from collections.abc import Callable

try:
    import torch
except (ImportError, OSError) as error:
    sys.exit(f"torch_step.py: no PyTorch ({error}): python -m pip install torch, or name a Python that has it")

from torch_models import GPTS, network

DECAY = 5e-4
BATCHES = 4  # that lie on the device and take turns
TF32_CAPABILITY = (8, 0)  # CUDA devices from this one on have it


class Refused(Exception):
    """What was asked for cannot be done here; the text says why."""


def argument_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="mlp1", help="mlp1, mlp2, mlp3, mlp:784-500-10, cnn1, cnn2, resnet18, ...")
    parser.add_argument("--batch", type=int, default=128, help="samples a step")
    parser.add_argument("--steps", type=int, default=20, help="timed steps, or timed products")
    parser.add_argument("--warmup", type=int, default=10, help="steps before, the first timed by itself")
    parser.add_argument("--sync-every", type=int, default=1, help="steps from one synchronisation to the next")
    parser.add_argument("--noise", choices=["none", "all", "layer"], default="none")
    parser.add_argument("--sigma", type=float, default=0.05)
    parser.add_argument("--rule", help="time a step by it beside a plain one, taking turns: sam, nso, ivon, ...")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument(
        "--precision",
        choices=["f32", "tf32", "f16", "autocast"],
        default="f32",
        help="autocast: f16 on CUDA, else bf16, of a step; f16: of a product",
    )
    parser.add_argument("--compile", metavar="MODE", help="torch.compile the network: default, reduce-overhead, ...")
    parser.add_argument("--channels-last", action="store_true", help="image networks in that memory format")
    parser.add_argument("--matmul", type=int, metavar="SIDE", help="time a square product instead, in f32, tf32 or f16")
    parser.add_argument("--probe", action="store_true", help="tell what this PyTorch can do here, and time nothing")
    parser.add_argument(
        "--lines", action="store_true", help="read options from stdin, added to those given, and time each line"
    )
    return parser


def arguments(words: list[str]) -> argparse.Namespace:
    parser = argument_parser()
    args = parser.parse_args(words)
    if args.matmul and (args.compile or args.precision == "autocast"):
        parser.error("a product is timed in eager mode, in f32, tf32 or f16")
    if args.precision == "f16" and not args.matmul:
        parser.error("f16 is a product's: a step has autocast")
    if args.rule and (args.matmul or args.compile or args.noise != "none" or args.precision not in ("f32", "tf32")):
        parser.error("a rule's step is timed in eager mode, in f32 or tf32, and has no other noise")
    if min(args.batch, args.steps, args.warmup, args.sync_every, args.threads) < 1:
        parser.error("--batch, --steps, --warmup, --sync-every and --threads have to be at least 1")
    return args


def half_type(device: torch.device) -> torch.dtype:
    """What autocast uses: float16 on CUDA, as PyTorch does by default there; CPUs have bfloat16 at best."""
    return torch.float16 if device.type == "cuda" else torch.bfloat16


class Training:
    """The network, its optimizer and data, and the published step."""

    def __init__(self, args: argparse.Namespace, device: torch.device, adam: bool = False) -> None:
        try:
            model, shape, classes = network(args.model)
        except ValueError as error:
            raise Refused(str(error)) from error
        layout = torch.channels_last if args.channels_last and len(shape) == 3 else torch.contiguous_format
        self.model = model.to(device=device, memory_format=layout)
        self.parameters = list(self.model.parameters())
        if adam:
            self.optimizer = torch.optim.Adam(self.parameters, lr=1e-3, weight_decay=DECAY)
        else:
            self.optimizer = torch.optim.SGD(self.parameters, lr=0.01, momentum=0.9, weight_decay=DECAY)
        self.criterion = torch.nn.CrossEntropyLoss()
        self.noise, self.sigma = args.noise, args.sigma
        self.data = [self.samples(args, shape, classes, layout, device) for _ in range(BATCHES)]
        self.forward = torch.compile(self.model, mode=args.compile) if args.compile else self.model
        self.half = half_type(device) if args.precision == "autocast" else None
        self.device = device
        # Only f16 needs its loss scaled; where it is disabled the scaler passes everything through.
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.half == torch.float16)
        self.steps = 0
        self.loss = torch.tensor(math.nan)

    @staticmethod
    def samples(args: argparse.Namespace, shape: tuple, classes: int, layout: torch.memory_format, device: torch.device):
        """A batch: numbers and a class each, or tokens and a class at each position."""
        if args.model in GPTS:
            tokens = torch.randint(classes, (args.batch, *shape), device=device)
            return tokens, torch.randint(classes, (tokens.numel(),), device=device)
        inputs = torch.rand(args.batch, *shape, device=device).contiguous(memory_format=layout)
        return inputs, torch.randint(classes, (args.batch,), device=device)

    def noisy(self) -> tuple[list[torch.nn.Parameter], float]:
        """The parameters that get noise in this step, and its standard deviation."""
        count = len(self.parameters)
        if self.noise == "all":
            return self.parameters, self.sigma / math.sqrt(count)
        if self.noise == "layer":
            return [self.parameters[self.steps % count]], self.sigma
        return [], 0.0

    def precision(self) -> contextlib.AbstractContextManager:
        return torch.autocast(self.device.type, self.half) if self.half else contextlib.nullcontext()

    def step(self) -> None:
        inputs, labels = self.data[self.steps % BATCHES]
        noisy, sigma = self.noisy()
        with torch.no_grad():
            clean = [parameter.clone() for parameter in noisy]
            for parameter in noisy:
                parameter.add_(torch.randn_like(parameter), alpha=sigma)
        self.optimizer.zero_grad()
        with self.precision():
            self.loss = self.criterion(self.forward(inputs), labels)
        self.scaler.scale(self.loss).backward()
        with torch.no_grad():
            for parameter, saved in zip(noisy, clean):
                parameter.copy_(saved)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.steps += 1


class RuleTraining(Training):
    """The same by a rule."""

    def __init__(self, args: argparse.Namespace, device: torch.device) -> None:
        # Here, since what goes to a GPU's machine is without the rules.
        from torch_rule_steps import RULES, RuleSteps

        if args.rule not in RULES:
            raise Refused(f"unknown rule {args.rule!r}, expected one of {', '.join(RULES)}")
        super().__init__(args, device)
        self.rule = RuleSteps(args.rule, self.model, self.optimizer, DECAY)

    def step(self) -> None:
        self.loss = torch.tensor(self.rule.step(self.data[self.steps % BATCHES]))
        self.steps += 1


class Product:
    """A chain of products, of norm about 1 so that it neither vanishes nor overflows."""

    def __init__(self, side: int, device: torch.device, dtype: torch.dtype) -> None:
        bound = math.sqrt(3.0 / side)
        sides = ((torch.rand(side, side, device=device) * 2 - 1) * bound for _ in range(2))
        self.left, self.right = (values.to(dtype) for values in sides)

    def step(self) -> None:
        self.left = self.left @ self.right


def block(args: argparse.Namespace, step: Callable[[], None], steps: int) -> float:
    """Milliseconds per step, a mean from one synchronisation to the next."""
    sync = torch.cuda.synchronize if args.device == "cuda" else lambda: None
    sync()
    started = time.perf_counter()
    for _ in range(steps):
        step()
    sync()
    return (time.perf_counter() - started) * 1e3 / steps


def ratio(of: list[float], over: list[float]) -> dict[str, float]:
    """The median over paired blocks, with its standard error from the quartiles of a normal, as jostle's bench has it."""
    ratios = [one / other for one, other in zip(of, over)]
    low, _, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    error = math.sqrt(math.pi / 2 / len(ratios)) * (high - low) / 1.349
    return {"ms": statistics.median(over), "ratio": statistics.median(ratios), "ratio_error": error}


def measure_rule(args: argparse.Namespace) -> dict[str, object]:
    """Times a rule's step and a plain one in turns; beside ivon Adam with noise on all tensors too."""
    device, adapter = prepare(args)
    contenders = {"rule": RuleTraining(args, device), "plain": Training(args, device)}
    if args.rule == "ivon":
        noisy = argparse.Namespace(**vars(args) | {"noise": "all"})
        contenders["noisy_adam"] = Training(noisy, device, adam=True)
    for training in contenders.values():
        block(args, training.step, args.warmup)
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(math.ceil(args.steps / args.sync_every)):
        # The order turns round, so that a drifting clock favours none.
        for name in list(contenders) if number % 2 == 0 else reversed(contenders):
            times[name].append(block(args, contenders[name].step, args.sync_every))
    ms = times.pop("rule")
    result = {"peer": "torch", "version": torch.__version__, "adapter": adapter, "precision": args.precision}
    result |= {"model": args.model, "batch": args.batch, "rule": args.rule, "ms": statistics.median(ms), "rounds": len(ms)}
    return result | {name: ratio(ms, over) for name, over in times.items()}


def milliseconds(args: argparse.Namespace, step: Callable[[], None]) -> tuple[float, list[float]]:
    """Of the very first step, and of each timed block."""
    first = block(args, step, 1)
    for _ in range(1, args.warmup):
        step()
    return first, [block(args, step, args.sync_every) for _ in range(math.ceil(args.steps / args.sync_every))]


def no_tf32() -> str | None:
    """Why there is no TF32, if so."""
    if not torch.cuda.is_available() or torch.version.cuda is None:
        return "only CUDA devices have TF32"
    if torch.cuda.get_device_capability() < TF32_CAPABILITY:
        return f"{torch.cuda.get_device_name()} has no TF32"
    return None


def no_compile(device: str) -> str | None:
    """Why torch.compile cannot work, where that is plain to see; other causes show when it is tried."""
    if not hasattr(torch, "compile"):
        return f"PyTorch {torch.__version__} has no torch.compile"
    if device == "cuda" and importlib.util.find_spec("triton") is None:
        return "torch.compile needs the package triton on CUDA"
    variable, usual = ("CC", ["gcc", "clang", "cl"]) if device == "cuda" else ("CXX", ["g++", "clang++", "cl"])
    compilers = [os.environ[variable]] if os.environ.get(variable) else usual
    if not any(shutil.which(compiler) for compiler in compilers):
        return f"torch.compile needs a compiler, and PATH has no {' or '.join(compilers)}"
    return None


def probe() -> dict[str, object]:
    """What this PyTorch can do here; a reason stands where it cannot."""
    cuda = torch.cuda.is_available()
    return {
        "version": torch.__version__,
        "cuda": torch.cuda.get_device_name() if cuda else None,
        "no_tf32": no_tf32(),
        "no_compile": {device: no_compile(device) for device in ("cpu", "cuda")},
    }


def prepare(args: argparse.Namespace) -> tuple[torch.device, str]:
    """Sets threads and precision; the device, and its name."""
    torch.manual_seed(0)
    torch.set_num_threads(args.threads)
    # PyTorch's own defaults differ between products and convolutions: here both are f32, or both TF32.
    torch.backends.cuda.matmul.allow_tf32 = args.precision == "tf32"
    torch.backends.cudnn.allow_tf32 = args.precision == "tf32"
    torch.backends.cudnn.benchmark = True  # shapes stay the same, so let cuDNN pick the fastest in the warm-up
    if args.precision == "tf32" and (reason := no_tf32() if args.device == "cuda" else "only CUDA devices have TF32"):
        raise Refused(reason)
    if args.device == "cpu":
        return torch.device("cpu"), f"cpu, {args.threads} threads"
    if not torch.cuda.is_available():
        raise Refused("this PyTorch sees no CUDA device")
    return torch.device("cuda"), torch.cuda.get_device_name()


def measure(args: argparse.Namespace) -> dict[str, object]:
    """Times a step or a product."""
    device, adapter = prepare(args)
    dtype = torch.float16 if args.precision == "f16" else torch.float32
    try:
        work = Product(args.matmul, device, dtype) if args.matmul else Training(args, device)
        first, times = milliseconds(args, work.step)
        check = work.left.sum(dtype=torch.float32).item() if args.matmul else work.loss.item()
    except RuntimeError as error:  # out of memory, no kernel for the device, torch.compile's many
        reason = next((text for text in str(error).splitlines() if text.strip()), "no reason given")
        raise Refused(f"{type(error).__name__}: {reason}") from error
    median = statistics.median(times)
    result = {
        "peer": "torch",
        "version": torch.__version__,
        "adapter": adapter,
        "precision": args.precision,
        "compile": args.compile,
        "channels_last": args.channels_last,
        "median_ms": median,
        "min_ms": min(times),
        "max_ms": max(times),
        "first_step_ms": first,
        "steps": len(times) * args.sync_every,
        "sync_every": args.sync_every,
    }
    if args.matmul:
        result |= {"matmul": args.matmul, "gflops": 2e-6 * args.matmul**3 / median}
    else:
        result["loss"] = check
        parameters = sum(parameter.numel() for parameter in work.parameters)
        result |= {"model": args.model, "batch": args.batch, "noise": args.noise, "parameters": parameters}
        if work.half:
            result["precision"] = f"autocast {str(work.half).removeprefix('torch.')}"
    if not math.isfinite(check):
        raise Refused(f"the result is {check}")
    return result


def measured(args: argparse.Namespace) -> dict[str, object]:
    """What is asked for."""
    return measure_rule(args) if args.rule else measure(args)


def measure_lines(common: list[str]) -> None:
    """An object for each line of stdin at once, so that nothing is lost to a kill; a reason in place of what fails."""
    for line in sys.stdin:
        options = line.split()
        if not options:
            continue
        try:
            result = measured(arguments(common + options))
        except Refused as reason:
            result = {"options": " ".join(options), "failed": str(reason)}
        print(json.dumps(result), flush=True)
        torch.compiler.reset()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def main() -> None:
    words = sys.argv[1:]
    args = arguments(words)
    if args.probe:
        print(json.dumps(probe()))
    elif args.lines:
        measure_lines([word for word in words if word != "--lines"])
    else:
        try:
            print(json.dumps(measured(args)))
        except Refused as reason:
            sys.exit(f"torch_step.py: {reason}")


if __name__ == "__main__":
    main()
