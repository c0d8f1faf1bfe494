"""DoG, distance over gradients."""

import dog
import torch
from cases import Cases

from .prodigy import WholeModel


class Dog(WholeModel):
    """The parameter at the start is a buffer of the group."""

    @property
    def state(self):
        (group,) = self.optimizer.param_groups
        (first,) = group["init_buffer"]
        return {"p0": first.numpy(), **super().state}


class Averaged(Dog):
    """With the authors' average of the parameters."""

    def __init__(self, gamma, *arguments):
        super().__init__(*arguments)
        model = torch.nn.ParameterList([self.tensor])
        self.averager = dog.PolynomialDecayAverager(model, gamma)

    def step(self, t, learning_rate, gradient):
        super().step(t, learning_rate, gradient)
        self.averager.step()

    def evaluated(self):
        """The average."""
        (averaged,) = self.averager.averaged_model
        return averaged.detach().numpy()

    @property
    def state(self):
        return {**super().state, "averaged": self.evaluated()}


def library(config):
    get = config.get
    return "dog.DoG", lambda tensors: dog.DoG(
        tensors,
        reps_rel=get("reps_rel", 1e-6),
        eps=get("epsilon", 1e-8),
        weight_decay=get("weight_decay", 0.0),
    )


def numbers(optimizer):
    group = optimizer.param_groups[0]
    return {"rbar": float(group["rbar"]), "sum_sq": float(group["G"])}


def reference(config, parameter, rates):
    source, make = library(config)
    arguments = (make, parameter, {}, numbers, config.get("maximize", False))
    gamma = config.get("averaging")
    if gamma is None:
        return source, Dog(*arguments)
    return f"{source}, dog.PolynomialDecayAverager", Averaged(gamma, *arguments)


def cases():
    collected = Cases("dog", 1.0, reference, ("dog-optimizer",))
    base = {"name": "dog"}
    # From the default the distance is the first 60 steps far below what moves anything.
    start = {"reps_rel": 1e-1}
    averaging = {"averaging": 8.0}
    # Beside sums of squares from 1 up.
    epsilon = {"epsilon": 10.0}
    decay = {"weight_decay": 0.1}
    up = {"maximize": True}
    # A way of 1e-6 is lost in the last digits of the parameter in single precision.
    collected.everywhere("default", base, single=0)
    collected.options(
        {**base, **start},
        {
            "reps_rel": {},
            "epsilon": epsilon,
            "averaging": averaging,
            "averaging_gamma": {"averaging": 2.0},
            "averaging_gamma_zero": {"averaging": 0.0},
            "weight_decay": decay,
            "maximize": up,
            "maximize_weight_decay": {**decay, **up},
            "averaging_weight_decay": {**averaging, **decay},
            "everything": {**epsilon, "averaging": 4.0, **decay, **up},
        },
    )
    return collected
