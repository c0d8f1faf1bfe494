"""SM3."""

import functools

from cases import Cases
from libraries import Named
from pytorch_optimizer import SM3


class Rows(Named):
    """Rows and columns of any tensor: the first dimension, and the others as one."""

    def __init__(self, optimizer, parameter, names, weight_decay):
        self.shape = parameter.shape
        super().__init__(optimizer, in_rows(parameter), names)
        # The library has none.
        self.decay_before_step = weight_decay

    def step(self, t, learning_rate, gradient):
        super().step(t, learning_rate, in_rows(gradient))

    @property
    def parameter(self):
        return super().parameter.reshape(self.shape)


def in_rows(array):
    return array.reshape(len(array), -1) if array.ndim > 2 else array


def reference(config, parameter, rates):
    get = config.get
    momentum = get("momentum", 0.0)
    weight_decay = get("weight_decay", 0.0)
    optimizer = functools.partial(
        SM3,
        momentum=momentum,
        beta=get("beta", 0.0),
        eps=get("epsilon", 1e-30),
        maximize=get("maximize", False),
    )
    source = "pytorch_optimizer.SM3"
    if parameter.ndim > 2:
        source += " of rows"
    if weight_decay != 0.0:
        source += " after p *= 1 - learning_rate * weight_decay"
    if parameter.ndim < 2:
        names = {"accumulator_0": "accumulator"}
    else:
        names = {f"accumulator_{i}": f"accumulator_{i}" for i in (0, 1)}
    if momentum != 0.0:
        names["momentum_buffer"] = "momentum_buffer"
    return source, Rows(optimizer, parameter, names, weight_decay)


def cases():
    collected = Cases("sm3", 0.1, reference, ("pytorch_optimizer",))
    base = {"name": "sm3"}
    momentum = {"momentum": 0.9}
    beta = {"beta": 0.9}
    decay = {"weight_decay": 0.1}
    up = {"maximize": True}
    table = {
        "momentum": momentum,
        "beta": beta,
        "momentum_beta": {**momentum, **beta},
        "epsilon": {"epsilon": 1.0},
        "beta_epsilon": {**beta, "epsilon": 1e-2},
        "weight_decay": decay,
        "momentum_weight_decay": {**momentum, **decay},
        "maximize": up,
        "maximize_weight_decay": {**decay, **up},
        "everything": {
            "momentum": 0.5,
            "beta": 0.8,
            "epsilon": 1e-2,
            **decay,
            **up,
        },
    }
    collected.everywhere("default", base)
    collected.options(base, table)
    for case in ("momentum_beta", "everything"):
        collected.add(case, {**base, **table[case]}, [3, 4, 5])
    return collected
