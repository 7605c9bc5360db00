"""Rules for whole networks in JAX: which products of weights are quantized, and how, by the names of the weights."""

import fnmatch
import sys
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

import fq
from fq._range_arguments import Kind, check_method
from fq.jax import _network
from fq.jax._ranges import calibrate, grouped

LEAST_LEARNED = 2.0**-23


@dataclass(frozen=True)
class Rule:
    """How products of weights are quantized: dense layers and convolutions.

    Parameters
    ----------
    pattern : str
        The names of the weights, with ``*`` and ``?`` as in file names: ``"*"`` is all of them, ``"encoder.*.kernel"``
        those of a part.
    weights, activations : int, optional
        Bits for the weights, on a symmetric grid, and for what they are multiplied with, on one that is not. None
        leaves it in float.
    per : {"channel", "tensor"} or int
        Whether weights have a scale for each output channel, one for all, or one for each group of so many along the
        axis that is summed over. Activations have one.
    method, p
        As for `calibrate`.
    learned : bool
        Whether scales are learned (LSQ): they are those of a state, with a gradient, which is multiplied with
        `fq.scale_gradient_factor`. A scale below eps is taken as eps.
    eps : float, optional
        As for `calibrate`; ``2**-23`` for learned scales, if not given.
    but : tuple of str
        Patterns of names that the rule leaves out.

    Raises
    ------
    TypeError, ValueError
        If bits, per, method, p or eps is impossible, or there are no bits.

    Examples
    --------
    >>> Rule("*.kernel", weights=4, activations=8, but=("head.*",)).matches("head.kernel")
    False
    """

    pattern: str
    weights: int | None = None
    activations: int | None = None
    per: str | int = "channel"
    method: str = "minmax"
    p: float = 99.99
    learned: bool = False
    eps: float | None = None
    but: tuple[str, ...] = ()

    def __post_init__(self):
        if self.weights is None and self.activations is None:
            raise ValueError(f"rule {self.pattern!r} has no bits: give weights=8, activations=8 or both")
        for bits in (self.weights, self.activations):
            if bits is not None:
                Kind.of(bits, True, False, False, self.eps, "cover")
        check_method(self.method, self.p)
        is_size = isinstance(self.per, int) and not isinstance(self.per, bool) and self.per > 0
        if self.per not in ("channel", "tensor") and not is_size:
            raise ValueError(f'per must be "channel", "tensor" or the size of a group, got {self.per!r}')
        if isinstance(self.but, str):
            raise TypeError(f"but must be a tuple of patterns, got {self.but!r}: give ({self.but!r},)")

    def matches(self, path):
        """Whether the rule is for the weight of this name."""
        return fnmatch.fnmatchcase(path, self.pattern) and not any(fnmatch.fnmatchcase(path, one) for one in self.but)


def quantized(function, rules):
    """The function with the products of its weights quantized, as the rules say.

    Weights are the parameters that are an operand of a matrix product or a convolution, in another shape or type or in
    parts too. What is computed from parameters is none: `Quantized.paths` tells the names of all that are. Gradients
    are straight-through, and no gradient passes into a range.

    Parameters
    ----------
    function : callable
        Of parameters and of anything else: ``function(parameters, x)``. Parameters are a pytree, such as a dict or an
        Equinox module, or a module of flax NNX, whose weights are then its ``nnx.Param``.
    rules : Rule or sequence of Rule
        Each must match a weight, and no weight may be matched by two.

    Returns
    -------
    Quantized
        A function of the same arguments, for use inside of ``jax.jit``, or of ``nnx.jit`` or ``eqx.filter_jit``.

    Raises
    ------
    TypeError
        If rules are not of Rule.
    ValueError
        In a call: if a rule, or a part of the state, is for no weight that is multiplied, if two rules are for one
        weight, or if groups do not divide it. The names are told.
    NotImplementedError
        In a call: if a weight of a rule is multiplied inside of a loop, a branch, or a function with derivatives of its
        own, where rules do not reach.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> forward = lambda parameters, x: jax.nn.relu(x @ parameters["hidden"]) @ parameters["out"]
    >>> run = quantized(forward, [Rule("hidden", weights=4, activations=8), Rule("out", weights=8)])
    >>> parameters, x = {"hidden": jnp.eye(3), "out": jnp.ones((3, 1))}, jnp.array([[1.0, 2.0, -1.0]])
    >>> print(forward(parameters, x), jax.jit(run)(parameters, x))
    [[3.]] [[2.789025]]
    """
    rules = [rules] if isinstance(rules, Rule) else list(rules)
    if not all(isinstance(rule, Rule) for rule in rules):
        raise TypeError(f"rules must be of Rule, got {rules}")
    return Quantized(function, rules)


