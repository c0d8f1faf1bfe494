"""Schedule-Free AdamW."""

import functools

import numpy as np
import schedulefree
from cases import Cases

from .schedule_free_sgd import Refined, ScheduleFree, options


class RefinedAdamW(Refined):
    """Schedule-Free AdamW with the refined share.

    d = g / (sqrt(v / (1 - beta_2^t)) + eps) + wd y
    """

    BETA = "beta_1"

    def setup(self, get):
        super().setup(get)
        self.beta_2 = get("beta_2", 0.999)
        self.epsilon = get("epsilon", 1e-8)
        self.state["exp_avg_sq"] = self.zeros()

    def direction(self, t, gradient):
        v = self.state["exp_avg_sq"]
        v = self.beta_2 * v + (1.0 - self.beta_2) * gradient * gradient
        self.state["exp_avg_sq"] = v
        root = np.sqrt(v / (1.0 - self.beta_2**t))
        return gradient / (root + self.epsilon)


def reference(config, parameter, rates):
    get = config.get
    if get("decoupling_c") is not None:
        return (
            "formula: schedulefree.AdamWScheduleFree with arXiv:2507.09846",
            RefinedAdamW(config, parameter),
        )
    optimizer = functools.partial(
        schedulefree.AdamWScheduleFree,
        betas=(get("beta_1", 0.9), get("beta_2", 0.999)),
        eps=get("epsilon", 1e-8),
        weight_decay=get("weight_decay", 0.0),
        warmup_steps=get("warmup_steps", 0),
        r=get("r", 0.0),
        weight_lr_power=get("weight_lr_power", 2.0),
    )
    names = {"z": "z", "exp_avg_sq": "exp_avg_sq"}
    return "schedulefree.AdamWScheduleFree", ScheduleFree(
        optimizer, parameter, names, get("maximize", False)
    )


def cases():
    collected = Cases("schedule_free_adamw", 0.01, reference, ("schedulefree",))
    base = {"name": "schedule_free_adamw"}
    changes = {"beta_1": 0.8, "beta_2": 0.99, "epsilon": 1e-2}
    table = options()
    for case in ("decoupling_c_everything", "everything"):
        table[case] |= changes
    collected.everywhere("default", base)
    collected.options(
        base,
        {
            "betas": {"beta_1": 0.8, "beta_2": 0.99},
            "beta_2_zero": {"beta_2": 0.0},
            "epsilon": {"epsilon": 1e-2},
            **table,
        },
    )
    return collected
