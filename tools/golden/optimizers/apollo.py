"""APOLLO, and under a name of its own what its authors call APOLLO-Mini."""

import math

import numpy as np
from cases import SCALES, UP, Cases
from low_rank import (
    MATRICES,
    OF_COUPLED,
    OF_DECAY,
    TWO,
    Projected,
    collect_default,
    normals,
)
from matrices import FALLBACK, collect, collect_fallbacks, fallback, is_matrix

PRESETS = {"apollo_mini": {"rank": 1, "scale_type": "tensor", "alpha": 128.0}}


class Apollo(Projected):
    """arXiv:2412.05270: a gradient with the lengths that Adam has on a projection.

    P = normal numbers / sqrt(rank), new ones every `update_proj_gap` steps
    low = P g, or g P^T if g has more rows than columns;  N = Adam(low)
    s = |N| / (|low| + eps), of every column, or row, or with "tensor" of the whole
    u = sqrt(alpha) s g
    u = u limit |u_before| / |u|, if |u| is larger than limit |u_before| and that not 0
    p -= lr u

    `rank` 0 is a quarter of the shorter side, rounded up. The code of the authors was
    not read: its licence is not free.
    """

    def setup(self, get):
        super().setup(get)
        rows, cols = self.sides
        self.left = rows <= cols
        self.shorter = min(rows, cols)
        rank = get("rank", 0) or math.ceil(self.shorter / 4)
        self.rank = min(rank, self.shorter)
        self.seed = get("seed", 0)
        self.whole = get("scale_type", "channel") == "tensor"
        self.alpha = get("alpha", 1.0)
        self.limit = get("norm_growth_limit", 1.01)
        low = (self.rank, cols) if self.left else (rows, self.rank)
        self.state["exp_avg"] = self.zero(*low)
        self.state["exp_avg_sq"] = self.zero(*low)
        self.state["update_norm"] = self.zero(1, 1)

    def projection(self, t):
        drawn = 1 + (t - 1) // self.gap * self.gap
        p = normals(self.seed, drawn, self.rank, self.shorter)
        return p.astype(self.parameter.dtype) / math.sqrt(self.rank)

    def update(self, t, learning_rate, gradient):
        g = gradient.reshape(self.sides)
        p = self.projection(t)
        low = p @ g if self.left else g @ p.T
        n = self.adam(t, low)
        axis = None if self.whole else 0 if self.left else 1
        norm = np.linalg.norm(low, axis=axis, keepdims=True)
        s = np.linalg.norm(n, axis=axis, keepdims=True) / (norm + self.epsilon)
        u = self.limited(t, math.sqrt(self.alpha) * s * g)
        return learning_rate * u.reshape(gradient.shape)

    def limited(self, t, u):
        norm = np.linalg.norm(u)
        before = self.state["update_norm"][0, 0]
        if self.limit is not None and t > 1 and before > 0.0:
            if norm > self.limit * before:
                u = self.limit * before / norm * u
                norm = np.linalg.norm(u)
        self.state["update_norm"] = np.array([[norm]], self.parameter.dtype)
        return u


def reference(config, parameter, rates):
    config = {**PRESETS.get(config.get("name"), {}), **config}
    if not is_matrix(parameter.shape):
        return fallback(config, parameter, rates)
    return "formula: arXiv:2412.05270", Apollo(config, parameter)


def cases():
    collected = Cases("apollo", 0.01, reference)
    base = {"name": "apollo"}
    two = {"rank": 2}
    seven = {"update_proj_gap": 7}
    tensor = {"scale_type": "tensor"}
    betas = {"beta_1": 0.8, "beta_2": 0.99}
    epsilon = {"epsilon": 1e-2}
    limit = {"norm_growth_limit": 1.1}
    unlimited = {"norm_growth_limit": None}
    everything = {
        **two,
        **seven,
        "alpha": 4.0,
        "seed": 3,
        **betas,
        **epsilon,
        **limit,
        "weight_decay": 0.5,
        **UP,
        **FALLBACK,
    }
    collect_default(collected, base)
    kinds = {
        "rank_2": two,
        # As many as the shorter side has.
        "rank_100": {"rank": 100},
        "tensor": tensor,
        "rank_2_tensor": {**two, **tensor},
        "rank_2_update_proj_gap_7": {**two, **seven},
        "unlimited": {**two, **unlimited},
    }
    collect(collected, base, kinds, MATRICES)
    options = {
        "update_proj_gap_1": {"update_proj_gap": 1},
        "update_proj_gap_59": {"update_proj_gap": 59},
        "seed": {"seed": 1},
        "seed_large": {"seed": 2**53 - 1},
        "alpha": {"alpha": 4.0},
        "norm_growth_limit": limit,
        "norm_growth_limit_low": {"norm_growth_limit": 0.98},
        "tensor_unlimited": {**tensor, **unlimited},
        "betas": betas,
        "beta_1_zero": {"beta_1": 0.0},
        "beta_2_zero": {"beta_2": 0.0, **epsilon},
        "epsilon": epsilon,
        **OF_DECAY,
        **OF_COUPLED,
    }
    collect(collected, {**base, **two}, options, TWO)
    collect(collected, base, {"everything": everything}, MATRICES)
    whole = {"everything_tensor": {**everything, **tensor}}
    collect(collected, base, whole, TWO)
    collect_fallbacks(collected, base)
    mini = {"name": "apollo_mini"}
    collect(collected, mini, {"apollo_mini": {}}, ([7], *MATRICES))
    for grad_scale in SCALES:
        collected.add("apollo_mini", mini, [4, 3], grad_scale)
    seven = {"apollo_mini_gap": {"update_proj_gap": 7}}
    collect(collected, mini, seven, ([4, 3],))
    return collected