class Quantized:
    """A function made by `quantized`, which works under every transform of JAX.

    Parameters
    ----------
    function, rules
        Those of `quantized`.
    """

    def __init__(self, function, rules):
        self.function, self.rules = function, rules

    def __call__(self, parameters, *args, state=None, **kwargs):
        """What the function gives, with quantized products.

        Ranges are chosen anew in each call, but for those in ``state``, a dict as `calibrate` gives.
        """
        session = _Session(self.rules, {} if state is None else state)
        return session.run(self.function, parameters, args, kwargs)

    def calibrate(self, parameters, *args, of="all", **kwargs):
        """The state: scale and zero_point of all that is quantized, seen in a call of the function in float.

        Parameters
        ----------
        parameters, *args, **kwargs
            Those of the function.
        of : {"all", "weights", "inputs"}
            What the state has. Weights that are trained move out of a range that is kept; learned ones bring theirs
            with them.

        Returns
        -------
        dict
            ``{name of the weight: {"weights": {"scale": ..., "zero_point": ...}, "inputs": {...}}}``
        """
        if of not in ("all", "weights", "inputs"):
            raise ValueError(f'of must be "all", "weights" or "inputs", got {of!r}')
        session = _Session(self.rules, {})
        session.trace(partial(session.observe, of), self.function, parameters, args, kwargs)
        session.check()
        return session.seen

    def paths(self, parameters, *args, **kwargs):
        """The names of all weights that are multiplied in a call, whether or not a rule matches them."""
        session = _Session([], {})
        jax.eval_shape(lambda: session.trace(session.quantize, self.function, parameters, args, kwargs)[0])
        return sorted(session.paths)


class _Session:
    """One call: which products it met, and what rules say of them."""

    def __init__(self, rules, state):
        self.rules, self.state, self.seen, self.paths = rules, state, {}, {}

    def run(self, function, parameters, args, kwargs):
        """What the function gives, quantized."""
        values, shapes, finish = self.trace(self.quantize, function, parameters, args, kwargs)
        self.check()
        return finish(jax.tree.unflatten(jax.tree.structure(shapes), values))

    def trace(self, change, function, parameters, args, kwargs):
        """The results of the function with its products changed, as a list; how they look; and how the call ends."""
        call, leaves, paths, finish = _flat(function, parameters, args, kwargs)
        closed, shapes = jax.make_jaxpr(call, return_shape=True)(*leaves)
        interpreter = _network.Interpreter(change, lambda path: self.rule_of(path) is not None)
        values, _ = interpreter.run(closed.jaxpr, closed.consts, leaves, paths)
        return values, shapes, finish

    def rule_of(self, path):
        """The rule for a weight, or None; ValueError where there are two."""
        found = [rule for rule in self.rules if rule.matches(path)]
        if len(found) > 1:
            patterns = " and ".join(repr(rule.pattern) for rule in found)
            raise ValueError(f"rules {patterns} are both for {path}: leave it out of one, with but=({path!r},)")
        return found[0] if found else None

    def check(self):
        """ValueError for a rule, or a part of the state, that is for nothing."""
        paths = ", ".join(sorted(self.paths)) or "none"
        for rule in self.rules:
            if not any(rule.matches(path) for path in self.paths):
                raise ValueError(f"rule {rule.pattern!r} matches no weight that is multiplied: there are {paths}")
            for pattern in rule.but:
                if not any(fnmatch.fnmatchcase(path, pattern) for path in self.paths):
                    raise ValueError(f"but={pattern!r} matches no weight that is multiplied: there are {paths}")
        unknown = sorted(set(self.state) - self.seen.keys())
        if unknown:
            raise ValueError(f"the state has {', '.join(unknown)}, which no rule quantizes here: there are {paths}")

    def meet(self, product):
        """The name of a product, which is its weight's for the first of them, and its rule."""
        uses = self.paths[product.path] = self.paths.get(product.path, 0) + 1
        return product.path if uses == 1 else f"{product.path}:{uses}", self.rule_of(product.path)

    def observe(self, of, product, *operands):
        """The operands as they are; what is seen of them is kept."""
        name, rule = self.meet(product)
        for kind, tensor in _quantized_of(rule, product, operands):
            if of in ("all", kind):
                scale, zero_point, *_ = tensor.chosen()
                self.seen.setdefault(name, {})[kind] = {"scale": scale, "zero_point": zero_point}
        return operands

    def quantize(self, product, *operands):
        """The operands as the rule says."""
        name, rule = self.meet(product)
        operands = list(operands)
        for kind, tensor in _quantized_of(rule, product, operands):
            self.seen.setdefault(name, {})
            given = self.state.get(name, {}).get(kind)
            if rule.learned and given is None:
                raise ValueError(f"the scale of {name} is learned, but the state has no {kind!r} of it: give state=")
            place = product.weight if kind == "weights" else 1 - product.weight
            operands[place] = tensor.quantized(given)
        return operands


