"""MoMo, momentum with Polyak's step size from a model of the loss."""

import momo
import torch
from cases import Cases
from inputs import losses

from .prodigy import WholeModel


class WithLoss(WholeModel):
    """An optimizer that is told the loss of each step."""

    def step(self, t, learning_rate, gradient, loss=None):
        """The loss is that of `inputs.losses` unless it is given."""
        loss = losses()[t - 1] if loss is None else loss
        self.optimizer.param_groups[0]["lr"] = learning_rate
        self.tensor.grad = torch.tensor(gradient)
        self.optimizer.step(loss=torch.tensor(loss))


def library(config):
    get = config.get
    return "momo.Momo", lambda tensors: momo.Momo(
        tensors,
        beta=get("beta", 0.9),
        lb=get("lower_bound", 0.0),
        use_fstar=get("adaptive_lower_bound", False),
        weight_decay=get("weight_decay", 0.0),
    )


def numbers(optimizer):
    tensors = optimizer.param_groups[0]["params"]
    products = [optimizer.state[tensor]["grad_dot_w"] for tensor in tensors]
    read = {
        "loss_avg": float(optimizer.loss_avg),
        "grad_dot_param": float(sum(products)),
    }
    if optimizer.use_fstar:
        read["lower_bound"] = float(optimizer.lb)
    return read


def reference(config, parameter, rates):
    source, make = library(config)
    return source, WithLoss(make, parameter, {"grad_avg": "exp_avg"}, numbers)


def cases():
    collected = Cases("momo", 1.0, reference, ("momo-opt",))
    base = {"name": "momo"}
    adaptive = {"adaptive_lower_bound": True}
    decay = {"weight_decay": 0.1}
    everything = {"beta": 0.8, "lower_bound": 0.03, **adaptive, **decay}
    collected.everywhere("default", base)
    collected.options(
        base,
        {
            "beta": {"beta": 0.5},
            "beta_zero": {"beta": 0.0},
            "lower_bound": {"lower_bound": -0.3},
            # Above the losses of the last forty steps, which then stand still.
            "lower_bound_high": {"lower_bound": 0.05},
            "adaptive_lower_bound": adaptive,
            "adaptive_lower_bound_low": {**adaptive, "lower_bound": -1.0},
            "adaptive_lower_bound_weight_decay": {**adaptive, **decay},
            "weight_decay": decay,
            "everything": everything,
        },
    )
    # A rate that is below Polyak's step size for some of the steps.
    for case, changes in {
        "learning_rate_binds": {},
        "learning_rate_binds_weight_decay": decay,
        "learning_rate_binds_adaptive_lower_bound": adaptive,
        "learning_rate_binds_everything": everything,
    }.items():
        collected.option(case, {**base, **changes}, learning_rate=0.1)
    return collected
