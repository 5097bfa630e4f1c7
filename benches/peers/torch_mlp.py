#!/usr/bin/env python3
"""PyTorch's side of the peer benchmarks: the published loop of noise injection (Orvieto et al., AISTATS 2023).

Prints one JSON object: the time of a training step, or of a square product.
"""

import argparse
import itertools
import json
import math
import statistics
import sys
import time

try:
    import torch
except (ImportError, OSError) as error:
    print(f"torch_mlp.py: no PyTorch ({error}): python -m pip install torch, or name its Python", file=sys.stderr)
    sys.exit(2)

MODELS = {
    "mlp1": "784-500-500-500-10",
    "mlp2": "784-5000-5000-5000-10",
    "mlp3": "784-1000-1000-1000-1000-1000-10",
}
BATCHES = 4  # that lie on the device and take turns


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="mlp1", help="mlp1, mlp2, mlp3, or widths such as mlp:784-500-10")
    parser.add_argument("--batch", type=int, default=128, help="samples a step")
    parser.add_argument("--steps", type=int, default=20, help="timed steps, or timed products")
    parser.add_argument("--warmup", type=int, default=10, help="steps before")
    parser.add_argument("--sync-every", type=int, default=1, help="steps from one synchronisation to the next")
    parser.add_argument("--noise", choices=["none", "all", "layer"], default="none")
    parser.add_argument("--sigma", type=float, default=0.05)
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--matmul", type=int, metavar="SIDE", help="time a square f32 product instead")
    args = parser.parse_args()
    if min(args.batch, args.steps, args.sync_every, args.threads) < 1:
        parser.error("--batch, --steps, --sync-every and --threads have to be at least 1")
    return args


def mlp(name):
    """Linear layers with a ReLU after each but the last; its features and classes."""
    text = MODELS.get(name) or name.removeprefix("mlp:")
    try:
        widths = [int(width) for width in text.split("-")]
    except ValueError:
        sys.exit(f"torch_mlp.py: unknown model {name!r}")
    if len(widths) < 2 or min(widths) < 1:
        sys.exit(f"torch_mlp.py: {name!r} has no layers, or a width of 0")
    layers = []
    for inputs, outputs in itertools.pairwise(widths):
        layers += [torch.nn.Linear(inputs, outputs), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1]), widths[0], widths[-1]


class Training:
    def __init__(self, args, device):
        model, features, classes = mlp(args.model)
        self.model = model.to(device)
        self.parameters = list(self.model.parameters())
        self.optimizer = torch.optim.SGD(self.parameters, lr=0.01, momentum=0.9, weight_decay=5e-4)
        self.criterion = torch.nn.CrossEntropyLoss()
        self.noise, self.sigma = args.noise, args.sigma
        self.data = [
            (torch.rand(args.batch, features, device=device), torch.randint(classes, (args.batch,), device=device))
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


def milliseconds(args, step):
    """Per step, each a mean from one synchronisation to the next."""
    sync = torch.cuda.synchronize if args.device == "cuda" else lambda: None
    for _ in range(args.warmup):
        step()
    times = []
    for _ in range(math.ceil(args.steps / args.sync_every)):
        sync()
        started = time.perf_counter()
        for _ in range(args.sync_every):
            step()
        sync()
        times.append((time.perf_counter() - started) * 1e3 / args.sync_every)
    return times


def main():
    args = arguments()
    torch.manual_seed(0)
    torch.set_num_threads(args.threads)
    torch.backends.cuda.matmul.allow_tf32 = False  # f32 as in the others
    device = torch.device(args.device)
    if args.device == "cuda":
        if not torch.cuda.is_available():
            sys.exit("torch_mlp.py: this PyTorch sees no CUDA device")
        adapter = torch.cuda.get_device_name()
    else:
        adapter = f"cpu, {args.threads} threads"
    if args.matmul:
        work = Product(args.matmul, device)
    else:
        work = Training(args, device)
    times = milliseconds(args, work.step)
    median = statistics.median(times)
    result = {
        "peer": "torch",
        "version": torch.__version__,
        "adapter": adapter,
        "median_ms": median,
        "min_ms": min(times),
        "max_ms": max(times),
        "steps": len(times) * args.sync_every,
        "sync_every": args.sync_every,
    }
    if args.matmul:
        check = work.left.sum().item()
        result |= {"matmul": args.matmul, "gflops": 2e-6 * args.matmul**3 / median}
    else:
        check = result["loss"] = work.loss.item()
        result |= {"model": args.model, "batch": args.batch, "noise": args.noise}
    if not math.isfinite(check):
        sys.exit(f"torch_mlp.py: the result is {check}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
