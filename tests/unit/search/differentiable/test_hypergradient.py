"""The hypergradient against central differences of the true unrolled objective, and the known ways to get it wrong."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas_pipeline.errors import ConfigError
from nas_pipeline.search.differentiable import hypergradient as module
from nas_pipeline.train.randomness import generator, isolated

XI, MOMENTUM, DECAY = 0.05, 0.9, 3e-4


class TinyCell(nn.Module):
    """Two nodes, three edges, three operations each, batch norm without affine, float64, smooth activations."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 3, 3, padding=1)
        self.threes = nn.ModuleList(nn.Conv2d(3, 3, 3, padding=1, bias=False) for _ in range(3))
        self.ones = nn.ModuleList(nn.Conv2d(3, 3, 1, bias=False) for _ in range(3))
        self.head = nn.Linear(6, 3)
        self.alpha = nn.Parameter(0.5 * torch.randn(3, 3))
        self.unused = nn.Parameter(torch.zeros(2))

    def edge(self, index: int, x: Tensor) -> Tensor:
        mix = self.alpha[index].softmax(0)
        convolved = [F.batch_norm(op[index](F.gelu(x)), None, None, training=True) for op in (self.threes, self.ones)]
        return mix[0] * x + mix[1] * convolved[0] + mix[2] * convolved[1]

    def forward(self, x: Tensor) -> Tensor:
        stem = self.stem(x)
        first = self.edge(0, stem)
        second = self.edge(1, stem) + self.edge(2, first)
        return self.head(torch.cat([first, second], 1).mean((2, 3)))


class Problem:
    def __init__(self) -> None:
        with isolated("hypergradient"):
            self.net = TinyCell().double()
        stream = generator("hypergradient/data")
        images = torch.randn(16, 1, 5, 5, generator=stream, dtype=torch.float64)
        labels = torch.randint(0, 3, (16,), generator=stream)
        self.train_loss: Callable[[], Tensor] = lambda: F.cross_entropy(self.net(images[:8]), labels[:8])
        self.val_loss: Callable[[], Tensor] = lambda: F.cross_entropy(self.net(images[8:]), labels[8:])
        self.alphas = [self.net.alpha, self.net.unused]
        self.weights = [p for p in self.net.parameters() if all(p is not a for a in self.alphas)]
        self.buffers = [0.1 * torch.randn(w.shape, generator=stream, dtype=w.dtype) for w in self.weights]

    def by(self, source: types.ModuleType, form: str, order: str = "second") -> Tensor:
        return source.hypergradient(
            self.train_loss, self.val_loss, self.weights, self.alphas, order=order, form=form, learning_rate=XI,
            momentum=MOMENTUM, momentum_buffers=self.buffers, weight_decay=DECAY,
        )[0]

    def unrolled(self) -> float:
        """L_val after the virtual step: the objective itself."""
        gradient = torch.autograd.grad(self.train_loss(), self.weights)
        before = [w.detach().clone() for w in self.weights]
        with torch.no_grad():
            for w, g, b in zip(self.weights, gradient, self.buffers, strict=True):
                w -= XI * (MOMENTUM * b + g + DECAY * w)
            value = float(self.val_loss())
            for w, old in zip(self.weights, before, strict=True):
                w.copy_(old)
        return value

    def truth(self, step: float = 1e-4) -> Tensor:
        slopes = torch.zeros_like(self.net.alpha)
        for index in range(slopes.numel()):
            values = []
            for sign in (1, -1):
                with torch.no_grad():
                    self.net.alpha.view(-1)[index] += sign * step
                values.append(self.unrolled())
                with torch.no_grad():
                    self.net.alpha.view(-1)[index] -= sign * step
            slopes.view(-1)[index] = (values[0] - values[1]) / (2 * step)
        return slopes


@pytest.fixture(scope="module")
def problem() -> Problem:
    return Problem()


@pytest.fixture(scope="module")
def truth(problem: Problem) -> Tensor:
    return problem.truth()


def error(computed: Tensor, true: Tensor) -> float:
    return float((computed - true).norm() / true.norm())


BOUND = {"exact": 1e-5, "finite_difference": 1e-2}


@pytest.mark.parametrize("form", BOUND)
def test_second_order_is_the_gradient_of_the_unrolled_objective(problem: Problem, truth: Tensor, form: str) -> None:
    assert error(problem.by(module, form), truth) < BOUND[form]


def test_first_order_is_not(problem: Problem, truth: Tensor) -> None:
    assert error(problem.by(module, "exact", "first"), truth) > 2e-2


MISTAKES = {
    "half times eps": ("(a - b) / (2 * eps)", "(a - b) / 2 * eps", ("finite_difference",)),
    "one-sided division": ("(a - b) / (2 * eps)", "(a - b) / eps", ("finite_difference",)),
    "no Hessian term": ("slope - learning_rate * through", "slope", ("exact", "finite_difference")),
    "wrong sign": ("slope - learning_rate * through", "slope + learning_rate * through",
                   ("exact", "finite_difference")),
    "no virtual step": ("with moved(weights, step):", "with moved(weights, [0 * s for s in step]):",
                        ("exact", "finite_difference")),
    "no momentum": ("momentum * buffer)", "0 * buffer)", ("exact", "finite_difference")),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_the_known_mistakes_are_noticed(problem: Problem, truth: Tensor, name: str) -> None:
    right, wrong, forms = MISTAKES[name]
    source = inspect.getsource(module)
    assert source.count(right) == 1, "the line that this test spoils has changed: spoil the new one"
    spoilt = types.ModuleType("spoilt")
    exec(compile(source.replace(right, wrong), "spoilt", "exec"), vars(spoilt))
    for form in forms:
        assert error(problem.by(spoilt, form), truth) > BOUND[form]


@pytest.mark.parametrize("form", BOUND)
@pytest.mark.parametrize("order", ["first", "second"])
def test_everything_is_left_as_it_was(problem: Problem, form: str, order: str) -> None:
    everything = [*problem.net.parameters(), *problem.buffers]
    before = [tensor.detach().clone() for tensor in everything]
    problem.by(module, form, order)
    assert all(torch.equal(a, b) for a, b in zip(everything, before, strict=True))
    assert all(p.grad is None and p.requires_grad for p in problem.net.parameters())


def test_weights_are_put_back_when_a_loss_fails(problem: Problem) -> None:
    before = [weight.detach().clone() for weight in problem.weights]

    def broken() -> Tensor:
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        module.hypergradient(problem.train_loss, broken, problem.weights, problem.alphas, order="second",
                             learning_rate=1.0)
    assert all(torch.equal(a, b) for a, b in zip(problem.weights, before, strict=True))


def test_an_alpha_that_no_loss_depends_on_gets_zeros(problem: Problem) -> None:
    for form in BOUND:
        gradient = module.hypergradient(problem.train_loss, problem.val_loss, problem.weights, problem.alphas,
                                     order="second", form=form, learning_rate=XI)
        assert gradient[1].tolist() == [0.0, 0.0]


def test_unknown_forms_are_refused(problem: Problem) -> None:
    with pytest.raises(ConfigError, match="first or second"):
        module.hypergradient(problem.train_loss, problem.val_loss, [], [], order="third")
