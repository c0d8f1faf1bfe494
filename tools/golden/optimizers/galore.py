"""GaLore."""

import numpy as np
from cases import UP, Cases
from low_rank import (
    MATRICES,
    OF_COUPLED,
    OF_DECAY,
    TWO,
    Projected,
    collect_default,
)
from matrices import (
    FALLBACK,
    collect,
    collect_fallbacks,
    eigenvectors,
    fallback,
    gram,
    is_matrix,
)


class GaLore(Projected):
    """arXiv:2403.03507: Adam in the space of a gradient's largest singular vectors.

    every `update_proj_gap` steps, from the first on
    P = the first `rank` eigenvectors of g^T g, or of g g^T if g has more columns
    low = g P, or P^T g;  p -= lr scale Adam(low) P^T, or P Adam(low)

    The moments stay as they are where P changes. In the authors' code epsilon is added
    to a root that lacks its correction, as if it were epsilon / sqrt(1 - b2^t) here;
    the decay comes after the step, and P is found in float32, its signs being any.
    """

    def setup(self, get):
        super().setup(get)
        rows, cols = self.sides
        self.right = rows >= cols
        self.scale = get("scale", 0.25)
        rank = min(get("rank", 128), rows, cols)
        low = (rows, rank) if self.right else (rank, cols)
        self.state["projection"] = self.zero(min(rows, cols), rank)
        self.state["exp_avg"] = self.zero(*low)
        self.state["exp_avg_sq"] = self.zero(*low)

    def update(self, t, learning_rate, gradient):
        g = gradient.reshape(self.sides)
        if (t - 1) % self.gap == 0:
            self.project(gram("cols" if self.right else "rows", g))
        p = self.state["projection"]
        u = self.adam(t, g @ p if self.right else p.T @ g)
        back = u @ p.T if self.right else p @ u
        return learning_rate * self.scale * back.reshape(gradient.shape)

    def project(self, square):
        rank = self.state["projection"].shape[1]
        basis = eigenvectors(square)[:, :rank]
        self.state["projection"] = basis
        # Neither an order nor a sign is a rounding error's, in single precision either.
        values = np.linalg.eigvalsh(square)[::-1]
        assert np.diff(values)[:rank].max(initial=-np.inf) < -1e-4 * values[0]
        assert (basis.max(axis=0) + basis.min(axis=0)).min() > 1e-4


def reference(config, parameter, rates):
    if not is_matrix(parameter.shape):
        return fallback(config, parameter, rates)
    return "formula: arXiv:2403.03507", GaLore(config, parameter)


def cases():
    collected = Cases("galore", 0.01, reference)
    base = {"name": "galore"}
    two = {"rank": 2}
    seven = {"update_proj_gap": 7}
    betas = {"beta_1": 0.8, "beta_2": 0.99}
    epsilon = {"epsilon": 1e-2}
    everything = {
        **two,
        **seven,
        "scale": 2.0,
        **betas,
        **epsilon,
        "weight_decay": 0.5,
        **UP,
        **FALLBACK,
    }
    collect_default(collected, base)
    ranks = {
        "rank_1": {"rank": 1},
        "rank_2": two,
        "update_proj_gap_7": seven,
        "rank_2_update_proj_gap_7": {**two, **seven},
    }
    collect(collected, base, ranks, MATRICES)
    options = {
        # Every second projection has a step, and the last is in step 60.
        "update_proj_gap_1": {**two, "update_proj_gap": 1},
        "update_proj_gap_59": {**two, "update_proj_gap": 59},
        "scale": {"scale": 2.0},
        "betas": betas,
        "beta_1_zero": {"beta_1": 0.0},
        "beta_2_zero": {"beta_2": 0.0, **epsilon},
        "epsilon": epsilon,
        **OF_DECAY,
        **OF_COUPLED,
    }
    collect(collected, {**base, **two}, options, TWO)
    collect(collected, base, {"everything": everything}, MATRICES)
    collect_fallbacks(collected, base)
    return collected
