"""Gradient centralisation before another optimizer."""

import torch
from cases import DECAY, UP, Cases
from libraries import turned
from pytorch_optimizer.optimizer.gradient_centralization import centralize_gradient

from . import reference as inner_reference


class Centralized:
    """arXiv:2004.01461 as pytorch_optimizer has it, which wants the outputs first.

    g -= mean of g over all dimensions but that of the outputs

    Those of a matrix are its last dimension here, and its mean is that of each column.
    A vector stays, with `conv_only` all that have fewer than four dimensions. The
    optimizer inside adds its weight decay after this.
    """

    def __init__(self, inner, config):
        self.inner = inner
        self.conv_only = config.get("conv_only", False)

    def step(self, t, learning_rate, gradient):
        # A copy, since it changes in place.
        centralized = torch.tensor(turned(gradient))
        centralize_gradient(centralized, gc_conv_only=self.conv_only)
        self.inner.step(t, learning_rate, turned(centralized.numpy()))

    @property
    def parameter(self):
        return self.inner.parameter

    @property
    def state(self):
        return self.inner.state


def reference(config, parameter, rates):
    source, inner = inner_reference(config["optimizer"], parameter, rates)
    source = f"pytorch_optimizer's centralize_gradient, before {source}"
    return source, Centralized(inner, config)


def cases():
    collected = Cases(
        "gradient_centralization", 0.05, reference, ("pytorch_optimizer",)
    )
    sgd = {"name": "sgd", "momentum": 0.9}
    descent = {"name": "sgd"}
    adam = {"name": "adam"}
    adamw = {"name": "adamw", **DECAY}
    base = {"name": "gradient_centralization", "optimizer": sgd}
    collected.everywhere("default", base)
    for shape in ([4, 3], [3, 4, 5], [2, 3, 4, 5]):
        collected.add("conv_only", {**base, "conv_only": True}, shape)
    collected.options(
        base,
        {
            "sgd_weight_decay": {"optimizer": {**sgd, **DECAY}},
            "sgd_maximize": {"optimizer": {**sgd, **UP}},
            "sgd_maximize_weight_decay": {"optimizer": {**sgd, **DECAY, **UP}},
        },
    )
    for case, inner in {
        "descent": descent,
        "descent_weight_decay": {**descent, **DECAY},
        "descent_maximize": {**descent, **UP},
    }.items():
        collected.option(case, {**base, "optimizer": inner}, learning_rate=0.1)
    everything = {
        "optimizer": {
            **adamw,
            "beta_1": 0.8,
            "beta_2": 0.99,
            "epsilon": 1e-2,
            **UP,
        },
    }
    for case, changes in {
        "adam": {"optimizer": adam},
        "adam_maximize": {"optimizer": {**adam, **UP}},
        "adamw": {"optimizer": adamw},
        "adamw_maximize": {"optimizer": {**adamw, **UP}},
        "everything": everything,
    }.items():
        collected.option(case, {**base, **changes}, learning_rate=0.01)
    return collected
