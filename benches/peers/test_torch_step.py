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

    def test_a_rule_stands_beside_a_plain_step_and_ivon_beside_adam_too(self):
        rules = ["sam", "asam", "m-sam", "msam", "nso", "lpf", "arwp", "m-rwp", "ivon", "mezo", "fresh-labels"]
        *steps, unknown = run([f"--model mlp:9-8-7 --batch 8 --rule {rule}" for rule in [*rules, "none"]])
        self.assertEqual([step["rule"] for step in steps], rules)
        for step in steps:
            self.assertEqual(step["rounds"], 2, step)
            self.assertEqual("noisy_adam" in step, step["rule"] == "ivon", step)
            for other in (step["plain"], step.get("noisy_adam", step["plain"])):
                self.assertTrue(other["ratio"] > 0 and other["ms"] > 0, step)
        self.assertIn("unknown rule 'none'", unknown["failed"])


if __name__ == "__main__":
    unittest.main()
