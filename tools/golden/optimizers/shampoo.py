"""Shampoo."""

import itertools

import numpy as np
from cases import UP, Cases
from formulas import Formula
from matrices import (
    COUPLED,
    FALLBACK,
    collect,
    collect_fallbacks,
    fallback,
    gram,
    is_matrix,
    sides,
)


class Shampoo(Formula):
    """arXiv:1802.09568, as arXiv:2309.06497 has it.

    L = b2 L + (1 - b2) g g^T, R likewise of g^T g;  sums of these with b2 = 1
    m = b1 m + (1 - b1) g;  M = m / (1 - b1^t)
    A = (L / (1 - b2^t))^-e, B likewise of R;  at the first step and where f divides t
    u = A M B, times |d| / (|u| + 1e-16);  p -= lr u

    A matrix is cut into blocks of at most `max_preconditioner_dim` rows and columns,
    each of them with factors and norms of its own. With `merge_dims` one of no more
    elements than that is a single row, and has R and B only. `exponent` e is
    1 / (2 factors) if it is not given. To all eigenvalues of a factor eps is added, after
    they are shifted so that none is below 0. Before the first step with roots the
    direction is d, and M without grafting:

    sgd: d = M;  adagrad: v += g^2, d = M / (sqrt(v) + eps_g)
    rmsprop: v = bg v + (1 - bg) g^2, d likewise;  adam: with v / (1 - bg^t)
    """

    def setup(self, get):
        self.DECOUPLED = get("weight_decay_kind", "decoupled") == "decoupled"
        self.beta_1 = get("beta_1", 0.9)
        self.beta_2 = get("beta_2", 1.0)
        self.epsilon = get("epsilon", 1e-12)
        self.grafting = get("grafting", "none")
        self.grafting_beta_2 = get("grafting_beta_2", 0.999)
        self.grafting_epsilon = get("grafting_epsilon", 1e-8)
        self.frequency = get("precondition_frequency", 1)
        self.start = get("start_preconditioning_step", 0) or self.frequency
        limit = get("max_preconditioner_dim", 1024)
        self.sides = sides(self.parameter.shape)
        self.factors = ("rows", "cols")
        if get("merge_dims", False) and self.parameter.size <= limit:
            self.sides = (1, self.parameter.size)
            self.factors = ("cols",)
        exponent = get("exponent", None)
        self.exponent = 0.5 / len(self.factors) if exponent is None else exponent
        cuts = [
            [slice(start, start + limit) for start in range(0, length, limit)]
            for length in self.sides
        ]
        self.blocks = list(itertools.product(*cuts))
        self.state["exp_avg"] = self.zeros()
        if self.grafting in ("adagrad", "rmsprop", "adam"):
            self.state["grafting_sq"] = self.zeros()
        lengths = dict(zip(("rows", "cols"), self.sides, strict=True))
        for side in self.factors:
            n = min(lengths[side], limit)
            zeros = np.zeros((len(self.blocks), n, n), self.parameter.dtype)
            self.state[f"factor_{side}"] = zeros
            self.state[f"inverse_{side}"] = zeros.copy()

    def update(self, t, learning_rate, gradient):
        filtered = self.filtered(t, gradient)
        grafted = self.grafted(t, gradient, filtered).reshape(self.sides)
        filtered = filtered.reshape(self.sides)
        gradient = gradient.reshape(self.sides)
        divides = t >= self.start and t % self.frequency == 0
        u = grafted.copy()
        for number, block in enumerate(self.blocks):
            self.observe(number, gradient[block])
            if divides or t == self.start:
                self.take_roots(t, number, gradient[block].shape)
            if t >= self.start:
                direction = self.preconditioned(number, filtered[block])
                if self.grafting != "none":
                    norm = np.linalg.norm(direction) + 1e-16
                    direction = np.linalg.norm(grafted[block]) / norm * direction
                u[block] = direction
        return learning_rate * u.reshape(self.parameter.shape)

    def filtered(self, t, gradient):
        """M."""
        m = self.beta_1 * self.state["exp_avg"] + (1.0 - self.beta_1) * gradient
        self.state["exp_avg"] = m
        return m / (1.0 - self.beta_1**t)

    def grafted(self, t, gradient, filtered):
        """d, and M without grafting."""
        if "grafting_sq" not in self.state:
            return filtered
        old, new = self.grafting_beta_2, 1.0 - self.grafting_beta_2
        if self.grafting == "adagrad":
            old, new = 1.0, 1.0
        v = old * self.state["grafting_sq"] + new * gradient * gradient
        self.state["grafting_sq"] = v
        if self.grafting == "adam":
            v = v / (1.0 - self.grafting_beta_2**t)
        return filtered / (np.sqrt(v) + self.grafting_epsilon)

    def own(self, name, side, number, shape):
        """The part of a state's array that a block of `shape` has."""
        length = shape[0] if side == "rows" else shape[1]
        return self.state[f"{name}_{side}"][number, :length, :length]

    def observe(self, number, gradient):
        new = 1.0 if self.beta_2 == 1.0 else 1.0 - self.beta_2
        for side in self.factors:
            factor = self.own("factor", side, number, gradient.shape)
            factor[:] = self.beta_2 * factor + new * gram(side, gradient)

    def take_roots(self, t, number, shape):
        correction = 1.0 if self.beta_2 == 1.0 else 1.0 - self.beta_2**t
        for side in self.factors:
            factor = self.own("factor", side, number, shape) / correction
            values, vectors = np.linalg.eigh(factor)
            values = values - min(values.min(), 0.0) + self.epsilon
            inverse = self.own("inverse", side, number, shape)
            inverse[:] = (vectors * values**-self.exponent) @ vectors.T

    def preconditioned(self, number, filtered):
        shape = filtered.shape
        if "rows" in self.factors:
            filtered = self.own("inverse", "rows", number, shape) @ filtered
        return filtered @ self.own("inverse", "cols", number, shape)


