"""Adafactor."""

import functools
import math

import jax.numpy as jnp
import numpy as np
import optax
import torch
from cases import FEW_SHAPES, Cases
from formulas import Formula
from libraries import Optax, Torch, find, schedule


def rms(x):
    return math.sqrt(np.mean(x * x))


class Adafactor(Formula):
    """What the NumPy Adafactor rules share: the factored second moment.

    Tensors of rank 2 and more are factored along their last two dimensions;
    the dimensions before them are batches. `row_var` is the mean over the last
    dimension and `col_var` the mean over the one before it.
    """

    def setup(self, get):
        self.epsilon_1 = self.config["epsilon_1"]
        self.epsilon_2 = get("epsilon_2", 1e-3)
        self.clip_threshold = get("clip_threshold", 1.0)
        self.decay_rate = get("decay_rate", -0.8)
        self.relative_step = self.config["relative_step"]
        self.scale_parameter = self.config["scale_parameter"]
        self.warmup_init = get("warmup_init", False)
        self.beta_1 = get("beta_1", None)
        self.weight_decay = get("weight_decay", 0.0)
        shape = self.parameter.shape
        if len(shape) >= 2:
            self.state["row_var"] = np.zeros(shape[:-1])
            self.state["col_var"] = np.zeros(shape[:-2] + shape[-1:])
        else:
            self.state["variance"] = self.zeros()
        if self.beta_1 is not None:
            self.state["exp_avg"] = self.zeros()

    def rate(self, t, learning_rate):
        """The learning rate of this parameter at step t."""
        rho = learning_rate
        if self.relative_step:
            largest = 1e-6 * t if self.warmup_init else 1e-2
            rho = min(largest, 1.0 / math.sqrt(t))
        if self.scale_parameter:
            rho = max(self.epsilon_2, rms(self.parameter)) * rho
        return rho

    def scaled_gradient(self, t, gradient):
        """The gradient over the root of its second moment, clipped."""
        beta_2 = 1.0 - float(t) ** self.decay_rate
        square = gradient * gradient + self.epsilon_1
        state = self.state
        if "variance" in state:
            state["variance"] = beta_2 * state["variance"] + (1.0 - beta_2) * square
            u = gradient / np.sqrt(state["variance"])
        else:
            row = beta_2 * state["row_var"] + (1.0 - beta_2) * square.mean(axis=-1)
            col = beta_2 * state["col_var"] + (1.0 - beta_2) * square.mean(axis=-2)
            state["row_var"], state["col_var"] = row, col
            u = self.over_root(gradient, row, col)
        if self.clip_threshold is not None:
            u = u / max(1.0, rms(u) / self.clip_threshold)
        return u


class AdafactorPaper(Adafactor):
    """Algorithms 4, 5 and 6 of Shazeer and Stern, arXiv:1804.04235.

    The paper sums over rows and columns, V = R C / sum(R). With the means
    stored here the same V is R C / mean(R).
    """

    def over_root(self, gradient, row, col):
        mean = row.mean(axis=-1, keepdims=True)[..., None]
        return gradient / np.sqrt(row[..., :, None] * col[..., None, :] / mean)

    def step(self, t, learning_rate, gradient):
        if self.config.get("maximize", False):
            gradient = -gradient
        rate = self.rate(t, learning_rate)
        self.parameter = self.parameter - rate * self.scaled_gradient(t, gradient)


class AdafactorHf(Adafactor):
    """The arithmetic of fairseq and of Hugging Face transformers.

    The first moment is taken of the update after the learning rate is applied,
    and the decay uses the learning rate of the parameter.
    """

    def over_root(self, gradient, row, col):
        row_factor = 1.0 / np.sqrt(row / row.mean(axis=-1, keepdims=True))
        col_factor = 1.0 / np.sqrt(col)
        return row_factor[..., :, None] * col_factor[..., None, :] * gradient

    def step(self, t, learning_rate, gradient):
        if self.config.get("maximize", False):
            gradient = -gradient
        rate = self.rate(t, learning_rate)
        update = rate * self.scaled_gradient(t, gradient)
        if self.beta_1 is not None:
            update = self.beta_1 * self.state["exp_avg"] + (1.0 - self.beta_1) * update
            self.state["exp_avg"] = update
        if self.weight_decay != 0.0:
            self.parameter = self.parameter - self.weight_decay * rate * self.parameter
        self.parameter = self.parameter - update


