"""OrthoGrad around another optimizer."""

import pytorch_optimizer
from cases import DECAY, UP, Cases

from . import reference as inner_reference


def reference(config, parameter, rates):
    """pytorch_optimizer's, around one of torch's.

    h = g - <p, g> / (|p|^2 + eps) p
    h = 0 if |h| <= 4 (the machine's epsilon) |g| else h |g| / (|h| + eps)

    The optimizer inside sees h; its weight decay and its sign come after this.
    """
    source, inner = inner_reference(config["optimizer"], parameter, rates)
    inner.optimizer = pytorch_optimizer.OrthoGrad(inner.optimizer)
    inner.optimizer.eps = config.get("epsilon", 1e-30)
    return f"pytorch_optimizer.OrthoGrad, around {source}", inner


def cases():
    collected = Cases("orthograd", 0.05, reference, ("pytorch_optimizer",))
    sgd = {"name": "sgd", "momentum": 0.9}
    descent = {"name": "sgd"}
    adam = {"name": "adam"}
    adamw = {"name": "adamw", **DECAY}
    base = {"name": "orthograd", "optimizer": sgd}
    collected.everywhere("default", base)
    collected.options(
        base,
        {
            "epsilon": {"epsilon": 0.1},
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
        "epsilon": 0.1,
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
