"""What the commands share about what users give them: the error, and imports by name."""

import importlib


class InputError(Exception):
    """What was asked for is impossible; the message tells why in one line."""


def need(module, package, extra="demo"):
    """The imported module, or an InputError that says how to install it."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise InputError(f'this needs {package}: pip install "fq[{extra}]"') from None


def imported(option, path, form):
    """What a path like pkg.mod:name, given for an option, stands for."""
    module, _, attribute = path.partition(":")
    try:
        found = importlib.import_module(module)
        for name in attribute.split("."):
            found = getattr(found, name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(f"argument {option}: {path} is no {form}: {error}") from None
    return found
