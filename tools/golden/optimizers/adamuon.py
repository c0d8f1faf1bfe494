"""AdaMuon."""

import numpy as np
from cases import Cases
from matrices import (
    EVERYTHING,
    MATRICES,
    TWO_MATRICES,
    Orthogonal,
    collect,
    collect_common,
    fallback,
    is_matrix,
)


class AdaMuon(Orthogonal):
    """arXiv:2507.11005: Muon of the signs, with a second moment.

    O is of sign(U), and of U itself without `sign`
    v = beta_2 v + (1 - beta_2) O^2;  O' = O / (sqrt(v) + eps_2)
    p -= lr 0.2 sqrt(n) O' / |O'|, with n and the norm of the whole parameter

    timm and pytorch_optimizer have no sign, and no Nesterov momentum unless asked.
    """

    WEIGHT_DECAY = 0.01

    def setup(self, get):
        super().setup(get)
        self.beta_2 = get("beta_2", 0.95)
        self.epsilon_2 = get("epsilon_2", 1e-8)
        self.sign = get("sign", True)
        self.state["exp_avg_sq"] = self.zeros()

    def update(self, t, learning_rate, gradient):
        u = self.ahead(gradient)
        o = self.orthogonalized(np.sign(u) if self.sign else u)
        v = self.beta_2 * self.state["exp_avg_sq"]
        v = v + (1.0 - self.beta_2) * o * o
        self.state["exp_avg_sq"] = v
        scaled = o / (np.sqrt(v) + self.epsilon_2)
        norm = np.linalg.norm(scaled)
        if norm == 0.0:
            return 0.0 * o
        return learning_rate * 0.2 * o.size**0.5 / norm * scaled


def reference(config, parameter, rates):
    if not is_matrix(parameter.shape):
        return fallback(config, parameter, rates)
    return "formula: arXiv:2507.11005", AdaMuon(config, parameter)


def cases():
    collected = Cases("adamuon", 0.01, reference, ("timm",), single=50)
    base = {"name": "adamuon"}
    beta = {"beta_2": 0.7}
    epsilon = {"epsilon_2": 0.1}
    unsigned = {"sign": False}
    collect_common(collected, base)
    no_decay = {"weight_decay_zero": {"weight_decay": 0.0}}
    collect(collected, base, no_decay, TWO_MATRICES)
    collect(collected, base, {"no_sign": unsigned}, (*MATRICES, [3, 4, 5]))
    collect(collected, base, {"beta_2": beta, "epsilon_2": epsilon}, MATRICES[:3])
    # With an epsilon, as without beta_2 it is a sign otherwise.
    zero = {"beta_2_zero": {"beta_2": 0.0, **epsilon}}
    collect(collected, base, zero, TWO_MATRICES)
    everything = {"everything": {**EVERYTHING, **unsigned, **beta, **epsilon}}
    collect(collected, base, everything, MATRICES)
    return collected
