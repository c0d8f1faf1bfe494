"""The libraries the golden values come from, behind one interface.

`reference(config, parameter, rates)` returns the name of the source and an
object with `step(t, learning_rate, gradient)`, `parameter` and `state`, the
same as the classes of `formulas.py`. All of it runs in float64.
"""

import functools

import deck
import formulas
import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch

# torch keeps the step count and NAdam's product of momenta in the default dtype.
torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)
jax.config.update("jax_enable_x64", True)


class Torch:
    """A torch optimizer, in its one-tensor-at-a-time implementation."""

    STATE = (
        "momentum_buffer",
        "sum",
        "square_avg",
        "grad_avg",
        "exp_avg",
        "exp_avg_sq",
        "max_exp_avg_sq",
        "mu_product",
        "row_var",
        "col_var",
        "variance",
    )

    def __init__(self, optimizer, parameter, decay_before_step=0.0):
        self.tensor = torch.nn.Parameter(torch.tensor(parameter))
        self.optimizer = optimizer([self.tensor], foreach=False)
        self.decay_before_step = decay_before_step

    def step(self, t, learning_rate, gradient):
        if self.decay_before_step != 0.0:
            with torch.no_grad():
                self.tensor.mul_(1.0 - learning_rate * self.decay_before_step)
        self.optimizer.param_groups[0]["lr"] = learning_rate
        self.tensor.grad = torch.tensor(gradient)
        self.optimizer.step()

    @property
    def parameter(self):
        return self.tensor.detach().numpy()

    @property
    def state(self):
        held = self.optimizer.state[self.tensor]
        return {
            name: held[name].numpy()
            for name in self.STATE
            if held.get(name) is not None
        }


class Optax:
    """An optax transformation; `read` turns its state into named arrays."""

    def __init__(self, transformation, parameter, read, maximize=False):
        self.transformation = transformation
        self.array = jnp.asarray(parameter)
        self.inner = transformation.init(self.array)
        self.read = read
        self.sign = -1.0 if maximize else 1.0

    def step(self, t, learning_rate, gradient):
        # The learning rate reaches the transformation through its schedule.
        updates, self.inner = self.transformation.update(
            jnp.asarray(self.sign * gradient), self.inner, self.array
        )
        self.array = optax.apply_updates(self.array, updates)
        assert self.array.dtype == jnp.float64

    @property
    def parameter(self):
        return np.asarray(self.array)

    @property
    def state(self):
        arrays = {name: np.asarray(x) for name, x in self.read(self.inner).items()}
        assert all(x.dtype == np.float64 for x in arrays.values())
        return arrays


def schedule(rates):
    """An optax schedule which returns `rates[count]`."""
    table = jnp.asarray(rates)
    return lambda count: table[count]


def find(state, kind):
    """The part of a chain's state that is of the class `kind`."""
    leaves = jax.tree.leaves(state, is_leaf=lambda part: isinstance(part, kind))
    (part,) = [leaf for leaf in leaves if isinstance(leaf, kind)]
    return part


class Deck:
    """One of the deck's classes; `read` names its state."""

    def __init__(self, optimizer, parameter, read):
        self.optimizer = optimizer
        self.parameter = parameter
        self.read = read

    def step(self, t, learning_rate, gradient):
        self.optimizer.learning_rate = learning_rate
        self.parameter = self.optimizer.update(self.parameter, gradient)

    @property
    def state(self):
        return self.read(self.optimizer)


def sgd(config, parameter, rates):
    get = config.get
    if get("velocity", False):
        return (
            "formula: momentum with the learning rate inside the buffer",
            formulas.SgdVelocity(config, parameter),
        )
    decoupled = get("decoupled_weight_decay", False)
    weight_decay = get("weight_decay", 0.0)
    source = "torch.optim.SGD"
    if decoupled:
        source += " after p *= 1 - learning_rate * weight_decay"
    optimizer = functools.partial(
        torch.optim.SGD,
        momentum=get("momentum", 0.0),
        dampening=get("dampening", 0.0),
        nesterov=get("nesterov", False),
        weight_decay=0.0 if decoupled else weight_decay,
        maximize=get("maximize", False),
    )
    return source, Torch(optimizer, parameter, weight_decay if decoupled else 0.0)


def adagrad(config, parameter, rates):
    get = config.get
    if get("epsilon_inside_root", False):
        lr_decay = get("lr_decay", 0.0)
        decayed = [rate / (1.0 + i * lr_decay) for i, rate in enumerate(rates)]
        transformation = optax.chain(
            optax.add_decayed_weights(get("weight_decay", 0.0)),
            optax.adagrad(
                schedule(decayed),
                initial_accumulator_value=get("initial_accumulator_value", 0.0),
                eps=get("epsilon", 1e-10),
            ),
        )

        def read(state):
            return {"sum": find(state, optax.ScaleByRssState).sum_of_squares}

        return "optax.adagrad", Optax(
            transformation, parameter, read, get("maximize", False)
        )
    optimizer = functools.partial(
        torch.optim.Adagrad,
        lr_decay=get("lr_decay", 0.0),
        initial_accumulator_value=get("initial_accumulator_value", 0.0),
        eps=get("epsilon", 1e-10),
        weight_decay=get("weight_decay", 0.0),
        maximize=get("maximize", False),
    )
    return "torch.optim.Adagrad", Torch(optimizer, parameter)


