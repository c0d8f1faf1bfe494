"""Golden numbers for downhill_problems: NumPy's legacy random stream and slide 12's data.

    python tools/golden/deck_data.py > crates/downhill-problems/tests/numpy.json

Needs NumPy (made with 2.4.6; the legacy stream is the same in every version since 1.17).
A checksum is the wrapping 64-bit sum of all values' bit patterns: one wrong bit anywhere shows.
"""

import json

import numpy as np


def checksum(values):
    return int(np.ascontiguousarray(values).view(np.uint64).sum(dtype=np.uint64))


def stream():
    """One generator, every method in turn: the order in which the outputs are taken is tested too."""
    random = np.random.RandomState(42)
    return {
        "randn": random.randn(5).tolist(),  # odd: leaves one normal deviate in the cache
        "rand": random.rand(4).tolist(),
        "randint": random.randint(0, 3, 12).tolist(),
        "randn_again": random.randn(3).tolist(),  # begins with the cached one
        "randint_negative": random.randint(-5, 6, 12).tolist(),
        "randint_one_choice": random.randint(7, 8, 3).tolist(),
        "randint_32_bits": random.randint(0, 2**32, 3).tolist(),
        "randint_64_bits": random.randint(-(2**62), 2**62 + 12345, 3).tolist(),
        "permutation": random.permutation(20).tolist(),
        "rand_after": random.rand(1).tolist(),
    }


def deck():
    """Slide 12, line for line."""
    np.random.seed(42)
    X = np.random.randn(1000, 20)
    y = np.random.randint(0, 3, 1000)
    return {
        "first_row": X[0].tolist(),
        "last_row": X[-1].tolist(),
        "features_checksum": checksum(X),
        "first_labels": y[:20].tolist(),
        "class_counts": np.bincount(y).tolist(),
        "labels_checksum": checksum(y * np.arange(1, 1001)),
    }


def seeds():
    """The first two outputs of other seeds, the largest included."""
    return [[seed, *np.random.RandomState(seed).rand(2).tolist()] for seed in (0, 1, 2**31, 2**32 - 1)]


if __name__ == "__main__":
    print(json.dumps({"numpy": np.__version__, "stream": stream(), "deck": deck(), "seeds": seeds()}, indent=1))
