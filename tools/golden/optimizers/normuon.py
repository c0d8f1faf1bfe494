"""NorMuon."""

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


class NorMuon(Orthogonal):
    """arXiv:2510.05491: Muon with a second moment of each output.

    v = beta_2 v + (1 - beta_2) mean(O^2) over the inputs
    O' = O / (sqrt(v) + eps_2);  p -= lr scale |O| / |O'| O'

    Both norms are of the whole parameter, also where it is in parts. The authors' code
    has a kernel of a convolution back in its shape before the mean, and its v for each
    of the rows of that; here an output has one v, as in pytorch_optimizer.NorMuon.
    Neither the authors' epsilon in the second norm is here nor, as in Muon, that in
    the norm of U added instead of a bound.
    """

    def setup(self, get):
        super().setup(get)
        self.beta_2 = get("beta_2", 0.95)
        self.epsilon_2 = get("epsilon_2", 1e-10)
        mean = self.parameter.mean(axis=self.layout.inputs, keepdims=True)
        self.state["second_momentum_buffer"] = np.zeros_like(mean)

    def update(self, t, learning_rate, gradient):
        o = self.orthogonalized(self.ahead(gradient))
        square = np.mean(o * o, axis=self.layout.inputs, keepdims=True)
        v = self.beta_2 * self.state["second_momentum_buffer"]
        v = v + (1.0 - self.beta_2) * square
        self.state["second_momentum_buffer"] = v
        scaled = o / (np.sqrt(v) + self.epsilon_2)
        norm = np.linalg.norm(scaled)
        if norm == 0.0:
            return 0.0 * o
        return learning_rate * self.scale * np.linalg.norm(o) / norm * scaled


def reference(config, parameter, rates):
    if not is_matrix(parameter.shape):
        return fallback(config, parameter, rates)
    return "formula: arXiv:2510.05491", NorMuon(config, parameter)


def cases():
    collected = Cases("normuon", 0.01, reference, ("timm",), single=10)
    base = {"name": "normuon"}
    match = {"adjust_lr": "match_rms_adamw"}
    spectral = {"adjust_lr": "spectral_unclamped"}
    beta = {"beta_2": 0.7}
    epsilon = {"epsilon_2": 0.1}
    collect_common(collected, base, spectral)
    moments = {
        "match_rms_adamw": match,
        "spectral_unclamped": spectral,
        "beta_2": beta,
        "epsilon_2": epsilon,
    }
    collect(collected, base, moments, MATRICES)
    collect(collected, base, {"beta_2_zero": {"beta_2": 0.0}}, TWO_MATRICES)
    everything = {"everything": {**EVERYTHING, **match, **beta, **epsilon}}
    collect(collected, base, everything, (*MATRICES, [3, 4, 5]))
    return collected
