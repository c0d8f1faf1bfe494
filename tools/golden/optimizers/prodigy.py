"""Prodigy."""

import contextlib
import io
import math

import numpy as np
import prodigyopt
import pytorch_optimizer
from cases import Cases
from libraries import Named


class WholeModel(Named):
    """An optimizer that has numbers for all of its tensors together.

    `library` makes it of a list of tensors, and `numbers` reads the numbers.
    """

    def __init__(self, library, parameter, names, numbers, maximize=False):
        super().__init__(
            lambda tensors, foreach: library(tensors), parameter, names, maximize
        )
        self.numbers = numbers

    @property
    def state(self):
        numbers = self.numbers(self.optimizer).items()
        return {**super().state, **{name: np.array([x]) for name, x in numbers}}


def silently(make):
    """`make` without what it prints: that the decay is decoupled."""

    def quiet(tensors):
        with contextlib.redirect_stdout(io.StringIO()):
            return make(tensors)

    return quiet


def limit(growth_rate):
    return math.inf if growth_rate is None else growth_rate


def library(config):
    """The source's name, and what makes the optimizer of a list of tensors."""
    get = config.get
    options = {
        "betas": (get("beta_1", 0.9), get("beta_2", 0.999)),
        "beta3": get("beta_3"),
        "eps": get("epsilon", 1e-8),
        "d0": get("d0", 1e-6),
        "d_coef": get("d_coef", 1.0),
        "growth_rate": limit(get("growth_rate")),
        "safeguard_warmup": get("safeguard_warmup", False),
        "weight_decay": get("weight_decay", 0.0),
    }
    corrected = get("use_bias_correction", False)
    if get("beta_1", 0.9) == 0.0:
        # The authors' class has no moment then, and multiplies the gradient by the new
        # d, where the moment has the old one.
        return "pytorch_optimizer.Prodigy", lambda tensors: pytorch_optimizer.Prodigy(
            tensors, foreach=False, bias_correction=corrected, **options
        )
    return "prodigyopt.Prodigy", silently(
        lambda tensors: prodigyopt.Prodigy(
            tensors, use_bias_correction=corrected, **options
        )
    )


def numbers(optimizer):
    group = optimizer.param_groups[0]
    return {name: float(group[name]) for name in ("d", "d_max", "d_numerator")}


def reference(config, parameter, rates):
    source, make = library(config)
    names = {name: name for name in ("exp_avg", "exp_avg_sq", "p0", "s")}
    maximize = config.get("maximize", False)
    return source, WholeModel(make, parameter, names, numbers, maximize)


def cases():
    # Estimates that feed on themselves multiply what single precision rounds.
    packages = ("prodigyopt", "pytorch_optimizer")
    collected = Cases("prodigy", 1.0, reference, packages, single=10)
    base = {"name": "prodigy"}
    # From the default the estimate is the first 60 steps far below what moves anything.
    start = {"d0": 0.1}
    decay = {"weight_decay": 0.1}
    up = {"maximize": True}
    # A way of 1e-6 is lost in the last digits of the parameter in single precision.
    collected.everywhere("default", base, single=0)
    collected.options(
        {**base, **start},
        {
            "d0": {},
            "betas": {"beta_1": 0.8, "beta_2": 0.99},
            "beta_1_zero": {"beta_1": 0.0},
            "beta_3": {"beta_3": 0.9},
            "epsilon": {"epsilon": 1e-1},
            "d_coef": {"d_coef": 0.5},
            "growth_rate": {"growth_rate": 1.02},
            "use_bias_correction": {"use_bias_correction": True},
            "safeguard_warmup": {"safeguard_warmup": True},
            "safeguard_warmup_corrected": {
                "safeguard_warmup": True,
                "use_bias_correction": True,
            },
            "weight_decay": decay,
            "maximize": up,
            "maximize_weight_decay": {**decay, **up},
            "everything": {
                "beta_1": 0.8,
                "beta_2": 0.99,
                "beta_3": 0.9,
                "epsilon": 1e-2,
                "d_coef": 3.0,
                "growth_rate": 1.05,
                "use_bias_correction": True,
                "safeguard_warmup": True,
                **decay,
                **up,
            },
        },
    )
    return collected