def rmsprop(config, parameter, rates):
    get = config.get
    if get("epsilon_inside_root", False):
        if get("momentum", 0.0) != 0.0:
            # optax multiplies by the learning rate before the momentum buffer,
            # torch after it.
            return (
                "formula: torch.optim.RMSprop with epsilon inside the root",
                formulas.RmspropInsideRoot(config, parameter),
            )
        centered = get("centered", False)
        transformation = optax.chain(
            optax.add_decayed_weights(get("weight_decay", 0.0)),
            optax.rmsprop(
                schedule(rates),
                decay=get("alpha", 0.99),
                eps=get("epsilon", 1e-8),
                eps_in_sqrt=True,
                centered=centered,
            ),
        )

        def read(state):
            if centered:
                part = find(state, optax.ScaleByRStdDevState)
                return {"square_avg": part.nu, "grad_avg": part.mu}
            return {"square_avg": find(state, optax.ScaleByRmsState).nu}

        return "optax.rmsprop", Optax(
            transformation, parameter, read, get("maximize", False)
        )
    optimizer = functools.partial(
        torch.optim.RMSprop,
        alpha=get("alpha", 0.99),
        eps=get("epsilon", 1e-8),
        centered=get("centered", False),
        momentum=get("momentum", 0.0),
        weight_decay=get("weight_decay", 0.0),
        maximize=get("maximize", False),
    )
    return "torch.optim.RMSprop", Torch(optimizer, parameter)


def adam(config, parameter, rates, kind=torch.optim.Adam, weight_decay=0.0):
    get = config.get
    optimizer = functools.partial(
        kind,
        betas=(get("beta_1", 0.9), get("beta_2", 0.999)),
        eps=get("epsilon", 1e-8),
        weight_decay=get("weight_decay", weight_decay),
        amsgrad=get("amsgrad", False),
        maximize=get("maximize", False),
    )
    return f"torch.optim.{kind.__name__}", Torch(optimizer, parameter)


def adamw(config, parameter, rates):
    return adam(config, parameter, rates, torch.optim.AdamW, 1e-2)


def nadam(config, parameter, rates):
    get = config.get
    betas = (get("beta_1", 0.9), get("beta_2", 0.999))
    epsilon = get("epsilon", 1e-8)
    if config["variant"] == "dozat":
        return (
            "formula: Dozat 2016, Algorithm 2",
            formulas.NadamDozat(config, parameter),
        )
    if config["variant"] == "optax":
        decay = get("weight_decay", 0.0)
        if get("decoupled_weight_decay", False):
            source = "optax.nadamw"
            transformation = optax.nadamw(
                schedule(rates), *betas, eps=epsilon, weight_decay=decay
            )
        else:
            source = "optax.nadam"
            transformation = optax.chain(
                optax.add_decayed_weights(decay),
                optax.nadam(schedule(rates), *betas, eps=epsilon),
            )

        def read(state):
            part = find(state, optax.ScaleByAdamState)
            return {"exp_avg": part.mu, "exp_avg_sq": part.nu}

        return source, Optax(transformation, parameter, read, get("maximize", False))
    assert config["variant"] == "torch"
    if (get("momentum_decay", 4e-3), epsilon) == (1.0, 1e-7):
        return "keras formula", formulas.NadamKeras(config, parameter)
    optimizer = functools.partial(
        torch.optim.NAdam,
        betas=betas,
        eps=epsilon,
        weight_decay=get("weight_decay", 0.0),
        momentum_decay=get("momentum_decay", 4e-3),
        decoupled_weight_decay=get("decoupled_weight_decay", False),
        maximize=get("maximize", False),
    )
    return "torch.optim.NAdam", Torch(optimizer, parameter)


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


def adafactor(config, parameter, rates):
    get = config.get
    if config["variant"] == "paper":
        return (
            "formula: arXiv:1804.04235, Algorithms 4 to 6",
            formulas.AdafactorPaper(config, parameter),
        )
    if config["variant"] == "hf":
        return (
            "formula: fairseq and transformers Adafactor",
            formulas.AdafactorHf(config, parameter),
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


REFERENCES = {
    "sgd": sgd,
    "adagrad": adagrad,
    "rmsprop": rmsprop,
    "adam": adam,
    "adamw": adamw,
    "nadam": nadam,
    "adafactor": adafactor,
}


def reference(config, parameter, rates):
    return REFERENCES[config["name"]](config, parameter, rates)


def deck_reference(config, parameter, rates):
    """The deck's class for `config`."""
    name, get = config["name"], config.get
    if name == "slides_momentum":
        return "slide 3", Deck(
            deck.MomentumOptimizer(momentum=get("momentum", 0.9)),
            parameter,
            lambda o: {"velocity": o.velocity},
        )
    if name == "adagrad":
        return "slide 4", Deck(
            deck.AdaGrad(epsilon=config["epsilon"]),
            parameter,
            lambda o: {"sum": o.accumulated_grads},
        )
    if name == "rmsprop":
        return "slide 5", Deck(
            deck.RMSprop(decay_rate=config["alpha"], epsilon=get("epsilon", 1e-8)),
            parameter,
            lambda o: {"square_avg": o.cache},
        )
    if name == "slides_adafactor":
        return "slide 10", Deck(
            deck.AdaFactor(
                beta2=get("beta_2", 0.999),
                epsilon1=get("epsilon_1", 1e-30),
                epsilon2=get("epsilon_2", 1e-3),
            ),
            parameter,
            lambda o: o.v if isinstance(o.v, dict) else {"v": o.v},
        )
    slide, kind = {
        "adam": ("slide 6", deck.Adam),
        "slides_nadam": ("slide 11", deck.NAdam),
    }[name]
    return slide, Deck(
        kind(
            beta1=get("beta_1", 0.9),
            beta2=get("beta_2", 0.999),
            epsilon=get("epsilon", 1e-8),
        ),
        parameter,
        lambda o: {"exp_avg": o.m, "exp_avg_sq": o.v},
    )
