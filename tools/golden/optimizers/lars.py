"""LARS."""

import functools

import numpy as np
import optax
from cases import Cases
from formulas import Formula
from libraries import Named, Optax, find, schedule
from pytorch_optimizer import LARS as Library


class Lars(Formula):
    """arXiv:1708.03888, as in pytorch_optimizer.LARS or as in optax.lars.

    paper: d = tc |p| / (|g| + wd |p| + eps) (g + wd p)
    optax: d = lr tc |p| / (|g + wd p| + eps) (g + wd p)
    b = momentum b + (1 - dampening) d
    p -= lr b, or lr (d + momentum b) with Nesterov momentum; without lr in optax

    The ratio is 1 where p or what is below is 0. A vector has neither a ratio nor a
    decay unless `adapt_vectors` is set.
    """

    def setup(self, get):
        self.momentum = get("momentum", 0.9)
        self.dampening = get("dampening", 0.0)
        self.nesterov = get("nesterov", False)
        self.trust_coefficient = get("trust_coefficient", 1e-3)
        self.epsilon = get("epsilon", 0.0)
        self.optax = get("variant", "paper") == "optax"
        self.adapts = self.parameter.ndim > 1 or get("adapt_vectors", False)
        if self.momentum != 0.0:
            self.state["momentum_buffer"] = self.zeros()

    def adapted(self, gradient):
        decayed = gradient + self.weight_decay * self.parameter
        length = np.linalg.norm(self.parameter)
        if self.optax:
            norm = np.linalg.norm(decayed)
            still = norm == 0.0
            below = norm + self.epsilon
        else:
            below = np.linalg.norm(gradient) + self.weight_decay * length
            below = below + self.epsilon
            still = below == 0.0
        if length == 0.0 or still:
            return decayed
        return self.trust_coefficient * length / below * decayed

    def step(self, t, learning_rate, gradient):
        if self.config.get("maximize", False):
            gradient = -gradient
        direction = self.adapted(gradient) if self.adapts else gradient
        if self.optax:
            direction = learning_rate * direction
        if self.momentum != 0.0:
            buffer = self.momentum * self.state["momentum_buffer"]
            buffer = buffer + (1.0 - self.dampening) * direction
            self.state["momentum_buffer"] = buffer
            ahead = direction + self.momentum * buffer
            direction = ahead if self.nesterov else buffer
        if not self.optax:
            direction = learning_rate * direction
        self.parameter = self.parameter - direction


def in_optax(config, parameter, rates):
    get = config.get
    momentum = get("momentum", 0.9)
    adapts = parameter.ndim > 1 or get("adapt_vectors", False)
    transformation = optax.lars(
        schedule(rates),
        weight_decay=get("weight_decay", 0.0),
        weight_decay_mask=adapts,
        trust_coefficient=get("trust_coefficient", 1e-3),
        eps=get("epsilon", 0.0),
        trust_ratio_mask=adapts,
        momentum=momentum,
        nesterov=get("nesterov", False),
    )

    def read(state):
        # It is added to the parameter.
        trace = find(state, optax.TraceState).trace
        return {} if momentum == 0.0 else {"momentum_buffer": -trace}

    return Optax(transformation, parameter, read, get("maximize", False))


def in_library(config, parameter):
    get = config.get
    momentum = get("momentum", 0.9)
    optimizer = functools.partial(
        Library,
        momentum=momentum,
        dampening=get("dampening", 0.0),
        nesterov=get("nesterov", False),
        trust_coefficient=get("trust_coefficient", 1e-3),
        weight_decay=get("weight_decay", 0.0),
        maximize=get("maximize", False),
    )
    names = {} if momentum == 0.0 else {"momentum_buffer": "momentum_buffer"}
    return Named(optimizer, parameter, names)


def reference(config, parameter, rates):
    get = config.get
    if get("variant", "paper") == "optax":
        if get("dampening", 0.0) == 0.0:
            return "optax.lars", in_optax(config, parameter, rates)
        return "formula: optax.lars with dampening", Lars(config, parameter)
    # The library has no epsilon and leaves vectors out.
    vectors = get("adapt_vectors", False) and parameter.ndim == 1
    if get("epsilon", 0.0) == 0.0 and not vectors:
        return "pytorch_optimizer.LARS", in_library(config, parameter)
    return "formula: arXiv:1708.03888", Lars(config, parameter)


def cases():
    collected = Cases("lars", 1.0, reference, ("pytorch_optimizer",))
    base = {"name": "lars"}
    nesterov = {"nesterov": True}
    epsilon = {"epsilon": 0.5}
    vectors = {"adapt_vectors": True}
    decay = {"weight_decay": 0.1}
    library = {"variant": "optax"}
    up = {"maximize": True}
    everything = {
        "momentum": 0.8,
        "dampening": 0.3,
        **nesterov,
        "trust_coefficient": 1e-2,
        **epsilon,
        **vectors,
        **decay,
        **up,
    }
    collected.everywhere("default", base)
    collected.options(
        base,
        {
            "momentum_zero": {"momentum": 0.0},
            "momentum": {"momentum": 0.5},
            "dampening": {"dampening": 0.3},
            "nesterov": nesterov,
            "trust_coefficient": {"trust_coefficient": 0.1},
            "epsilon": epsilon,
            "adapt_vectors": vectors,
            "weight_decay": decay,
            "weight_decay_vectors": {**vectors, **decay},
            "maximize": up,
            "optax": library,
            "optax_nesterov_weight_decay_vectors": {
                **library,
                **nesterov,
                **vectors,
                **decay,
            },
            "optax_epsilon": {**library, **epsilon},
            "optax_everything": {**library, **everything},
            "everything": everything,
        },
    )
    return collected