def decay_rate_float64(count, exponent):
    """optax's beta_2 schedule, which the library itself computes in float32."""
    return 1.0 - jnp.asarray(count + 1, jnp.float64) ** (-exponent)


def optax_adafactor(config, rates):
    """The chain of `optax.adafactor`, with beta_2 computed in float64."""
    get = config.get
    parts = [
        optax.scale_by_factored_rms(
            decay_rate=-get("decay_rate", -0.8),
            min_dim_size_to_factor=get("min_dim_size_to_factor", 1),
            epsilon=config["epsilon_1"],
            decay_rate_fn=decay_rate_float64,
        )
    ]
    if get("clip_threshold", 1.0) is not None:
        parts.append(optax.clip_by_block_rms(get("clip_threshold", 1.0)))
    parts.append(optax.scale_by_learning_rate(schedule(rates), flip_sign=False))
    if config["scale_parameter"]:
        parts.append(optax.scale_by_param_block_rms(get("epsilon_2", 1e-3)))
    if get("beta_1", None) is not None:
        parts.append(
            optax.ema(get("beta_1"), debias=False, accumulator_dtype=jnp.float64)
        )
    if get("weight_decay", 0.0) != 0.0:
        parts.append(optax.add_decayed_weights(get("weight_decay")))
    parts.append(optax.scale(-1))
    return optax.chain(*parts)


def read_optax_adafactor(config, shape):
    """Names optax's state as this project does.

    optax factors the two largest dimensions, among equals the later ones. Its
    `v_row` is the mean over the largest dimension and `v_col` the mean over
    the second largest. Here `row_var` is the mean over the later of the two
    dimensions and `col_var` the mean over the earlier one, whichever is larger.
    A tensor whose second largest dimension is below `min_dim_size_to_factor`
    is not factored and has `variance`.
    """
    order = np.argsort(shape, kind="stable")

    def read(state):
        part = find(state, optax.FactoredState)
        factored = (
            len(shape) >= 2
            and shape[order[-2]] >= config.get("min_dim_size_to_factor", 1)
        )
        if not factored:
            named = {"variance": part.v}
        elif order[-1] > order[-2]:
            named = {"row_var": part.v_row, "col_var": part.v_col}
        else:
            named = {"row_var": part.v_col, "col_var": part.v_row}
        if config.get("beta_1", None) is not None:
            named["exp_avg"] = find(state, optax.EmaState).ema
        return named

    return read


def reference(config, parameter, rates):
    get = config.get
    if config["variant"] == "paper":
        return (
            "formula: arXiv:1804.04235, Algorithms 4 to 6",
            AdafactorPaper(config, parameter),
        )
    if config["variant"] == "hf":
        return (
            "formula: fairseq and transformers Adafactor",
            AdafactorHf(config, parameter),
        )
    if config["variant"] == "optax":
        return "the chain of optax.adafactor, beta_2 in float64", Optax(
            optax_adafactor(config, rates),
            parameter,
            read_optax_adafactor(config, parameter.shape),
            get("maximize", False),
        )
    assert config["variant"] == "torch"
    threshold = get("clip_threshold", 1.0)
    optimizer = functools.partial(
        torch.optim.Adafactor,
        beta2_decay=get("decay_rate", -0.8),
        eps=(config["epsilon_1"], get("epsilon_2", 1e-3)),
        d=float("inf") if threshold is None else threshold,
        weight_decay=get("weight_decay", 0.0),
        maximize=get("maximize", False),
    )
    return "torch.optim.Adafactor", Torch(optimizer, parameter)


