"""The arithmetic of the table: `python3 -m unittest` in this folder."""

import math
import unittest

from table import Row, Spread, Table, Turn, Variant, Work, noise_cost, ratios, significant, spread

JOSTLE = Variant("jostle", "wgpu", "f32")
TORCH = Variant("torch", "eager", "f32")
CLEAN = Work("mlp1", 128, "none")
NOISY = Work("mlp1", 128, "all")


def row(work, variant, *times):
    return Row(work, variant, {number: Turn(ms) for number, ms in enumerate(times)})


class Ratios(unittest.TestCase):
    def test_pairs_rounds(self):
        # A machine that slows down slows both: the rounds' ratios are 2, 2 and 4, that of the medians would be 2.5.
        self.assertEqual(ratios(row(CLEAN, TORCH, 2, 20, 5), row(CLEAN, JOSTLE, 1, 10, 1.25)), Spread(2, 2, 4, 3))

    def test_skips_rounds_that_one_lacks(self):
        base = Row(CLEAN, JOSTLE, {1: Turn(4.0)})
        self.assertEqual(ratios(row(CLEAN, TORCH, 1, 2, 3), base), Spread(0.5, 0.5, 0.5, 1))

    def test_none_without_shared_rounds(self):
        self.assertIsNone(ratios(row(CLEAN, TORCH, 1), Row(CLEAN, JOSTLE, {1: Turn(4.0)})))
        self.assertIsNone(spread([]))


class NoiseCost(unittest.TestCase):
    def paired(self, *turns):
        return Row(NOISY, JOSTLE, {i: Turn(1.0, noise_cost=c, noise_cost_error=e) for i, (c, e) in enumerate(turns)})

    def test_own_pairs_with_their_errors(self):
        cost = noise_cost(self.paired((2.0, 0.3), (2.0, 0.4)), None)
        self.assertEqual((cost.percent, cost.paired), (2.0, True))
        self.assertAlmostEqual(cost.error, 0.25)  # sqrt(0.3^2 + 0.4^2) / 2

    def test_scatter_wins_where_it_is_larger(self):
        cost = noise_cost(self.paired((1.0, 0.1), (3.0, 0.1)), None)
        self.assertAlmostEqual(cost.error, 1.0)  # sqrt(2) / sqrt(2)

    def test_a_single_pair_has_no_error(self):
        self.assertIsNone(noise_cost(self.paired((2.0, 0.0)), None).error)

    def test_between_rounds(self):
        cost = noise_cost(row(NOISY, TORCH, 11, 26), row(CLEAN, TORCH, 10, 20))
        self.assertAlmostEqual(cost.percent, 20.0)  # of 10 and 30
        self.assertAlmostEqual(cost.error, 10.0)
        self.assertFalse(cost.paired)
        self.assertIsNone(noise_cost(row(NOISY, TORCH, 11), None))


class Tables(unittest.TestCase):
    def setUp(self):
        self.table = Table(["f32", "f16"])
        half = Variant("jostle", "wgpu", "f16")
        self.table.rows = [row(CLEAN, JOSTLE, 10, 12), row(CLEAN, half, 5, 6), row(CLEAN, TORCH, 20, 24)]

    def test_ratios_stand_beside_each_of_jostles_rows(self):
        expected = "| mlp1, batch 128, noise none | torch | eager | f32 | 22.00 | 20.00 to 24.00 |  | 2.00 | 4.00 |"
        self.assertEqual(self.table.markdown(self.table.rows[2]), expected)

    def test_ratios_are_of_the_same_work(self):
        noisy = row(NOISY, TORCH, 20)
        self.assertTrue(self.table.markdown(noisy).endswith("| one round |  |  |  |"))

    def test_columns_agree(self):
        lines = [*self.table.head().splitlines(), *map(self.table.markdown, self.table.rows)]
        lines.append(self.table.markdown(row(CLEAN, TORCH)))
        self.assertEqual({text.count("|") for text in lines}, {10})

    def test_record(self):
        record = self.table.record(self.table.rows[2])
        self.assertEqual(record["ratios"]["jostle f16"]["median"], 4.0)
        self.assertEqual((record["model"], record["ms"]["least"]), ("mlp1", 20))

    def test_significant(self):
        for value, text in [(0.0, "0"), (0.012345, "0.01235"), (1.0, "1.000"), (123.456, "123.5"), (12345.6, "12346")]:
            self.assertEqual(significant(value), text)
        self.assertEqual(significant(math.nan), "nan")



if __name__ == "__main__":
    unittest.main()
