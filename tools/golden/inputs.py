"""The inputs every case is computed from.

Nothing here is stored in the JSON files: a reader rebuilds the initial
parameter, the gradients and the learning rates from the case's `seed`,
`shape`, `grad_scale` and `learning_rate`. The losses are the same in all cases.
"""

import math

import numpy as np

STEPS = 60
SNAPSHOTS = (1, 2, 10, 60)

MASK = (1 << 64) - 1


class SplitMix64:
    """SplitMix64 of Steele, Lea and Flood (2014)."""

    def __init__(self, seed):
        self.state = seed & MASK

    def next_u64(self):
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return z ^ (z >> 31)

    def uniform(self):
        """A number in [-1, 1)."""
        return (self.next_u64() >> 11) / 2.0**53 * 2.0 - 1.0

    def tensor(self, shape, scale=1.0):
        """Uniform numbers times `scale`, in row-major order.

        They are rounded to float32 and held as float64, so that a reader
        working in single precision starts from the same numbers.
        """
        values = [self.uniform() * scale for _ in range(math.prod(shape))]
        return np.array(values).astype(np.float32).astype(np.float64).reshape(shape)


def inputs(seed, shape, grad_scale):
    """The initial parameter and the gradients of steps 1 to `STEPS`."""
    generator = SplitMix64(seed)
    parameter = generator.tensor(shape)
    gradients = [generator.tensor(shape, grad_scale) for _ in range(STEPS)]
    return parameter, gradients


def learning_rates(learning_rate):
    """The learning rates of steps 1 to `STEPS`: no two are equal."""
    return [learning_rate / (1.0 + 0.01 * (t - 1)) for t in range(1, STEPS + 1)]


def losses():
    """The losses of steps 1 to `STEPS`, for the optimizers that are told it."""
    return [1.0 / t for t in range(1, STEPS + 1)]