def cases():
    collected = Cases("adafactor", 0.01, reference)
    decay = {"weight_decay": 0.1}
    up = {"maximize": True}

    base = {
        "name": "adafactor",
        "variant": "torch",
        "epsilon_1": float(np.finfo(np.float64).eps),
        "relative_step": True,
        "scale_parameter": True,
    }
    single = {**base, "epsilon_1": float(np.finfo(np.float32).eps)}
    collected.everywhere("torch", base)
    collected.everywhere("torch_float32_epsilon", single, FEW_SHAPES)
    collected.options(
        base,
        {
            "torch_epsilon_1_large": {"epsilon_1": 0.3},
            "torch_epsilon_1_paper": {"epsilon_1": 1e-30},
            "torch_epsilon_2": {"epsilon_2": 2.0},
            "torch_clip_threshold": {"clip_threshold": 1.2},
            "torch_no_clipping": {"clip_threshold": None},
            "torch_decay_rate": {"decay_rate": -0.5},
            "torch_weight_decay": decay,
            "torch_maximize": up,
            "torch_maximize_weight_decay": {**decay, **up},
        },
    )
    # Large enough for 1 / sqrt(t) to be the smaller of the two from step 5 on.
    collected.option("torch_relative_step_binds", base, learning_rate=0.5)
    collected.option("torch_relative_step_binds_weight_decay", {**base, **decay}, 0.5)

    base = {**base, "variant": "paper", "epsilon_1": 1e-30}
    absolute = {"relative_step": False}
    unscaled = {"scale_parameter": False}
    collected.everywhere("paper", base)
    collected.options(
        base,
        {
            "paper_absolute": absolute,
            "paper_unscaled": unscaled,
            "paper_absolute_unscaled": {**absolute, **unscaled},
            "paper_epsilon_1_large": {"epsilon_1": 0.3},
            "paper_epsilon_2": {"epsilon_2": 2.0},
            "paper_clip_threshold": {"clip_threshold": 0.5},
            "paper_no_clipping": {"clip_threshold": None},
            "paper_decay_rate": {"decay_rate": -0.5},
            "paper_maximize": up,
        },
    )

    base = {**base, "variant": "hf"}
    moment = {"beta_1": 0.9}
    collected.everywhere("hf", base)
    collected.options(
        base,
        {
            "hf_warmup_init": {"warmup_init": True},
            "hf_warmup_init_unscaled": {"warmup_init": True, **unscaled},
            "hf_absolute": absolute,
            "hf_unscaled": unscaled,
            "hf_absolute_unscaled": {**absolute, **unscaled},
            "hf_clip_threshold": {"clip_threshold": 0.5},
            "hf_no_clipping": {"clip_threshold": None},
            "hf_decay_rate": {"decay_rate": -0.5},
            "hf_beta_1": moment,
            "hf_absolute_beta_1": {**absolute, **moment},
            "hf_weight_decay": decay,
            "hf_absolute_unscaled_weight_decay": {**absolute, **unscaled, **decay},
            "hf_beta_1_weight_decay": {**moment, **decay},
            "hf_everything": {
                **absolute,
                "epsilon_1": 1e-3,
                "epsilon_2": 0.7,
                "clip_threshold": 0.5,
                "decay_rate": -0.5,
                **moment,
                **decay,
                **up,
            },
        },
    )
    collected.add("hf_beta_1_weight_decay", {**base, **moment, **decay}, [2, 3, 4, 5])

    base = {
        **base,
        "variant": "optax",
        "relative_step": False,
        "min_dim_size_to_factor": 128,
    }
    factored = {"min_dim_size_to_factor": 1}
    small = {"weight_decay": 1e-3}
    collected.everywhere("optax", base, FEW_SHAPES)
    collected.everywhere("optax_factored", {**base, **factored})
    collected.options(
        {**base, **factored},
        {
            "optax_unscaled": unscaled,
            "optax_epsilon_1": {"epsilon_1": 1e-3},
            "optax_epsilon_2": {"epsilon_2": 2.0},
            "optax_clip_threshold": {"clip_threshold": 0.5},
            "optax_no_clipping": {"clip_threshold": None},
            "optax_decay_rate": {"decay_rate": -0.5},
            "optax_beta_1": moment,
            "optax_weight_decay": small,
            "optax_maximize_weight_decay": {**small, **up},
            "optax_beta_1_weight_decay": {**moment, **small},
            "optax_everything": {
                **unscaled,
                "epsilon_1": 1e-3,
                "clip_threshold": 0.5,
                "decay_rate": -0.5,
                **moment,
                **small,
                **up,
            },
        },
    )
    # Which two dimensions are factored: the largest, among equals the later,
    # and none if the second largest is below the limit.
    for shape in ([5, 3], [4, 3, 5], [5, 3, 4], [5, 4, 3], [3, 2, 2], [2, 3, 3, 2]):
        collected.add("optax_largest_dimensions", {**base, **factored}, shape)
    for shape in ([3, 4], [4, 3], [4, 3, 5], [5, 3, 3]):
        limit = {**base, "min_dim_size_to_factor": 4}
        collected.add("optax_limit_of_four", limit, shape)
    return collected