class _Tensor:
    """An operand, as it is quantized."""

    def __init__(self, x, bits, rule, symmetric, axis=None, along=None):
        self.x, self.bits, self.rule, self.symmetric, self.axis, self.along = x, bits, rule, symmetric, axis, along

    @property
    def arranged(self):
        """The array that scales broadcast against."""
        if self.along is None:
            return self.x
        return grouped(jnp.moveaxis(self.x, self.along, -1), self.rule.per)

    def chosen(self):
        """The grid."""
        axis = tuple(range(self.x.ndim)) if self.along is not None else self.axis
        rule = self.rule
        how = {"method": rule.method, "p": rule.p, "eps": rule.eps, "symmetric": self.symmetric}
        return calibrate(self.arranged, self.bits, axis, **how)

    def quantized(self, given):
        """The values of the grid: one that is given, or chosen."""
        x = self.arranged
        if given is None:
            y = fq.jax.fake_quantize(x, *self.chosen())
        else:
            *_, qmin, qmax = fq.choose_qparams(0, 1, self.bits)
            y = self._with(given, x, qmin, qmax)
        return y if self.along is None else jnp.moveaxis(y.reshape(*y.shape[:-2], -1), -1, self.along)

    def _with(self, given, x, qmin, qmax):
        scale, zero_point = given["scale"], given["zero_point"]
        if not self.rule.learned:
            return fq.jax.fake_quantize(x, scale, zero_point, qmin, qmax)
        factor = fq.scale_gradient_factor(x.size // np.size(scale), qmax)
        known = jax.lax.stop_gradient(scale)
        scale = known + (scale - known) * factor
        eps = LEAST_LEARNED if self.rule.eps is None else self.rule.eps
        return fq.jax.fake_quantize_learnable(x, scale, zero_point, qmin, qmax, eps=eps)


def _quantized_of(rule, product, operands):
    """The operands that a rule quantizes, each with its kind."""
    if rule is not None and rule.weights is not None:
        yield "weights", _weight(rule, product, operands[product.weight])
    if rule is not None and rule.activations is not None:
        yield "inputs", _Tensor(operands[1 - product.weight], rule.activations, rule, symmetric=False)


def _weight(rule, product, x):
    axis = along = None
    if rule.per == "channel":
        axis = product.kept
    elif rule.per != "tensor":
        if len(product.summed) != 1:
            raise ValueError(
                f"rule {rule.pattern!r} has groups along the axis that is summed over, but {product.path} has "
                f'{len(product.summed)} of them: take per="channel"'
            )
        (along,) = product.summed
    return _Tensor(x, rule.weights, rule, True, axis, along)


def _flat(function, parameters, args, kwargs):
    """A call as a function of arrays; these, with the paths of the parameters among them; and how it ends."""
    nnx = sys.modules.get("flax.nnx")
    if nnx is not None and isinstance(parameters, nnx.Module):
        return _flat_nnx(nnx, function, parameters, args, kwargs)
    made = _arrays_of(lambda parameters, rest: function(parameters, *rest[0], **rest[1]), parameters, (args, kwargs))
    return *made, lambda results: results


def _flat_nnx(nnx, module_function, module, args, kwargs):
    """Likewise for a module, whose other variables change as they do in a call of it."""
    graph, weights, others = nnx.split(module, nnx.Param, ...)

    def function(weights, rest):
        others, args, kwargs = rest
        merged = nnx.merge(graph, weights, others)
        results = module_function(merged, *args, **kwargs)
        return results, nnx.split(merged, nnx.Param, ...)[2]

    def finish(results):
        results, others = results
        nnx.update(module, others)
        return results

    call, leaves, paths = _arrays_of(function, weights, (others, args, kwargs))
    return call, leaves, [path and path.removesuffix(".value") for path in paths], finish


def _arrays_of(function, parameters, rest):
    """A function of the arrays in its arguments; these; and the paths of those that are parameters."""
    named, tree = jax.tree_util.tree_flatten_with_path(parameters)
    others, tree_of_rest = jax.tree.flatten(rest)
    leaves = [leaf for _, leaf in named] + others
    places = [place for place, leaf in enumerate(leaves) if isinstance(leaf, (jax.Array, np.ndarray))]

    def call(*arrays):
        filled = list(leaves)
        for place, array in zip(places, arrays, strict=True):
            filled[place] = array
        count = len(named)
        return function(tree.unflatten(filled[:count]), tree_of_rest.unflatten(filled[count:]))

    names = [jax.tree_util.keystr(path, simple=True, separator=".") or "parameters" for path, _ in named]
    names += [None] * len(others)
    return call, [leaves[place] for place in places], [names[place] for place in places]
