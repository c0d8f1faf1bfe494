"""What the optimizers have in common that step matrices as such."""

import math

import numpy as np
import optimizers
import torch
from cases import DECAY, UP
from formulas import Formula
from optimizers.cautious import timm

newton_schulz = timm("muon", "zeropower_via_newtonschulz")
COEFFICIENTS = timm("muon", "_COEFFICIENTS")


class Layout:
    """A parameter as matrices [out, in], one for each part of its outputs.

    `layout` "in_out" has the inputs in the first dimension and the outputs in all
    others, "out_in" the outputs in the first and the inputs in all others, and "auto"
    the former for a matrix, the latter for more dimensions. Of `parts` matrices each
    has as many of the outputs, one after another.
    """

    def __init__(self, config, shape):
        layout = config.get("layout", "auto")
        if layout == "auto":
            layout = "in_out" if len(shape) == 2 else "out_in"
        self.turned = layout == "in_out"
        self.shape = shape
        self.count = config.get("parts", 1)
        # The dimensions of the inputs.
        self.inputs = (0,) if self.turned else tuple(range(1, len(shape)))

    def split(self, array):
        matrix = array.reshape(self.shape[0], -1)
        matrix = matrix.T if self.turned else matrix
        return [np.ascontiguousarray(part) for part in np.split(matrix, self.count)]

    def join(self, parts):
        matrix = np.concatenate(parts)
        matrix = matrix.T if self.turned else matrix
        return np.ascontiguousarray(matrix).reshape(self.shape)

    def sides(self):
        """The outputs and inputs of one part."""
        inputs = math.prod(self.shape[i] for i in self.inputs)
        return math.prod(self.shape) // inputs // self.count, inputs


def is_matrix(shape):
    return len(shape) >= 2 and min(shape[:2]) > 1


class Fallback:
    """Another optimizer, at `fallback_rate` times the learning rate."""

    def __init__(self, inner, rate):
        self.inner = inner
        self.rate = rate

    def step(self, t, learning_rate, gradient):
        self.inner.step(t, self.rate * learning_rate, gradient)

    @property
    def parameter(self):
        return self.inner.parameter

    @property
    def state(self):
        return self.inner.state


def fallback(config, parameter, rates):
    """What steps all that is no matrix, of which only `fallback` has the settings."""
    rate = config.get("fallback_rate", 1.0)
    rates = [rate * x for x in rates or ()]
    config = config.get("fallback", {"name": "adamw"})
    source, inner = optimizers.reference(config, parameter, rates)
    return source, Fallback(inner, rate)


class Orthogonal(Formula):
    """The momentum of Muon and the iteration of Newton and Schulz, as timm has it.

    B = mu B + (1 - mu) g;  U = (1 - mu) g + mu B with Nesterov momentum, else U = B
    without `ema_momentum`: B = mu B + g;  U = g + mu B or U = B
    X = U / max(safety_factor |U|, eps), and `ns_steps` times with the next a, b, c
    A = X X^T;  X = a X + (b A + c A^2) X
    O = the last X

    of each of the matrices of `Layout` alone; after the last coefficients come these
    again. `scale` is by the sides of one of the matrices:

    original: sqrt(max(1, out / in));  match_rms_adamw: 0.2 sqrt(max(out, in))
    spectral_unclamped: sqrt(out / in)
    """

    def setup(self, get):
        self.DECOUPLED = get("weight_decay_kind", "decoupled") == "decoupled"
        self.layout = Layout(self.config, self.parameter.shape)
        self.momentum = get("momentum", 0.95)
        self.average = get("ema_momentum", True)
        self.nesterov = get("nesterov", True)
        self.coefficients = COEFFICIENTS[get("ns_coefficients", "original")]
        self.steps = get("ns_steps", 5)
        self.epsilon = get("epsilon", 1e-7)
        self.safety_factor = get("safety_factor", 1.0)
        outputs, inputs = self.layout.sides()
        self.scale = {
            "original": max(1.0, outputs / inputs) ** 0.5,
            "match_rms_adamw": 0.2 * max(outputs, inputs) ** 0.5,
            "spectral_unclamped": (outputs / inputs) ** 0.5,
        }[get("adjust_lr", "original")]
        self.state["momentum_buffer"] = self.zeros()

    def ahead(self, gradient):
        """U."""
        if self.average:
            gradient = (1.0 - self.momentum) * gradient
        buffer = self.momentum * self.state["momentum_buffer"] + gradient
        self.state["momentum_buffer"] = buffer
        return gradient + self.momentum * buffer if self.nesterov else buffer

    def orthogonalized(self, u):
        """O."""
        return self.layout.join(
            [
                newton_schulz(
                    torch.tensor(part),
                    self.steps,
                    self.coefficients,
                    self.epsilon,
                    self.safety_factor,
                    torch.float64,
                ).numpy()
                for part in self.layout.split(u)
            ]
        )


