"""Adam-mini."""

import numpy as np
from cases import Cases, moments
from formulas import Formula


class AdamMini(Formula):
    """arXiv:2406.16793: Adam with one second moment per block.

    m = beta_1 m + (1 - beta_1) g;  v = beta_2 v + (1 - beta_2) mean(g^2) of a block
    p -= lr m_hat / (sqrt(v_hat) + eps)

    A block is what belongs to one output: a column of a matrix, and of a tensor of more
    dimensions what has the same first index. A vector is one block, and so is every
    tensor with `blocks` "tensor".
    """

    DECOUPLED = True

    def setup(self, get):
        self.beta_1 = get("beta_1", 0.9)
        self.beta_2 = get("beta_2", 0.999)
        self.epsilon = get("epsilon", 1e-8)
        shape = self.parameter.shape
        rank = len(shape)
        if rank < 2 or get("blocks", "output") == "tensor":
            self.within = tuple(range(rank))
        elif rank == 2:
            self.within = (0,)
        else:
            self.within = tuple(range(1, rank))
        self.state["exp_avg"] = self.zeros()
        means = [1 if i in self.within else size for i, size in enumerate(shape)]
        self.state["vmean"] = np.zeros(means)

    def update(self, t, learning_rate, gradient):
        state = self.state
        state["exp_avg"] = (
            self.beta_1 * state["exp_avg"] + (1.0 - self.beta_1) * gradient
        )
        square = np.mean(gradient * gradient, axis=self.within, keepdims=True)
        state["vmean"] = self.beta_2 * state["vmean"] + (1.0 - self.beta_2) * square
        root = np.sqrt(state["vmean"] / (1.0 - self.beta_2**t)) + self.epsilon
        return learning_rate * state["exp_avg"] / (1.0 - self.beta_1**t) / root


def reference(config, parameter, rates):
    # pytorch_optimizer takes its blocks from the names of a transformer's parameters.
    return "formula: arXiv:2406.16793", AdamMini(config, parameter)


def cases():
    collected = Cases("adam_mini", 0.01, reference)
    base = {"name": "adam_mini"}
    tensor = {"blocks": "tensor"}
    collected.everywhere("default", base)
    table = moments(
        options={
            "tensor": tensor,
            "tensor_weight_decay": {**tensor, "weight_decay": 0.1},
        },
    )
    table["tensor_everything"] = {**table["everything"], **tensor}
    collected.options(base, table)
    for case in ("tensor", "everything"):
        collected.add(case, {**base, **table[case]}, [3, 4, 5])
    return collected
