"""How much work makes a turn: `python3 -m unittest` in this folder."""

import argparse
import unittest

from run import Amount, Work, amount_of


def amount(model, noise, ms, **options):
    values = {"steps": 100, "seconds": 10.0, "warmup": 10, "rounds": 3, "sync_every": 1, "quick": False} | options
    return amount_of(argparse.Namespace(**values), Work(model, 128, noise), ms)


class Amounts(unittest.TestCase):
    def test_steps_bound_fast_programs_and_seconds_slow_ones(self):
        self.assertEqual(amount("mlp1", "none", 1.0), (Amount(100, 1, 10), 3))
        self.assertEqual(amount("mlp1", "all", 2000.0), (Amount(5, 1, 5), 3))
        self.assertEqual(amount("mlp1", "none", 60_000.0), (Amount(2, 1, 2), 3))

    def test_whole_blocks(self):
        self.assertEqual(amount("mlp1", "none", 1.0, sync_every=30), (Amount(90, 30, 10), 3))
        self.assertEqual(amount("mlp1", "none", 2000.0, sync_every=30), (Amount(5, 5, 5), 3))

    def test_whole_cycles_in_mode_layer(self):
        self.assertEqual(amount("mlp1", "layer", 1.0), (Amount(96, 8, 10), 3))
        self.assertEqual(amount("mlp1", "layer", 1.0, sync_every=20), (Amount(96, 24, 10), 3))
        self.assertEqual(amount("mlp:9-9-9", "layer", 1.0), (Amount(100, 4, 10), 3))
        # A cycle that is a little longer than a turn should be is still taken whole, and every round.
        self.assertEqual(amount("mlp2", "layer", 2000.0, sync_every=20), (Amount(8, 8, 5), 3))

    def test_long_cycles_are_timed_once(self):
        self.assertEqual(amount("resnet18", "layer", 2000.0), (Amount(62, 62, 5), 1))
        self.assertEqual(amount("resnet18", "layer", 2000.0, quick=True), (Amount(62, 62, 5), 0))
        self.assertEqual(amount("resnet18", "layer", 2000.0, seconds=60.0), (Amount(62, 62, 10), 3))

    def test_products_one_by_one(self):
        values = argparse.Namespace(steps=20, seconds=10.0, warmup=10, rounds=3, sync_every=20, quick=False)
        self.assertEqual(amount_of(values, Work("", 0, "none", 1024), 1.0), (Amount(20, 1, 10), 3))


if __name__ == "__main__":
    unittest.main()