def sides(shape):
    """Rows and columns of the matrix whose rows are the first dimension."""
    return shape[0], math.prod(shape[1:])


def gram(side, matrix):
    """g g^T, of the "rows" of g, or g^T g, of its "cols"."""
    return matrix @ matrix.T if side == "rows" else matrix.T @ matrix


def signed(basis):
    """The entry of largest magnitude of each column positive, the first of equals."""
    largest = np.argmax(np.abs(basis), axis=0)
    return basis * np.sign(basis[largest, np.arange(basis.shape[1])])


def eigenvectors(matrix):
    """One in each column, those of the largest eigenvalues first."""
    return signed(np.linalg.eigh(matrix).eigenvectors[:, ::-1])


class Eigenbases(Formula):
    """The two sides of a matrix g, and a basis of each.

    L = beta L + (1 - beta) g g^T, R likewise of g^T g;  Q_L, Q_R are bases of theirs
    to the basis: Q_L^T g Q_R;  and back: Q_L x Q_R^T

    A side longer than `max_precond_dim` has neither, as if its basis were I. All
    dimensions but the first are the columns.
    """

    def setup(self, get):
        self.DECOUPLED = get("weight_decay_kind", "decoupled") == "decoupled"
        self.sides = sides(self.parameter.shape)
        largest = get("max_precond_dim", 10000)
        lengths = zip(("rows", "cols"), self.sides, strict=True)
        self.short = {side: length for side, length in lengths if length <= largest}
        self.frequency = get("precondition_frequency", self.FREQUENCY)
        self.state["exp_avg"] = self.zeros()
        for side, length in self.short.items():
            eye = np.eye(length, dtype=self.parameter.dtype)
            self.state[f"gg_{side}"] = 0.0 * eye
            self.state[f"q_{side}"] = eye

    def into(self, array):
        matrix = array.reshape(self.sides)
        if "rows" in self.short:
            matrix = self.state["q_rows"].T @ matrix
        if "cols" in self.short:
            matrix = matrix @ self.state["q_cols"]
        return matrix.reshape(array.shape)

    def back(self, array):
        matrix = array.reshape(self.sides)
        if "rows" in self.short:
            matrix = self.state["q_rows"] @ matrix
        if "cols" in self.short:
            matrix = matrix @ self.state["q_cols"].T
        return matrix.reshape(array.shape)

    def observe(self, gradient, beta):
        for side in self.short:
            square = gram(side, gradient.reshape(self.sides))
            gg = beta * self.state[f"gg_{side}"] + (1.0 - beta) * square
            self.state[f"gg_{side}"] = gg


