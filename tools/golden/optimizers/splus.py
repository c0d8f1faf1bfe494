"""SPlus."""

import numpy as np
from cases import SCALES, UP, Cases
from matrices import (
    COUPLED,
    FALLBACK,
    Eigenbases,
    collect,
    collect_fallbacks,
    eigenvectors,
    fallback,
    is_matrix,
)


class SPlus(Eigenbases):
    """arXiv:2506.07254: a sign in the eigenbases of Shampoo's factors.

    m = b1 m + (1 - b1) g;  u = Q_L sign(Q_L^T m Q_R) Q_R^T;  Q = I at first
    s = lr 2 / (rows + columns);  p *= 1 - s wd;  p -= s u
    then L, R, and in call 1 and where f divides t  Q_L, Q_R = the eigenvectors of L, R
    ema += (1 - b) / (1 - b^t) (p - ema), which is evaluated

    The authors decay after the step and after the average.
    """

    WEIGHT_DECAY = 0.01
    FREQUENCY = 100

    def setup(self, get):
        super().setup(get)
        self.beta_1 = get("beta_1", 0.9)
        self.beta_2 = get("beta_2", 0.999)
        self.ema = get("ema", 0.999)
        self.scale = 2.0 / sum(self.sides)
        self.state["ema"] = self.zeros()

    def step(self, t, learning_rate, gradient):
        super().step(t, self.scale * learning_rate, gradient)
        weight = (1.0 - self.ema) / (1.0 - self.ema**t)
        ema = self.state["ema"]
        self.state["ema"] = ema + weight * (self.parameter - ema)

    def update(self, t, learning_rate, gradient):
        m = self.beta_1 * self.state["exp_avg"] + (1.0 - self.beta_1) * gradient
        self.state["exp_avg"] = m
        turned = self.into(m)
        # No sign is that of a rounding error.
        assert np.abs(turned).min() > 1e-9 * np.abs(turned).max()
        u = self.back(np.sign(turned))
        self.observe(gradient, self.beta_2)
        if t == 1 or t % self.frequency == 0:
            for side in self.short:
                gg = self.state[f"gg_{side}"]
                shifted = gg + 1e-30 * np.eye(len(gg), dtype=gg.dtype)
                self.state[f"q_{side}"] = eigenvectors(shifted)
        return learning_rate * u

    def evaluated(self):
        return self.state["ema"]


def reference(config, parameter, rates):
    if not is_matrix(parameter.shape):
        return fallback(config, parameter, rates)
    return "formula: arXiv:2506.07254", SPlus(config, parameter)


SQUARES = ([4, 4], [5, 5])
TWO = ([4, 4], [3, 4])
# Where eigenvalues are close to each other. At 0 a sign is that of 4e-5 of the largest.
SINGLES = {
    "default/[5, 5]/1.0": 30,
    "precondition_frequency_5/[5, 5]/1.0": 30,
    "precondition_frequency_5/[4, 4]/1000.0": 30,
    "beta_1_zero/[4, 4]/1.0": 30,
    "ema/[4, 4]/1.0": 30,
    "ema/[3, 4]/1.0": 30,
    "ema_zero/[4, 4]/1.0": 30,
    "weight_decay/[3, 4]/1.0": 30,
    "coupled/[4, 4]/1.0": 30,
    "everything/[5, 5]/1.0": 0,
}
# The eigenvectors are found anew within the steps.
OFTEN = {"precondition_frequency": 5}


def cases():
    collected = Cases("splus", 0.1, reference, single=10, singles=SINGLES)
    base = {"name": "splus"}
    often = {**base, **OFTEN}
    betas = {"beta_1": 0.8, "beta_2": 0.9}
    seven = {"precondition_frequency": 7}
    ema = {"ema": 0.9}
    five = {"max_precond_dim": 5}
    everything = {**betas, **ema, **seven, **COUPLED, **UP, **FALLBACK}
    default_shapes = ([1], [7], [33], *SQUARES, [1, 6], [6, 1])
    collect(collected, base, {"default": {}}, default_shapes)
    for grad_scale in SCALES:
        for shape in ([7], [4, 4]):
            collected.add("default", base, shape, grad_scale)
    shapes = (*SQUARES, [2, 2], [4, 2, 2], [4, 3], [3, 4])
    frequencies = {"precondition_frequency_5": OFTEN, "precondition_frequency_7": seven}
    collect(collected, base, frequencies, shapes)
    for grad_scale in SCALES:
        collected.add("precondition_frequency_5", often, [4, 4], grad_scale)
    options = {
        "betas": betas,
        "beta_1_zero": {"beta_1": 0.0},
        "ema": ema,
        "ema_zero": {"ema": 0.0},
        "maximize": UP,
        "weight_decay": {"weight_decay": 0.5},
        "weight_decay_zero": {"weight_decay": 0.0},
        "coupled": COUPLED,
        "coupled_maximize": {**COUPLED, **UP},
    }
    collect(collected, often, options, TWO)
    # One side too long, either of them, and both.
    sided = {"one_side": five}
    collect(collected, often, sided, ([3, 4, 5], [8, 3], [2, 3, 4, 5]))
    neither = {"no_side": {"max_precond_dim": 2}}
    collect(collected, often, neither, ([4, 3], [3, 2, 2]))
    collect(collected, base, {"everything": everything}, shapes)
    collect(collected, base, {"everything": {**everything, **five}}, ([2, 8],))
    collect_fallbacks(collected, base)
    return collected
