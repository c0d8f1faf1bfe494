"""PSGD with a Kronecker product of two preconditioners."""

import math

import numpy as np
import torch
from cases import UP, Cases
from low_rank import (
    MATRICES,
    OF_COUPLED,
    OF_DECAY,
    TWO,
    Decoupled,
    collect_default,
    normals,
)
from matrices import FALLBACK, collect, collect_fallbacks, fallback, is_matrix

# The least number that a bfloat16 or float32 has without losing digits.
TINY = 2.0**-126


class PsgdKron(Decoupled):
    """arXiv:1512.04202 and 2402.11858, as timm.optim.Kron has it.

    m = b1 m + (1 - b1) g;  M = m / (1 - b1^t)
    prob = exp(-decay (t - 1 - flat_start)), at least `min_prob`, at most 1
    counter += 1;  in calls where counter >= 1 / prob it is 0 again, and
        if `balance_every` divides the number of updates until now, which is not 0
            Q_1 *= sqrt(n_1 n_2) / n_1, Q_2 *= sqrt(n_1 n_2) / n_2 with n = max |Q|
        V = normal numbers of this call
        A = Q_1 M Q_2^T;  B = Q_1^-T V Q_2^-1
        S_1 = A A^T, T_1 = B B^T;  S_2 = A^T A, T_2 = B^T B
        Q -= precond_lr triu(S - T) / (bound(S + T) + tiny) Q, both of them
    u = Q_1^T Q_1 M Q_2^T Q_2;  u *= min(1, clip / (rms(u) + 1e-8));  p -= lr u

    Both Q are upper triangular and start as sqrt(precond_init_scale) I. That of a side
    longer than `max_size_triangular` is diagonal: of S and T it has the diagonals, and
    bound is their largest element. Else it is a lower bound of the spectral norm: with
    X = (S + T) / max |S + T|, x the row of X with the largest norm, the first of
    equals, and y = X x, it is max |S + T| |X y| / |y|.

    timm has V from torch's generator, and balances in one of a hundred updates by
    chance; a matrix of more dimensions has a Q for each of them; and B is found in
    float32.
    """

    def setup(self, get):
        super().setup(get)
        self.beta_1 = get("beta_1", 0.9)
        self.precond_lr = get("precond_lr", 0.1)
        self.seed = get("seed", 0)
        self.clip = get("clip", 1.1)
        self.flat_start = get("flat_start", 500)
        self.decay = get("decay", 0.001)
        self.min_prob = get("min_prob", 0.03)
        self.balance_every = get("balance_every", 100)
        longest = get("max_size_triangular", 8192)
        start = math.sqrt(get("precond_init_scale", 1.0))
        self.state["momentum_buffer"] = self.zeros()
        for name, length in zip(("q_rows", "q_cols"), self.sides, strict=True):
            make = np.ones if length > longest else np.eye
            self.state[name] = start * make(length, dtype=self.parameter.dtype)
        self.state["update_counter"] = np.zeros((1, 1))
        self.state["updates"] = np.zeros((1, 1))

    def update(self, t, learning_rate, gradient):
        m = self.beta_1 * self.state["momentum_buffer"]
        m = m + (1.0 - self.beta_1) * gradient
        self.state["momentum_buffer"] = m
        m = (m / (1.0 - self.beta_1**t)).reshape(self.sides)
        if self.is_time(t - 1):
            self.follow(t, m)
        rows, cols = self.state["q_rows"], self.state["q_cols"]
        u = times(turned(rows), times(rows, m))
        u = times(turned(cols), times(cols, u.T)).T
        u = u * min(1.0, self.clip / (np.sqrt(np.mean(u * u)) + 1e-8))
        return learning_rate * u.reshape(gradient.shape)

    def is_time(self, calls):
        """Whether Q is updated after so many calls."""
        late = max(0.0, calls - self.flat_start)
        prob = max(self.min_prob, math.exp(-self.decay * late))
        counter = self.state["update_counter"] + 1.0
        is_time = bool(counter[0, 0] >= 1.0 / prob)
        self.state["update_counter"] = 0.0 * counter if is_time else counter
        return is_time

    def follow(self, t, m):
        updates = self.state["updates"][0, 0]
        if updates > 0 and updates % self.balance_every == 0:
            self.balance()
        self.state["updates"] = self.state["updates"] + 1.0
        rows, cols = self.state["q_rows"], self.state["q_cols"]
        v = normals(self.seed, t, *self.sides).astype(m.dtype)
        a = times(cols, times(rows, m).T).T
        b = divided(cols, divided(rows, v).T).T
        moved_rows = self.moved(rows, a, b)
        self.state["q_cols"] = self.moved(cols, a.T, b.T)
        self.state["q_rows"] = moved_rows

    def moved(self, q, a, b):
        if q.ndim == 1:
            s, t = (a * a).sum(axis=1), (b * b).sum(axis=1)
            return q - self.precond_lr * (s - t) * q / (np.max(s + t) + TINY)
        s, t = a @ a.T, b @ b.T
        step = self.precond_lr * np.triu(s - t) / (bound(s + t) + TINY)
        return q - step @ q

    def balance(self):
        rows, cols = (np.max(np.abs(self.state[x])) for x in ("q_rows", "q_cols"))
        mean = np.sqrt(rows * cols)
        self.state["q_rows"] = mean / rows * self.state["q_rows"]
        self.state["q_cols"] = mean / cols * self.state["q_cols"]


