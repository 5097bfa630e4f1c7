"""Lines of options for torch_step.py: `python3 -m unittest` in this folder. Without PyTorch there is nothing to test."""

import importlib.util
import json
import subprocess
import sys
import unittest
from pathlib import Path

STEP = Path(__file__).with_name("torch_step.py")
COMMON = ["--lines", "--steps", "2", "--warmup", "1", "--batch", "4"]


def run(lines):
    command = [sys.executable, STEP, *COMMON]
    done = subprocess.run(command, input="\n".join(lines), capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


@unittest.skipUnless(importlib.util.find_spec("torch"), "no PyTorch here")
class Lines(unittest.TestCase):
    def test_each_line_has_an_object_and_a_failure_its_reason(self):
        step, nothing, product = run(["--model mlp:9-8-7 --noise layer", "--model none", "--matmul 16 --precision f16"])
        self.assertEqual((step["model"], step["batch"], step["noise"]), ("mlp:9-8-7", 4, "layer"))
        self.assertEqual((step["precision"], step["compile"], step["channels_last"]), ("f32", None, False))
        self.assertEqual(nothing["options"], "--model none")
        self.assertTrue(nothing["failed"])
        self.assertEqual((product["matmul"], product["precision"]), (16, "f16"))
        self.assertGreater(product["gflops"], 0)


if __name__ == "__main__":
    unittest.main()