# Both ways to turn, and a square.
MATRICES = ([4, 3], [3, 8], [8, 3], [5, 5])
TWO_MATRICES = ([4, 3], [3, 8])
MOMENTUM = {"momentum": 0.8}
NO_NESTEROV = {"nesterov": False}
SUM = {"ema_momentum": False}
COUPLED = {"weight_decay_kind": "coupled", "weight_decay": 0.3}
FALLBACK = {"fallback": {"name": "sgd", "momentum": 0.9}, "fallback_rate": 0.5}
# The settings that all of these optimizers have, by what they concern.
OF_MOMENTUM = {
    "momentum": MOMENTUM,
    "momentum_zero": {"momentum": 0.0},
    "no_nesterov": NO_NESTEROV,
    "sum": SUM,
    "sum_no_nesterov": {**SUM, **NO_NESTEROV},
    "maximize": UP,
    "weight_decay": {"weight_decay": 0.5},
    "coupled": COUPLED,
    "coupled_maximize": {**COUPLED, **UP},
}
COEFFICIENT_SETS = {
    "quintic": {"ns_coefficients": "quintic"},
    "polar_express": {"ns_coefficients": "polar_express"},
    "polar_express_safer": {"ns_coefficients": "polar_express_safer"},
}
OF_THE_ITERATION = {
    "ns_steps": {"ns_steps": 2},
    "epsilon": {"epsilon": 10.0},
    "safety_factor": {"safety_factor": 1.02},
}
# More steps than coefficients.
LONG = {
    "quintic_long": {"ns_coefficients": "quintic", "ns_steps": 7},
    "polar_express_long": {"ns_coefficients": "polar_express", "ns_steps": 10},
}
EVERYTHING = {
    **MOMENTUM,
    **SUM,
    **NO_NESTEROV,
    "ns_coefficients": "quintic",
    "ns_steps": 3,
    # Above the norm of U in some steps, below in others.
    "epsilon": 4.0,
    "safety_factor": 1.02,
    **COUPLED,
    **UP,
    **FALLBACK,
}


def collect(collected, base, table, shapes):
    for case, changes in table.items():
        for shape in shapes:
            collected.add(case, {**base, **changes}, shape)


def collect_common(collected, base, sides=None):
    """The default, the settings of all, the layouts and the fallback.

    `sides` is a setting with which the step shows which side of a matrix is which. None
    where there is no such setting: the layout then matters to parts only.
    """
    collected.everywhere("default", base)
    collect(collected, base, {"default": {}}, (*MATRICES[1:], [1, 6], [6, 1]))
    collect(collected, base, OF_MOMENTUM, TWO_MATRICES)
    collect(collected, base, OF_THE_ITERATION, ([4, 3], [8, 3]))
    collect(collected, base, COEFFICIENT_SETS, MATRICES)
    collect(collected, base, LONG, ([4, 3], [5, 5]))
    if sides is not None:
        in_out = {"in_out": {"layout": "in_out", **sides}}
        out_in = {"out_in": {"layout": "out_in", **sides}}
        collect(collected, base, in_out, ([4, 3], [4, 3, 2]))
        collect(collected, base, out_in, ([4, 3], [3, 8], [4, 3, 2]))
    for case, changes, shapes in (
        ("parts", {"parts": 3}, ([4, 6], [5, 3], [6, 2, 2])),
        ("parts_in_out", {"parts": 3, "layout": "in_out"}, ([4, 3, 2],)),
        ("parts_out_in", {"parts": 2, "layout": "out_in"}, ([4, 3],)),
    ):
        collect(collected, base, {case: {**changes, **(sides or {})}}, shapes)
    collect_fallbacks(collected, base)


def collect_fallbacks(collected, base):
    adamw = {
        "name": "adamw",
        "beta_1": 0.8,
        "beta_2": 0.99,
        "epsilon": 1e-2,
        **DECAY,
    }
    fallbacks = {
        "fallback": FALLBACK,
        "fallback_rate": {"fallback_rate": 0.5},
        "fallback_options": {"fallback": adamw},
    }
    collect(collected, base, fallbacks, ([7],))
    # It has nothing to do with a matrix.
    collect(collected, base, {"fallback": FALLBACK}, ([1, 6], [4, 3]))
