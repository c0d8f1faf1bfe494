"""The cautious mask on the directions of other optimizers."""

import functools
import importlib
import sys
import types
from importlib import metadata

import numpy as np
import optax
from cases import DECAY, OPTION_SHAPES, UP, Cases
from libraries import Named, Optax, find, schedule

from . import nadam

# With the usual learning rate of each.
OPTIMIZERS = {
    "adamw": 0.01,
    "adam": 0.01,
    "lion": 0.001,
    "laprop": 4e-3,
    "nadamw": 0.01,
    "adopt": 0.01,
    "sgd": 0.05,
    "adabelief": 0.01,
}


def timm(module, kind):
    """A class of timm.optim, without timm itself, which wants torchvision."""
    package = types.ModuleType("timm_optim")
    package.__path__ = [str(metadata.distribution("timm").locate_file("timm/optim"))]
    sys.modules.setdefault(package.__name__, package)
    return getattr(importlib.import_module(f"{package.__name__}.{module}"), kind)


class Timm(Named):
    """One of timm's, with a decay before it."""

    def __init__(self, optimizer, parameter, names, maximize, coupled, decoupled):
        super().__init__(optimizer, parameter, names, maximize)
        self.coupled = coupled
        self.decay_before_step = decoupled

    def step(self, t, learning_rate, gradient):
        # The gradient's sign turns after this, and that of the decay does not.
        decay = self.sign * self.coupled * self.parameter
        super().step(t, learning_rate, gradient + decay)

    @property
    def state(self):
        held = self.optimizer.state[self.tensor]
        # LaProp's average of the learning rates is a number.
        return {name: np.asarray(held[name]) for name in self.names}


def of_timm(config, parameter):
    get = config.get
    name = config["name"]

    def betas(beta_2=0.999):
        return {"betas": (get("beta_1", 0.9), get("beta_2", beta_2))}

    decay = get("weight_decay", 1e-2 if name == "adamw" else 0.0)
    options = {"weight_decay": decay}
    names = ("exp_avg", "exp_avg_sq")
    coupled = decoupled = 0.0
    if name == "adamw":
        kind = timm("adamw", "AdamWLegacy")
        options |= {**betas(), "eps": get("epsilon", 1e-8)}
    elif name == "adam":
        kind = timm("adamw", "AdamWLegacy")
        options = {**betas(), "eps": get("epsilon", 1e-8), "weight_decay": 0.0}
        coupled = decay
    elif name == "lion":
        kind = timm("lion", "Lion")
        options |= betas(0.99)
        names = ("exp_avg",)
    elif name == "laprop":
        kind = timm("laprop", "LaProp")
        # Its own decay comes after the step.
        options = {**betas(), "eps": get("epsilon", 1e-15)}
        decoupled = decay
        names = ("exp_avg", "exp_avg_sq", "exp_avg_lr_1")
    elif name == "adopt":
        kind = timm("adopt", "Adopt")
        exponent = get("clip_exponent", 0.25)
        options |= {**betas(0.9999), "eps": get("epsilon", 1e-6)}
        options |= {"clip_exp": exponent, "decoupled": True}
    else:
        assert name == "sgd"
        kind = timm("sgdw", "SGDW")
        options = {"momentum": config["momentum"]}
        coupled = decay
        names = ("momentum_buffer",)
    source = f"timm.optim.{kind.__name__}(caution={config['cautious']})"
    if coupled != 0.0:
        source += " of gradient + weight_decay * parameter"
    if decoupled != 0.0:
        source += " after p *= 1 - learning_rate * weight_decay"
    optimizer = functools.partial(kind, caution=config["cautious"], **options)
    maximize = get("maximize", False)
    return source, Timm(optimizer, parameter, names, maximize, coupled, decoupled)


def masked(direction, gradient):
    """timm's form of arXiv:2411.16085; what disagrees with the gradient is left out.

    u = u [u g > 0] / max(mean of [u g > 0], 1e-3)

    A coupled decay is in the gradient, as in timm's ADOPT.
    """
    agrees = direction * gradient > 0.0
    # jax would take the mean in float32.
    return direction * agrees / agrees.mean(dtype=np.float64).clip(1e-3)


def in_numpy(kind):
    """A formula with the mask."""

    class Cautious(kind):
        def update(self, t, learning_rate, gradient):
            return masked(super().update(t, learning_rate, gradient), gradient)

    return Cautious


def in_optax(transformation):
    """An optax transformation with the mask."""

    def update(gradient, state, params=None):
        direction, state = transformation.update(gradient, state, params)
        return masked(direction, gradient), state

    return optax.GradientTransformation(transformation.init, update)


def reference(config, parameter, rates):
    get = config.get
    if config["name"] == "nadamw":
        # timm's has another momentum than torch's, of which Keras' is a formula.
        given = {"weight_decay": 1e-2, **config, "decoupled_weight_decay": True}
        kind = in_numpy(nadam.NadamKeras)
        return "formula: torch.optim.NAdam and arXiv:2411.16085", kind(given, parameter)
    if config["name"] != "adabelief":
        return of_timm(config, parameter)
    # As in adabelief.py.
    epsilon = get("epsilon", 1e-16)
    belief = optax.scale_by_belief(
        get("beta_1", 0.9), get("beta_2", 0.999), eps=epsilon, eps_root=epsilon
    )
    transformation = optax.chain(
        in_optax(belief),
        optax.add_decayed_weights(get("weight_decay", 0.0)),
        optax.scale_by_learning_rate(schedule(rates)),
    )

    def read(state):
        part = find(state, optax.ScaleByBeliefState)
        return {"exp_avg": part.mu, "exp_avg_var": part.nu}

    source = "the chain of optax.adabelief with the mask of arXiv:2411.16085"
    return source, Optax(transformation, parameter, read, get("maximize", False))


def cases():
    collected = Cases("cautious", OPTIMIZERS["adamw"], reference, ("timm",))
    adamw = {"name": "adamw", "cautious": True}
    for shape in ([1], [33], [2, 3, 4, 5]):
        collected.add("default", adamw, shape)
    for grad_scale in (1e-6, 1e3):
        for shape in OPTION_SHAPES:
            collected.add("default", adamw, shape, grad_scale)
    everything = {"beta_1": 0.8, "beta_2": 0.99, "epsilon": 1e-2, **DECAY, **UP}
    collected.option("everything", {**adamw, **everything})
    for name, rate in OPTIMIZERS.items():
        base = {"name": name, "cautious": True}
        if name == "sgd":
            base["momentum"] = 0.9
        for case, changes in {
            "default" if name == "adamw" else name: {},
            f"{name}_weight_decay": DECAY,
            f"{name}_maximize": UP,
        }.items():
            collected.option(case, {**base, **changes}, rate)
    return collected
