"""Amos."""

import math

from cases import Cases
from libraries import Named
from pytorch_optimizer import Amos


def scale_of(shape):
    """The library's for our matrices, whose inputs are the first dimension."""
    if len(shape) < 2:
        return 0.5
    return math.sqrt(2.0 / shape[0] if len(shape) == 2 else 1.0 / shape[1])


def reference(config, parameter, rates):
    get = config.get
    momentum = get("momentum", 0.0)
    extra_l2 = get("extra_l2", 0.0)
    scale = get("scale", None)
    scale = scale_of(parameter.shape) if scale is None else scale

    def optimizer(tensors, foreach):
        library = Amos(
            tensors,
            beta=get("beta", 0.999),
            momentum=momentum,
            c_coef=get("c_coef", 0.25),
            d_coef=get("d_coef", 0.25),
            eps=get("epsilon", 1e-18),
            maximize=get("maximize", False),
            foreach=foreach,
        )
        library.get_scale = lambda tensor: scale
        # Unlike the authors the library halves it and turns its sign: weights would grow.
        library.param_groups[0]["extra_l2"] = -2.0 * extra_l2
        return library

    source = f"pytorch_optimizer.Amos with a scale of {scale}"
    if extra_l2 != 0.0:
        source += f" and an extra_l2 of {-2.0 * extra_l2}"
    names = {"exp_avg_sq": "exp_avg_sq", "decay": "decay"}
    if momentum != 0.0:
        names["exp_avg"] = "exp_avg"
    return source, Named(optimizer, parameter, names)


def cases():
    collected = Cases("amos", 0.1, reference, ("pytorch_optimizer",))
    base = {"name": "amos"}
    momentum = {"momentum": 0.9}
    extra = {"extra_l2": 0.01}
    scale = {"scale": 0.8}
    up = {"maximize": True}
    table = {
        "beta": {"beta": 0.9},
        "beta_zero": {"beta": 0.0},
        "momentum": momentum,
        "extra_l2": extra,
        "momentum_extra_l2": {**momentum, **extra},
        "c_coef": {"c_coef": 2.0},
        "d_coef": {"d_coef": 2.0},
        "coefs_zero": {"c_coef": 0.0, "d_coef": 0.0},
        "epsilon": {"epsilon": 1e-2},
        "scale": scale,
        "maximize": up,
        "everything": {
            "beta": 0.95,
            "momentum": 0.8,
            **extra,
            "c_coef": 1.0,
            "d_coef": 0.5,
            "epsilon": 1e-2,
            **scale,
            **up,
        },
    }
    collected.everywhere("default", base)
    collected.options(base, table)
    for case in ("momentum", "everything"):
        collected.add(case, {**base, **table[case]}, [3, 4, 5])
    return collected
