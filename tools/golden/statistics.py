"""Writes crates/downhill-lab/tests/stats.json: medians, quantiles and intervals by SciPy.

    python tools/golden/statistics.py            write the file
    python tools/golden/statistics.py --check    compare with the file instead
"""

import argparse
import json
import pathlib
import sys

import numpy as np
import scipy
from scipy import stats

FILE = (
    pathlib.Path(__file__).resolve().parents[2]
    / "crates/downhill-lab/tests/stats.json"
)


def case(values):
    values = np.asarray(values, dtype=np.float64)
    record = {
        "values": values.tolist(),
        "median": float(np.median(values)),
        "quantiles": [
            [q, float(stats.mstats.mquantiles(values, q, alphap=1, betap=1)[0])]
            for q in (0.0, 0.025, 0.1, 0.5, 0.77, 0.975, 1.0)
        ],
    }
    if len(values) > 1:
        # Medians of resamples are few different numbers, so that a percentile may lie just beside a
        # jump. With fewer resamples it comes out between these two of the limit's.
        result = stats.bootstrap(
            (values,),
            np.median,
            n_resamples=200_000,
            method="percentile",
            confidence_level=0.95,
            rng=np.random.default_rng(0),
        )
        medians = result.bootstrap_distribution
        record["low"] = np.quantile(medians, [0.02, 0.03]).tolist()
        record["high"] = np.quantile(medians, [0.97, 0.98]).tolist()
    return record


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    random = np.random.RandomState(7)
    cases = [
        [3.5],
        [1.0, 2.0],
        [0.3, 0.1, 0.2],
        [5.0, 5.0, 5.0, 5.0],
        random.randn(5),
        random.randn(10),
        np.exp(random.randn(15)),
        random.rand(30),
        random.randint(0, 4, 21),
    ]
    record = {
        "generator": "tools/golden/statistics.py",
        "reference": {"scipy": scipy.__version__, "numpy": np.__version__},
        "cases": [case(values) for values in cases],
    }
    text = json.dumps(record, indent=1, allow_nan=False) + "\n"
    if check:
        sys.exit(FILE.read_text() != text)
    FILE.write_text(text)


# Libraries that import the standard `statistics` get this file instead.
if __name__ == "__main__":
    main()
