"""Builds the C extension fq._core; everything else stands in pyproject.toml.

Switches in the environment: FQ_DEBUG=1 (no optimisation), FQ_SANITIZE=1 (address and undefined behaviour),
FQ_COVERAGE=1 (gcov), FQ_WERROR=1 (warnings are errors).
"""

import os
import sys
from pathlib import Path

import numpy
from setuptools import Extension, setup


def is_on(switch):
    return os.environ.get(switch, "") not in ("", "0")


def flags():
    """Compiler and linker flags. Results must not depend on them: no fused multiply-adds but the explicit ones."""
    if sys.platform == "win32":
        return ["/std:c11", "/O2", "/fp:precise"], []
    compile_flags = ["-std=c11", "-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
    compile_flags += ["-fvisibility=hidden", "-Wall", "-Wextra", "-Wshadow", "-Wconversion"]
    link_flags = []
    if is_on("FQ_WERROR"):
        compile_flags += ["-Werror"]
    if is_on("FQ_DEBUG"):
        compile_flags += ["-O0", "-g"]
    if is_on("FQ_SANITIZE"):
        compile_flags += ["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
        link_flags += ["-fsanitize=address,undefined"]
    if is_on("FQ_COVERAGE"):
        compile_flags += ["-O0", "--coverage"]
        link_flags += ["--coverage"]
    return compile_flags, link_flags


compile_flags, link_flags = flags()
setup(
    ext_modules=[
        Extension(
            "fq._core",
            sources=sorted(str(path) for path in Path("src").glob("*.c")),
            depends=sorted(str(path) for path in Path("src").glob("*.h")),
            include_dirs=[numpy.get_include()],
            extra_compile_args=compile_flags,
            extra_link_args=link_flags,
        )
    ]
)
