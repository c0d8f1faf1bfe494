"""Schedule-Free RAdam."""

import functools
import math

import schedulefree
from cases import Cases

from .schedule_free_adamw import RefinedAdamW
from .schedule_free_sgd import ScheduleFree


class RefinedRAdam(RefinedAdamW):
    """Schedule-Free RAdam with the refined share.

    rho_inf = 2 / (1 - beta_2) - 1,  rho = rho_inf - 2 t beta_2^t / (1 - beta_2^t)
    lr *= sqrt((rho - 4) (rho - 2) rho_inf / ((rho_inf - 4) (rho_inf - 2) rho))

    That is where rho > 4. Before it d = g, and lr stays or is 0.
    """

    def setup(self, get):
        super().setup(get)
        self.silent = get("silent_sgd_phase", True)
        self.rho_inf = 2.0 / (1.0 - self.beta_2) - 1.0

    def rho(self, t):
        power = self.beta_2**t
        return self.rho_inf - 2.0 * t * power / (1.0 - power)

    def rate(self, t, learning_rate):
        rho, end = self.rho(t), self.rho_inf
        if rho > 4.0:
            gain = (rho - 4.0) * (rho - 2.0) * end / ((end - 4.0) * (end - 2.0) * rho)
            return learning_rate * math.sqrt(gain)
        return 0.0 if self.silent else learning_rate

    def direction(self, t, gradient):
        normalized = super().direction(t, gradient)
        return normalized if self.rho(t) > 4.0 else gradient


def reference(config, parameter, rates):
    get = config.get
    if get("decoupling_c") is not None:
        return (
            "formula: schedulefree.RAdamScheduleFree with arXiv:2507.09846",
            RefinedRAdam(config, parameter),
        )
    optimizer = functools.partial(
        schedulefree.RAdamScheduleFree,
        betas=(get("beta_1", 0.9), get("beta_2", 0.999)),
        eps=get("epsilon", 1e-8),
        weight_decay=get("weight_decay", 0.0),
        r=get("r", 0.0),
        weight_lr_power=get("weight_lr_power", 2.0),
        silent_sgd_phase=get("silent_sgd_phase", True),
    )
    names = {"z": "z", "exp_avg_sq": "exp_avg_sq"}
    return "schedulefree.RAdamScheduleFree", ScheduleFree(
        optimizer, parameter, names, get("maximize", False)
    )


def cases():
    collected = Cases("schedule_free_radam", 0.05, reference, ("schedulefree",))
    base = {"name": "schedule_free_radam"}
    # Rectified from step 5 on like the default, but with gains that get near 1.
    early = {"beta_2": 0.9}
    loud = {"silent_sgd_phase": False}
    decay = {"weight_decay": 0.1}
    up = {"maximize": True}
    refined = {"decoupling_c": 5.0}
    changes = {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-2}
    everything = {**changes, **loud, "r": 0.5, "weight_lr_power": 1.5, **decay, **up}
    collected.everywhere("default", base)
    collected.options(
        base,
        {
            "beta_1": {"beta_1": 0.5},
            "beta_2": early,
            "betas": {"beta_1": 0.8, "beta_2": 0.8},
            # Too short a memory for the rectified phase: nothing moves, or SGD does.
            "never_rectified": {"beta_2": 0.5},
            "never_rectified_sgd": {"beta_2": 0.5, **loud},
            "beta_2_zero_sgd": {"beta_2": 0.0, **loud},
            "epsilon": {"epsilon": 1e-2},
            "silent_sgd_phase": loud,
            "silent_sgd_phase_beta_2": {**early, **loud},
            "r": {"r": 1.0},
            "weight_lr_power": {"weight_lr_power": 1.0},
            "weight_lr_power_zero": {"weight_lr_power": 0.0},
            "weight_lr_power_zero_r": {"weight_lr_power": 0.0, "r": 0.5, **early},
            "decoupling_c": refined,
            # The share is cut to 1 at first.
            "decoupling_c_large": {"decoupling_c": 200.0},
            "decoupling_c_sgd": {**refined, **early, **loud},
            "decoupling_c_everything": {**refined, **everything},
            "weight_decay": decay,
            "weight_decay_sgd": {**decay, **loud},
            "maximize": up,
            "maximize_weight_decay": {**decay, **up},
            "everything": everything,
        },
    )
    return collected
