#!/usr/bin/env python3
"""PyTorch's side of the peer benchmarks: the published loop of noise injection (Orvieto et al., AISTATS 2023).

Prints one JSON object: the time of a training step, or of a square product.
"""

import argparse
import json
import math
import statistics
import sys
import time

try:
    import torch
except (ImportError, OSError) as error:
    print(f"torch_step.py: no PyTorch ({error}): python -m pip install torch, or name its Python", file=sys.stderr)
    sys.exit(2)

from torch_models import network

BATCHES = 4  # that lie on the device and take turns


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="mlp1", help="mlp1, mlp2, mlp3, mlp:784-500-10, cnn1, cnn2, resnet18, ...")
    parser.add_argument("--batch", type=int, default=128, help="samples a step")
    parser.add_argument("--steps", type=int, default=20, help="timed steps, or timed products")
    parser.add_argument("--warmup", type=int, default=10, help="steps before, the first timed by itself")
    parser.add_argument("--sync-every", type=int, default=1, help="steps from one synchronisation to the next")
    parser.add_argument("--noise", choices=["none", "all", "layer"], default="none")
    parser.add_argument("--sigma", type=float, default=0.05)
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--matmul", type=int, metavar="SIDE", help="time a square f32 product instead")
    args = parser.parse_args()
    if min(args.batch, args.steps, args.warmup, args.sync_every, args.threads) < 1:
        parser.error("--batch, --steps, --warmup, --sync-every and --threads have to be at least 1")
    return args


class Training:
    def __init__(self, args, device):
        try:
            model, shape, classes = network(args.model)
        except ValueError as error:
            sys.exit(f"torch_step.py: {error}")
        self.model = model.to(device)
        self.parameters = list(self.model.parameters())
        self.optimizer = torch.optim.SGD(self.parameters, lr=0.01, momentum=0.9, weight_decay=5e-4)
        self.criterion = torch.nn.CrossEntropyLoss()
        self.noise, self.sigma = args.noise, args.sigma
        self.data = [
            (torch.rand(args.batch, *shape, device=device), torch.randint(classes, (args.batch,), device=device))
            for _ in range(BATCHES)
        ]
        self.steps = 0
        self.loss = None

    def noisy(self):
        """The parameters that get noise in this step, and its standard deviation."""
        count = len(self.parameters)
        if self.noise == "all":
            return self.parameters, self.sigma / math.sqrt(count)
        if self.noise == "layer":
            return [self.parameters[self.steps % count]], self.sigma
        return [], 0.0

    def step(self):
        inputs, labels = self.data[self.steps % BATCHES]
        noisy, sigma = self.noisy()
        with torch.no_grad():
            clean = [parameter.clone() for parameter in noisy]
            for parameter in noisy:
                parameter.add_(torch.randn_like(parameter), alpha=sigma)
        self.optimizer.zero_grad()
        self.loss = self.criterion(self.model(inputs), labels)
        self.loss.backward()
        with torch.no_grad():
            for parameter, saved in zip(noisy, clean):
                parameter.copy_(saved)
        self.optimizer.step()
        self.steps += 1


class Product:
    """A chain of products, of norm about 1 so that it neither vanishes nor overflows."""

    def __init__(self, side, device):
        bound = math.sqrt(3.0 / side)
        self.left, self.right = ((torch.rand(side, side, device=device) * 2 - 1) * bound for _ in range(2))

    def step(self):
        self.left = self.left @ self.right


def block(args, step, steps):
    """Milliseconds per step, a mean from one synchronisation to the next."""
    sync = torch.cuda.synchronize if args.device == "cuda" else lambda: None
    sync()
    started = time.perf_counter()
    for _ in range(steps):
        step()
    sync()
    return (time.perf_counter() - started) * 1e3 / steps


def milliseconds(args, step):
    """Of the very first step, and of each timed block."""
    first = block(args, step, 1)
    for _ in range(1, args.warmup):
        step()
    return first, [block(args, step, args.sync_every) for _ in range(math.ceil(args.steps / args.sync_every))]


def main():
    args = arguments()
    torch.manual_seed(0)
    torch.set_num_threads(args.threads)
    torch.backends.cuda.matmul.allow_tf32 = False  # f32 as in the others
    torch.backends.cudnn.allow_tf32 = False
    device = torch.device(args.device)
    if args.device == "cuda":
        if not torch.cuda.is_available():
            sys.exit("torch_step.py: this PyTorch sees no CUDA device")
        adapter = torch.cuda.get_device_name()
    else:
        adapter = f"cpu, {args.threads} threads"
    if args.matmul:
        work = Product(args.matmul, device)
    else:
        work = Training(args, device)
    first, times = milliseconds(args, work.step)
    median = statistics.median(times)
    result = {
        "peer": "torch",
        "version": torch.__version__,
        "adapter": adapter,
        "median_ms": median,
        "min_ms": min(times),
        "max_ms": max(times),
        "first_step_ms": first,
        "steps": len(times) * args.sync_every,
        "sync_every": args.sync_every,
    }
    if args.matmul:
        check = work.left.sum().item()
        result |= {"matmul": args.matmul, "gflops": 2e-6 * args.matmul**3 / median}
    else:
        check = result["loss"] = work.loss.item()
        parameters = sum(parameter.numel() for parameter in work.parameters)
        result |= {"model": args.model, "batch": args.batch, "noise": args.noise, "parameters": parameters}
    if not math.isfinite(check):
        sys.exit(f"torch_step.py: the result is {check}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
