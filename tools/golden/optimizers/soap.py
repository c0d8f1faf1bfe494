"""SOAP."""

import math

import numpy as np
from cases import UP, Cases
from matrices import (
    COUPLED,
    FALLBACK,
    Eigenbases,
    collect,
    collect_fallbacks,
    eigenvectors,
    fallback,
    is_matrix,
    signed,
)


class Soap(Eigenbases):
    """arXiv:2409.11321: Adam in the eigenbases of Shampoo's factors.

    call 1: L, R;  Q_L, Q_R = their eigenvectors, and nothing else
    call k + 1: m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) (Q_L^T g Q_R)^2
    u = Q_L ((Q_L^T m Q_R) / (sqrt(v) + eps)) Q_R^T
    p -= lr sqrt(1 - b2^k) / (1 - b1^k) u;  then L, R, and if f divides k
    Q_L = QR(L Q_L), after its columns and the rows of v are sorted by diag(Q_L^T L Q_L)
    from the largest down, and Q_R likewise with the columns of v

    The authors' code decays after the step, and takes eigenvectors and QR in float32.
    """

    WEIGHT_DECAY = 0.01
    FREQUENCY = 10

    def setup(self, get):
        super().setup(get)
        self.beta_1 = get("beta_1", 0.95)
        self.beta_2 = get("beta_2", 0.95)
        shampoo_beta = get("shampoo_beta", None)
        self.beta = self.beta_2 if shampoo_beta is None else shampoo_beta
        self.epsilon = get("epsilon", 1e-8)
        self.state["exp_avg_sq"] = self.zeros()

    def step(self, t, learning_rate, gradient):
        # Nothing decays in the first call either.
        super().step(t, 0.0 if t == 1 else learning_rate, gradient)

    def update(self, t, learning_rate, gradient):
        if t == 1:
            self.observe(gradient, self.beta)
            for side in self.short:
                self.state[f"q_{side}"] = eigenvectors(self.state[f"gg_{side}"])
            return self.zeros()
        k = t - 1
        m = self.beta_1 * self.state["exp_avg"] + (1.0 - self.beta_1) * gradient
        square = self.into(gradient) ** 2
        v = self.beta_2 * self.state["exp_avg_sq"] + (1.0 - self.beta_2) * square
        u = self.back(self.into(m) / (np.sqrt(v) + self.epsilon))
        self.state |= {"exp_avg": m, "exp_avg_sq": v}
        self.observe(gradient, self.beta)
        if k % self.frequency == 0:
            self.turn()
        correction = math.sqrt(1.0 - self.beta_2**k) / (1.0 - self.beta_1**k)
        return learning_rate * correction * u

    def turn(self):
        v = self.state["exp_avg_sq"].reshape(self.sides)
        for side in self.short:
            gg = self.state[f"gg_{side}"]
            q = self.state[f"q_{side}"]
            order = np.argsort(-np.diag(q.T @ gg @ q), stable=True)
            v = v[order] if side == "rows" else v[:, order]
            self.state[f"q_{side}"] = signed(np.linalg.qr(gg @ q[:, order]).Q)
        self.state["exp_avg_sq"] = v.reshape(self.parameter.shape)


def reference(config, parameter, rates):
    if not is_matrix(parameter.shape):
        return fallback(config, parameter, rates)
    return "formula: arXiv:2409.11321", Soap(config, parameter)


# The lengths of the sides differ by one at most: where they differ by more, the first
# gradient leaves more than one direction without an eigenvalue, and their basis is any.
SQUARES = ([4, 3], [3, 4], [5, 5], [3, 2, 2], [4, 5])
TWO = ([4, 3], [3, 4])
# Where eigenvalues are close to each other.
SINGLES = {
    "default/[4, 3]/30.0": 3,
    "default/[4, 5]/1.0": 10,
    "precondition_frequency_1/[4, 5]/1.0": 3,
    "precondition_frequency_3/[4, 3]/1.0": 3,
    "beta_1_zero/[3, 4]/1.0": 100,
    "epsilon/[4, 3]/1.0": 10,
    "beta_2_zero/[4, 3]/1.0": 3,
    "beta_2_zero/[3, 4]/1.0": 3,
}


def cases():
    collected = Cases("soap", 0.01, reference, singles=SINGLES)
    base = {"name": "soap"}
    betas = {"beta_1": 0.8, "beta_2": 0.99}
    beta = {"shampoo_beta": 0.8}
    epsilon = {"epsilon": 1e-2}
    one = {"precondition_frequency": 1}
    three = {"precondition_frequency": 3}
    five = {"max_precond_dim": 5}
    everything = {**betas, **beta, **epsilon, **three, **COUPLED, **UP, **FALLBACK}
    collected.everywhere("default", base, ([1], [7], [33], [4, 3]))
    collect(collected, base, {"default": {}}, (*SQUARES[1:], [1, 6], [6, 1]))
    frequencies = {"precondition_frequency_1": one, "precondition_frequency_3": three}
    collect(collected, base, frequencies, SQUARES)
    options = {
        "betas": betas,
        "beta_1_zero": {"beta_1": 0.0},
        "shampoo_beta": beta,
        "shampoo_beta_frequency_1": {**beta, **one},
        "epsilon": epsilon,
        "maximize": UP,
        "weight_decay": {"weight_decay": 0.5},
        "weight_decay_zero": {"weight_decay": 0.0},
        "coupled": COUPLED,
        "coupled_maximize": {**COUPLED, **UP},
    }
    collect(collected, base, options, TWO)
    # Without epsilon a step is as large however little of it there is.
    zero = {"beta_2_zero": {"beta_2": 0.0, **beta, **epsilon}}
    collect(collected, base, zero, TWO)
    # One side too long, either of them, and both.
    sided = {"one_side": five, "one_side_frequency_3": {**five, **three}}
    collect(collected, base, sided, ([3, 4, 5], [8, 3], [2, 3, 4, 5]))
    neither = {"no_side": {"max_precond_dim": 2}}
    collect(collected, base, neither, ([4, 3], [3, 2, 2]))
    collect(collected, base, {"everything": everything}, SQUARES)
    collect(collected, base, {"everything": {**everything, **five}}, ([2, 8],))
    collect_fallbacks(collected, base)
    return collected
