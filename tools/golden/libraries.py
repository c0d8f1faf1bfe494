"""The libraries the golden values come from, behind one interface.

Every class has `step(t, learning_rate, gradient)`, `parameter` and `state`, the
same as `formulas.Formula`. All of it runs in float64.
"""

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
        "exp_inf",
        "acc_delta",
        "ax",
        "eta",
        "mu",
        "prev",
        "step_size",
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


class Named(Torch):
    """A torch optimizer of another package; `names` has our name of each state."""

    def __init__(self, optimizer, parameter, names, maximize=False):
        super().__init__(optimizer, parameter)
        self.names = names
        self.sign = -1.0 if maximize else 1.0

    def step(self, t, learning_rate, gradient):
        super().step(t, learning_rate, self.sign * gradient)

    @property
    def state(self):
        held = self.optimizer.state[self.tensor]
        return {ours: held[name].numpy() for name, ours in self.names.items()}


class Outputs(Named):
    """One of a package for which the outputs are a weight's first dimension.

    Those of a matrix are its last here, so it is turned on the way in and out.
    """

    def __init__(self, optimizer, parameter, names, maximize=False):
        super().__init__(optimizer, turned(parameter), names, maximize)

    def step(self, t, learning_rate, gradient):
        super().step(t, learning_rate, turned(gradient))

    @property
    def parameter(self):
        return turned(super().parameter)

    @property
    def state(self):
        return {name: turned(x) for name, x in super().state.items()}


def turned(array):
    return np.ascontiguousarray(array.T) if array.ndim == 2 else array


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
