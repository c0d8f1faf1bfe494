"""Schedule-Free around another optimizer."""

from collections import defaultdict

import numpy as np
import schedulefree
import torch
from cases import Cases

from . import reference as inner_reference


class Apart(schedulefree.ScheduleFreeWrapper):
    """The wrapper with its z in a place of its own.

    The library has it among the states of the optimizer inside, where Adam and RMSprop
    take it for theirs and make none.
    """

    state = None

    def __init__(self, base, **options):
        super().__init__(base, **options)
        self.state = defaultdict(dict)


class Wrapped:
    """ScheduleFreeWrapper in its train mode: the parameter is y."""

    def __init__(self, inner, config):
        assert inner.decay_before_step == 0.0
        self.inner = inner
        self.optimizer = Apart(
            inner.optimizer,
            momentum=config.get("momentum", 0.9),
            weight_decay_at_y=config.get("weight_decay_at_y", 0.0),
            r=config.get("r", 0.0),
            weight_lr_power=config.get("weight_lr_power", 2.0),
        )
        self.optimizer.train()

    def step(self, t, learning_rate, gradient):
        self.optimizer.param_groups[0]["lr"] = learning_rate
        self.inner.tensor.grad = torch.tensor(gradient)
        self.optimizer.step()

    @property
    def parameter(self):
        return self.inner.parameter

    @property
    def state(self):
        (group,) = self.optimizer.param_groups
        scalars = {name: np.array([group[name]]) for name in ("weight_sum", "lr_max")}
        z = self.optimizer.state[self.inner.tensor]["z"]
        return {**self.inner.state, "z": z.numpy(), **scalars}

    def evaluated(self):
        """The average x."""
        self.optimizer.eval()
        evaluated = self.parameter.copy()
        self.optimizer.train()
        return evaluated


def reference(config, parameter, rates):
    source, inner = inner_reference(config["optimizer"], parameter, rates)
    return f"schedulefree.ScheduleFreeWrapper around {source}", Wrapped(inner, config)


def cases():
    collected = Cases("schedule_free", 0.1, reference, ("schedulefree",))
    sgd = {"name": "sgd"}
    adam = {"name": "adam", "beta_1": 0.0}
    adamw = {"name": "adamw", "beta_1": 0.0, "weight_decay": 0.1}
    rmsprop = {"name": "rmsprop"}
    base = {"name": "schedule_free", "optimizer": sgd}
    decay = {"weight_decay": 0.1}
    at_y = {"weight_decay_at_y": 0.1}
    up = {"maximize": True}
    collected.everywhere("default", base)
    collected.options(
        base,
        {
            "momentum": {"momentum": 0.5},
            "r": {"r": 1.0},
            # The largest rate is the first: all powers weigh the steps the same.
            "weight_lr_power": {"weight_lr_power": 1.0},
            "r_weight_lr_power_zero": {"r": 0.5, "weight_lr_power": 0.0},
            "weight_decay_at_y": at_y,
            "momentum_weight_decay_at_y": {"momentum": 0.5, **at_y},
            # At z.
            "sgd_weight_decay": {"optimizer": {**sgd, **decay}},
            "sgd_weight_decay_at_both": {**at_y, "optimizer": {**sgd, **decay}},
            "sgd_maximize": {"optimizer": {**sgd, **up}},
        },
    )
    everything = {
        "momentum": 0.8,
        "r": 0.5,
        "weight_lr_power": 1.5,
        **at_y,
        "optimizer": {
            **adamw,
            "beta_2": 0.99,
            "epsilon": 1e-2,
            **up,
        },
    }
    for case, changes in {
        "adam": {"optimizer": adam},
        "adam_momentum": {"momentum": 0.5, "optimizer": adam},
        "adam_weight_decay_at_y": {**at_y, "optimizer": adam},
        "adamw": {"optimizer": adamw},
        "rmsprop": {"optimizer": rmsprop},
        "rmsprop_weight_decay_at_y": {**at_y, "optimizer": rmsprop},
        "everything": everything,
    }.items():
        collected.option(case, {**base, **changes}, learning_rate=0.01)
    return collected
