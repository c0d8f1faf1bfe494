"""PID, SGD with an integral and a derivative of the gradient."""

import functools

from cases import Cases
from libraries import Named
from pytorch_optimizer import PID


def reference(config, parameter, rates):
    get = config.get
    momentum = get("momentum", 0.9)
    optimizer = functools.partial(
        PID,
        momentum=momentum,
        dampening=get("dampening", 0.0),
        integral=get("integral", 5.0),
        derivative=get("derivative", 10.0),
        weight_decay=get("weight_decay", 0.0),
    )
    # Without momentum the library has neither an integral nor a derivative.
    buffers = ("grad_buffer", "i_buffer", "d_buffer") if momentum > 0.0 else ()
    names = {name: name for name in buffers}
    return "pytorch_optimizer.PID", Named(
        optimizer, parameter, names, get("maximize", False)
    )


def cases():
    # Integral and momentum together make a step fifty times the gradient.
    collected = Cases("pid", 1e-3, reference, ("pytorch_optimizer",))
    base = {"name": "pid"}
    decay = {"weight_decay": 0.1}
    up = {"maximize": True}
    collected.everywhere("default", base)
    collected.options(
        base,
        {
            "momentum": {"momentum": 0.5},
            "momentum_zero": {"momentum": 0.0},
            "dampening": {"dampening": 0.3},
            "integral": {"integral": 1.0},
            "integral_zero": {"integral": 0.0},
            "derivative": {"derivative": 100.0},
            "derivative_zero": {"derivative": 0.0},
            "weight_decay": decay,
            "weight_decay_large": {"weight_decay": 3.0},
            "maximize": up,
            "maximize_weight_decay": {**decay, **up},
            "everything": {
                "momentum": 0.8,
                "dampening": 0.4,
                "integral": 2.0,
                "derivative": 30.0,
                **decay,
                **up,
            },
        },
    )
    return collected
