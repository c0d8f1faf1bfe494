"""Schedule-Free SGD."""

import functools

import numpy as np
import schedulefree
from cases import Cases
from libraries import Named


class ScheduleFree(Named):
    """An optimizer of schedulefree in its train mode: the parameter is y."""

    def __init__(self, optimizer, parameter, names, maximize):
        super().__init__(optimizer, parameter, names, maximize)
        self.optimizer.train()

    @property
    def state(self):
        (group,) = self.optimizer.param_groups
        scalars = {name: np.array([group[name]]) for name in ("weight_sum", "lr_max")}
        return {**super().state, **scalars}

    def evaluated(self):
        """The average x."""
        self.optimizer.eval()
        evaluated = self.parameter.copy()
        self.optimizer.train()
        return evaluated


def reference(config, parameter, rates):
    get = config.get
    optimizer = functools.partial(
        schedulefree.SGDScheduleFree,
        momentum=get("momentum", 0.9),
        weight_decay=get("weight_decay", 0.0),
        warmup_steps=get("warmup_steps", 0),
        r=get("r", 0.0),
        weight_lr_power=get("weight_lr_power", 2.0),
    )
    return "schedulefree.SGDScheduleFree", ScheduleFree(
        optimizer, parameter, {"z": "z"}, get("maximize", False)
    )


def options():
    """The options that both of the Schedule-Free optimizers have."""
    decay = {"weight_decay": 0.1}
    up = {"maximize": True}
    return {
        "warmup_steps": {"warmup_steps": 10},
        "warmup_steps_long": {"warmup_steps": 100},
        "r": {"r": 1.0},
        "weight_lr_power": {"weight_lr_power": 1.0},
        "weight_lr_power_zero": {"weight_lr_power": 0.0, "warmup_steps": 10},
        "warmup_steps_r": {"warmup_steps": 10, "r": 0.5},
        "weight_decay": decay,
        "maximize": up,
        "maximize_weight_decay": {**decay, **up},
        "everything": {
            "warmup_steps": 20,
            "r": 0.5,
            "weight_lr_power": 1.5,
            **decay,
            **up,
        },
    }


def cases():
    collected = Cases("schedule_free_sgd", 0.1, reference, ("schedulefree",))
    base = {"name": "schedule_free_sgd"}
    table = options()
    table["everything"]["momentum"] = 0.8
    collected.everywhere("default", base)
    collected.options(base, {"momentum": {"momentum": 0.5}, **table})
    return collected