PRESETS = {
    "shampoo_algoperf": {
        "beta_2": 0.999,
        "grafting": "adam",
        "precondition_frequency": 100,
        "merge_dims": True,
    },
}


def reference(config, parameter, rates):
    config = {**PRESETS.get(config["name"], {}), **config}
    if not is_matrix(parameter.shape):
        return fallback(config, parameter, rates)
    return "formula: arXiv:2309.06497", Shampoo(config, parameter)


SQUARES = ([4, 3], [3, 4], [5, 5], [3, 2, 2])
TWO = ([4, 3], [2, 3])
# Where a root of a small eigenvalue or a step is large.
SINGLES = {
    "default/[4, 3]/1.0": 30,
    "default/[4, 3]/30.0": 10,
    "default/[4, 3]/1000.0": 0,
    "default/[3, 2, 2]/1.0": 10,
    "exponent/[4, 3]/1.0": 30,
    "exponent/[2, 3]/1.0": 3,
    "rmsprop/[4, 3]/1.0": 10,
    "rmsprop_betas/[4, 3]/1.0": 10,
    "rmsprop_epsilon/[4, 3]/1.0": 10,
    "rmsprop_blocks/[3, 2, 2]/1.0": 0,
    "merge_dims_start/[4, 3]/1.0": 100,
    "fallback/[4, 3]/1.0": 3,
}
GRAFTINGS = ("sgd", "adagrad", "rmsprop", "adam")


def cases():
    collected = Cases("shampoo", 0.01, reference, singles=SINGLES)
    base = {"name": "shampoo"}
    # A factor has less than full rank in the first steps, and what the roots then make
    # of rounding errors grows with how small epsilon is.
    damped = {**base, "epsilon": 1e-6}
    betas = {"beta_1": 0.8, "beta_2": 0.99}
    adam = {"grafting": "adam"}
    mean = {"beta_2": 0.99}
    three = {"precondition_frequency": 3}
    late = {**three, "start_preconditioning_step": 7}
    cut = {"max_preconditioner_dim": 2}
    merged = {"merge_dims": True, "epsilon": 1e-3}
    everything = {
        **betas,
        "epsilon": 0.5,
        "exponent": 0.4,
        **adam,
        "grafting_beta_2": 0.9,
        "grafting_epsilon": 1e-2,
        **late,
        "max_preconditioner_dim": 3,
        **COUPLED,
        **UP,
        **FALLBACK,
    }
    collected.everywhere("default", base, ([1], [7], [33], [4, 3]))
    collect(collected, base, {"default": {}}, (*SQUARES[1:], [1, 6], [6, 1]))
    collect(collected, damped, {"epsilon_small": {}}, SQUARES)
    options = {
        "betas": betas,
        "beta_1_zero": {"beta_1": 0.0},
        "beta_2": mean,
        "epsilon": {"epsilon": 1e-2, **mean},
        # Above the least eigenvalue of some means, below that of others.
        "epsilon_large": {"epsilon": 0.2, **mean},
        "exponent": {"exponent": 0.5},
        "exponent_small": {"exponent": 0.1, **mean},
        "precondition_frequency_3": three,
        "precondition_frequency_10": {"precondition_frequency": 10},
        "start": late,
        "start_soon": {**three, "start_preconditioning_step": 2},
        "maximize": UP,
        "weight_decay": {"weight_decay": 0.5},
        "coupled": COUPLED,
        "coupled_maximize": {**COUPLED, **UP},
    }
    collect(collected, damped, options, TWO)
    for grafting in GRAFTINGS:
        kind = {"grafting": grafting}
        graftings = {
            grafting: kind,
            f"{grafting}_betas": {**kind, **betas, "grafting_beta_2": 0.9},
            f"{grafting}_start": {**kind, **late},
        }
        if grafting != "sgd":
            epsilon = {**kind, "grafting_epsilon": 1e-2}
            graftings[f"{grafting}_epsilon"] = epsilon
        collect(collected, damped, graftings, ([4, 3],))
        cuts = {f"{grafting}_blocks": {**kind, **mean, **cut}}
        collect(collected, damped, cuts, ([3, 2, 2],))
    blocks = {"blocks": cut, "blocks_start": {**cut, **late}}
    collect(collected, damped, blocks, ([4, 3], [5, 5]))
    larger = {"blocks_5": {**mean, **adam, "max_preconditioner_dim": 5}}
    collect(collected, damped, larger, ([8, 3], [2, 3, 2, 2]))
    one = {
        "merge_dims": merged,
        "merge_dims_adam": {**merged, **adam, **mean},
        "merge_dims_start": {**merged, **late},
        # Too many elements to be one row.
        "merge_dims_blocks": {**merged, "max_preconditioner_dim": 4},
    }
    collect(collected, damped, one, ([4, 3],))
    collect(collected, damped, {"merge_dims": merged}, ([3, 2, 2],))
    collect(collected, base, {"everything": everything}, SQUARES)
    collect_fallbacks(collected, base)
    won = {"name": "shampoo_algoperf"}
    collect(collected, won, {"algoperf": {}}, ([7], [4, 3]))
    soon = {"epsilon": 1e-3, "precondition_frequency": 5}
    often = {
        "algoperf_soon": soon,
        "algoperf_start": {**soon, "start_preconditioning_step": 3},
        "algoperf_blocks": {**soon, "max_preconditioner_dim": 3},
    }
    collect(collected, won, often, ([4, 3],))
    return collected