def turned(q):
    return q.T


def times(q, x):
    """Q x, where Q may be a diagonal."""
    return q[:, None] * x if q.ndim == 1 else q @ x


def divided(q, x):
    """Q^-T x."""
    if q.ndim == 1:
        return x / q[:, None]
    q, x = torch.tensor(q), torch.tensor(np.ascontiguousarray(x))
    return torch.linalg.solve_triangular(q.T, x, upper=False).numpy()


def bound(x):
    """What the spectral norm of a symmetric matrix is at least."""
    largest = np.max(np.abs(x))
    if largest == 0.0:
        return largest
    x = x / largest
    squares = (x * x).sum(axis=1)
    # No row is the longest by a rounding error, in single precision either.
    first, second = np.sort(squares)[-1:-3:-1]
    assert first - second > 1e-5 * first
    y = x @ x[np.argmax(squares)]
    return largest * np.linalg.norm(x @ (y / np.linalg.norm(y)))


def reference(config, parameter, rates):
    if not is_matrix(parameter.shape):
        return fallback(config, parameter, rates)
    source = "formula: timm.optim.Kron with numbers from a counter"
    return source, PsgdKron(config, parameter)


def cases():
    collected = Cases("psgd_kron", 0.01, reference)
    base = {"name": "psgd_kron"}
    at_once = {"flat_start": 0}
    rare = {"flat_start": 10, "decay": 0.1, "min_prob": 0.3}
    seven = {"balance_every": 7}
    one_side = {"max_size_triangular": 3}
    neither = {"max_size_triangular": 1}
    everything = {
        "beta_1": 0.8,
        "precond_lr": 0.2,
        "precond_init_scale": 0.5,
        "max_size_triangular": 3,
        "seed": 3,
        "clip": 0.7,
        **rare,
        **seven,
        "weight_decay": 0.5,
        **UP,
        **FALLBACK,
    }
    collect_default(collected, base)
    kinds = {
        # Every second call from the first on.
        "flat_start_zero": at_once,
        # In ever fewer calls, and in every fourth in the end.
        "rare": rare,
        # Two different sides, one of them, or none.
        "one_side": one_side,
        "no_side": neither,
        "balance_every_7": seven,
    }
    collect(collected, base, kinds, MATRICES)
    options = {
        "flat_start": {"flat_start": 30},
        "decay": {**at_once, "decay": 0.05},
        # Once in seven calls.
        "min_prob": {**at_once, "decay": 1.0, "min_prob": 0.15},
        # Never again after the first.
        "min_prob_small": {**at_once, "decay": 1.0, "min_prob": 1e-3},
        "balance_every_7_no_side": {**seven, **neither},
        "beta_1": {"beta_1": 0.5},
        "beta_1_zero": {"beta_1": 0.0},
        "precond_lr": {"precond_lr": 0.3},
        "precond_init_scale": {"precond_init_scale": 4.0},
        "seed": {"seed": 1},
        "seed_large": {"seed": 2**53 - 1},
        "clip": {"clip": 0.3},
        "clip_large": {"clip": 100.0},
        **OF_DECAY,
        **OF_COUPLED,
    }
    collect(collected, base, options, TWO)
    collect(collected, base, {"everything": everything}, MATRICES)
    collect_fallbacks(collected, base)
    return collected
