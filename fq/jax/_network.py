"""Products of weights in a traced function: found by where their operands come from, and given other operands."""

import jax
from jax.extend import core

# What changes of an array no more than its shape, its type, or which part of it is used.
_SAME_VALUES = frozenset(
    {"broadcast_in_dim", "convert_element_type", "copy", "dynamic_slice", "optimization_barrier", "pcast", "reshape"}
    | {"rev", "sharding_constraint", "slice", "split", "squeeze", "transpose"}
)
_INLINED = frozenset({"closed_call", "core_call", "jit", "pjit"})
_CHECKPOINTS = frozenset({"checkpoint", "remat", "remat2"})
_PRODUCTS = frozenset({"conv_general_dilated", "dot_general"})


class Product:
    """A product in which one operand is a weight.

    Attributes
    ----------
    path : str
        The weight's name.
    weight : int
        Which of the operands it is; the other one is its input.
    kept : tuple of int
        The weight's axes that results have too: its output channels.
    """

    def __init__(self, path, weight, equation, values):
        self.path, self.weight, self.ndim = path, weight, values[weight].ndim
        numbers = equation.params["dimension_numbers"]
        if equation.primitive.name == "dot_general":
            summed = numbers[0][weight]
            self.kept = tuple(axis for axis in range(self.ndim) if axis not in summed)
        else:
            self.kept = (numbers.rhs_spec[0],)

    @property
    def summed(self):
        """The weight's axes that are summed over."""
        return tuple(axis for axis in range(self.ndim) if axis not in self.kept)


class Interpreter:
    """Computes what a jaxpr says, but for the products of weights.

    Parameters
    ----------
    change : callable
        Of a `Product` and its two operands; gives two operands.
    wanted : callable
        Of a path; whether products of this weight must be found.
    """

    def __init__(self, change, wanted):
        self.change, self.wanted = change, wanted

    def run(self, jaxpr, constants, values, paths):
        """The results and, for those that are a weight, its path."""
        known = dict(zip(jaxpr.constvars, [(value, None) for value in constants], strict=True))
        known.update(zip(jaxpr.invars, zip(values, paths, strict=True), strict=True))

        def read(variable):
            return (variable.val, None) if isinstance(variable, core.Literal) else known[variable]

        for equation in jaxpr.eqns:
            pairs = [read(variable) for variable in equation.invars]
            results = self._step(equation, [value for value, _ in pairs], [path for _, path in pairs])
            known.update(zip(equation.outvars, results, strict=True))
        pairs = [read(variable) for variable in jaxpr.outvars]
        return [value for value, _ in pairs], [path for _, path in pairs]

    def _step(self, equation, values, paths):
        name = equation.primitive.name
        if name in _PRODUCTS:
            return [(value, None) for value in _bind(equation, self._product(equation, values, paths))]
        if name in _INLINED:
            inner = equation.params.get("jaxpr", equation.params.get("call_jaxpr"))
            return list(zip(*self.run(inner.jaxpr, inner.consts, values, paths), strict=True))
        if name in _CHECKPOINTS:
            return self._checkpoint(equation, values, paths)
        self._refuse_what_is_within(equation, paths)
        kept = paths[0] if name in _SAME_VALUES and values else None
        return [(value, kept) for value in _bind(equation, values)]

    def _product(self, equation, values, paths):
        weight = 1 if paths[1] is not None else 0
        if paths[weight] is None or (weight == 0 and equation.primitive.name != "dot_general"):
            return values
        return self.change(Product(paths[weight], weight, equation, values), *values)

    def _checkpoint(self, equation, values, paths):
        inner, how = equation.params["jaxpr"], {name: equation.params[name] for name in ("policy", "prevent_cse")}
        found = jax.checkpoint(lambda *values: self.run(inner, (), values, paths)[0], **how)(*values)
        return [(value, None) for value in found]

    def _refuse_what_is_within(self, equation, paths):
        """NotImplementedError for products of wanted weights inside a loop, a branch, or a function with a rule."""
        within = sorted({path for path in paths if path is not None and self.wanted(path)})
        if within and any(_has_products(inner) for inner in _jaxprs_of(equation)):
            raise NotImplementedError(
                f"rules do not reach into {equation.primitive.name}, which uses {', '.join(within)}: unroll it, leave "
                "these weights out of the rules, or call fq.jax.fake_quantize inside"
            )


def _bind(equation, values):
    found = equation.primitive.get_bind_params(equation.params)
    functions, parameters = found if isinstance(found, tuple) else ((), found)  # until JAX 0.9, and after
    with equation.ctx.manager:
        found = equation.primitive.bind(*functions, *values, **parameters)
    return found if equation.primitive.multiple_results else [found]


def _jaxprs_of(equation):
    """The programs that an equation holds."""
    for value in jax.tree.leaves(list(equation.params.values()), is_leaf=_is_jaxpr):
        if _is_jaxpr(value):
            yield getattr(value, "jaxpr", value)


def _is_jaxpr(value):
    return isinstance(value, (core.Jaxpr, core.ClosedJaxpr))


def _has_products(jaxpr):
    return any(
        equation.primitive.name in _PRODUCTS or any(map(_has_products, _jaxprs_of(equation))) for equation in jaxpr.eqns
    )
