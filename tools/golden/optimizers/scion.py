"""Scion."""

import math

import numpy as np
from cases import SCALES, UP, Cases
from low_rank import MATRICES, collect_default
from matrices import (
    COEFFICIENT_SETS,
    LONG,
    OF_THE_ITERATION,
    Orthogonal,
    collect,
    is_matrix,
)


class Scion(Orthogonal):
    """arXiv:2502.07529: steps of one length in the norm that fits a parameter.

    d = momentum d + (1 - momentum) g
    p *= 1 - lr, if it is `constrained`;  p -= lr radius lmo(d)
    lmo(d): sqrt(outputs / inputs) / k O, with Muon's O, for a matrix, where k is the
    number of elements in the kernel of one output and one input
    d / (rms(d) + 1e-8) for what is none

    The authors have O in bfloat16, after epsilon is added to the norm; k is the square
    of the kernel's first dimension; the mean is over the first dimension, which is the
    same for a vector; and what has one row or one column is a matrix.
    """

    def setup(self, get):
        super().setup(get)
        self.momentum = get("momentum", 0.9)
        self.average, self.nesterov = True, False
        self.radius = get("radius", 50.0)
        # The constraint is a decay.
        self.DECOUPLED = True
        self.weight_decay = 1.0 if get("constrained", True) else 0.0

    def lmo(self, d):
        shape = self.parameter.shape
        if not is_matrix(shape):
            return d / (np.sqrt(np.mean(d * d)) + 1e-8)
        outputs, inputs = shape[1::-1] if self.layout.turned else shape[:2]
        outputs = outputs / self.layout.count
        scale = math.sqrt(outputs / inputs) / math.prod(shape[2:])
        return scale * self.orthogonalized(d)

    def update(self, t, learning_rate, gradient):
        return learning_rate * self.radius * self.lmo(self.ahead(gradient))


def reference(config, parameter, rates):
    return "formula: arXiv:2502.07529", Scion(config, parameter)


def cases():
    # A parameter is hardly more than the sum of what the iteration makes of rounded d.
    collected = Cases("scion", 0.01, reference, ("timm",), single=3)
    base = {"name": "scion"}
    free = {"constrained": False}
    momentum = {"momentum": 0.5}
    radius = {"radius": 2.0}
    quintic = COEFFICIENT_SETS["quintic"]
    everything = {
        **momentum,
        **radius,
        **free,
        **quintic,
        "ns_steps": 3,
        # Above the norm of d in some steps, below in others.
        "epsilon": 1.2,
        "safety_factor": 1.02,
        **UP,
    }
    collect_default(collected, base, ([1], [7], [33], [1, 6], [6, 1], [6, 1, 2, 2]))
    more = {"default": {}, "unconstrained": free}
    collect(collected, base, more, ([3, 4, 5], [2, 3, 4, 5]))
    options = {
        "unconstrained": free,
        "momentum": momentum,
        "momentum_zero": {"momentum": 0.0},
        "radius": radius,
        "maximize": UP,
        "unconstrained_maximize": {**free, **UP},
    }
    collect(collected, base, options, ([7], [4, 3], [3, 8], [3, 2, 2]))
    for grad_scale in SCALES:
        collected.add("default", base, [7], grad_scale)
    collect(collected, base, OF_THE_ITERATION, ([4, 3], [8, 3]))
    for case, changes in COEFFICIENT_SETS.items():
        for shape in ([4, 3], [3, 8]):
            collected.add(case, {**base, **changes}, shape, single=20)
    collect(collected, base, LONG, ([4, 3],))
    for case, changes, shapes in (
        ("in_out", {"layout": "in_out"}, ([4, 3], [4, 3, 2])),
        ("out_in", {"layout": "out_in"}, ([4, 3], [3, 8], [4, 3, 2])),
        ("parts", {"parts": 3}, ([4, 6], [5, 3], [6, 2, 2])),
        ("parts_in_out", {"parts": 3, "layout": "in_out"}, ([4, 3, 2], [2, 6, 2])),
        ("parts_out_in", {"parts": 2, "layout": "out_in"}, ([4, 3],)),
    ):
        collect(collected, base, {case: changes}, shapes)
    shapes = ([7], *MATRICES, [3, 4, 5])
    collect(collected, base, {"everything": everything}, shapes)
    return collected
