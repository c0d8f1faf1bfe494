"""What the optimizers share that project matrices or draw random numbers."""

import math

import numpy as np
from cases import SCALES, UP
from formulas import Formula
from inputs import MASK
from matrices import COUPLED, collect, sides

WEYL = 0x9E3779B97F4A7C15


def mix(z):
    """The finalizer of SplitMix64."""
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def normals(seed, t, rows, cols):
    """Normal numbers that depend on nothing but these four.

    They come in pairs, row by row, by the method of Box and Muller.
    """
    seeded = mix((seed + WEYL) & MASK)
    stream = mix((mix(seeded ^ t) + (rows << 32) + cols) & MASK)

    def uniform(k):
        bits = mix((stream + WEYL * (k + 1)) & MASK)
        return ((bits >> 11) + 0.5) / 2.0**53

    values = []
    for j in range((rows * cols + 1) // 2):
        radius = math.sqrt(-2.0 * math.log(uniform(2 * j)))
        angle = 2.0 * math.pi * uniform(2 * j + 1)
        values += [radius * math.cos(angle), radius * math.sin(angle)]
    return np.array(values[: rows * cols]).reshape(rows, cols)


class Decoupled(Formula):
    """A matrix of rows and columns; its decay is decoupled unless it is said."""

    def setup(self, get):
        self.DECOUPLED = get("weight_decay_kind", "decoupled") == "decoupled"
        self.sides = sides(self.parameter.shape)


class Projected(Decoupled):
    """Adam on what is left of a matrix when its shorter side is projected."""

    def setup(self, get):
        super().setup(get)
        self.gap = get("update_proj_gap", 200)
        self.beta_1 = get("beta_1", 0.9)
        self.beta_2 = get("beta_2", 0.999)
        self.epsilon = get("epsilon", 1e-8)

    def zero(self, *shape):
        return np.zeros(shape, self.parameter.dtype)

    def adam(self, t, low):
        """m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps)"""
        m = self.beta_1 * self.state["exp_avg"] + (1.0 - self.beta_1) * low
        v = self.beta_2 * self.state["exp_avg_sq"] + (1.0 - self.beta_2) * low * low
        self.state |= {"exp_avg": m, "exp_avg_sq": v}
        root = np.sqrt(v / (1.0 - self.beta_2**t))
        return m / (1.0 - self.beta_1**t) / (root + self.epsilon)


# Both ways to lie, a square, one of more dimensions, and one with sides further apart.
MATRICES = ([4, 3], [3, 4], [5, 5], [3, 2, 2], [4, 6])
TWO = ([4, 3], [3, 4])
OF_DECAY = {
    "weight_decay": {"weight_decay": 0.5},
    "maximize": UP,
    "maximize_weight_decay": {"weight_decay": 0.5, **UP},
}
OF_COUPLED = {"coupled": COUPLED, "coupled_maximize": {**COUPLED, **UP}}


def collect_default(collected, base, vectors=([7], [1, 6], [6, 1])):
    """The default at all scales."""
    collect(collected, base, {"default": {}}, (*vectors, *MATRICES))
    for grad_scale in SCALES:
        for shape in (*TWO, [5, 5]):
            collected.add("default", base, shape, grad_scale)
