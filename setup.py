"""Builds the C extension fq._core; everything else stands in pyproject.toml.

Switches in the environment: FQ_DEBUG=1 (no optimisation), FQ_SANITIZE=1 (address and undefined behaviour),
FQ_COVERAGE=1 (gcov), FQ_CFLAGS (flags after all others), FQ_WERROR=1 (warnings are errors), FQ_NO_OPENMP=1 (one
thread), FQ_XLA_INCLUDE=DIR (the folder that holds xla/ffi/api/c_api.h; empty: no handlers for XLA), FQ_ABI3=0 (for
this Python alone, not for all from 3.11 on).
"""

import os
import sys
import sysconfig
import tempfile
from importlib.util import find_spec
from pathlib import Path

import numpy
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError, LinkError

OLDEST = (3, 11)  # Python that the stable ABI is asked of: requires-python in pyproject.toml
# Free-threaded Pythons have no stable ABI before 3.15.
ABI3 = os.environ.get("FQ_ABI3", "1") != "0" and not sysconfig.get_config_var("Py_GIL_DISABLED")


def is_on(switch):
    return os.environ.get(switch, "") not in ("", "0")


def has_openmp(compiler):
    """Whether the compiler builds and links a program with -fopenmp; without it fq runs on one thread."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "openmp.c")
        source.write_text("#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }\n")
        try:
            objects = compiler.compile([str(source)], output_dir=folder, extra_postargs=["-fopenmp"])
            compiler.link_executable(objects, str(Path(folder, "openmp")), extra_postargs=["-fopenmp"])
        except (CompileError, LinkError):
            return False
    return True


def xla_include():
    """The folder of XLA's headers in jaxlib, as a list; empty without one: fq.jax then runs in XLA's own.

    An isolated build cannot import the packages of the environment it builds for, but it can read its folders.
    """
    named = os.environ.get("FQ_XLA_INCLUDE")
    jaxlib = find_spec("jaxlib")
    folders = [sysconfig.get_path(kind) for kind in ("purelib", "platlib")]
    found = list(jaxlib.submodule_search_locations) if jaxlib else [Path(folder, "jaxlib") for folder in folders]
    candidates = [Path(folder, "include") for folder in found] if named is None else [Path(named)] if named else []
    headers = [folder for folder in candidates if (folder / "xla/ffi/api/c_api.h").is_file()]
    if named and not headers:
        sys.exit(f"FQ_XLA_INCLUDE={named}: there is no xla/ffi/api/c_api.h in it")
    return [str(folder) for folder in headers[:1]]


class BuildExt(build_ext):
    """Adds OpenMP where the compiler has it, and takes away what would hide a build in place."""

    def build_extensions(self):
        if sys.platform != "win32" and not is_on("FQ_NO_OPENMP") and has_openmp(self.compiler):
            for extension in self.extensions:
                extension.extra_compile_args.append("-fopenmp")
                extension.extra_link_args.append("-fopenmp")
        super().build_extensions()

    def copy_extensions_to_source(self):
        if ABI3:
            # Python prefers a module of its own version to one of the stable ABI.
            Path("fq", "_core" + sysconfig.get_config_var("EXT_SUFFIX")).unlink(missing_ok=True)
        super().copy_extensions_to_source()


def flags():
    """Compiler and linker flags. Results must not depend on them: no fused multiply-adds but the explicit ones."""
    if sys.platform == "win32":
        return ["/std:c11", "/O2", "/fp:precise", "/Zc:preprocessor"], []
    compile_flags = ["-std=c11", "-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
    compile_flags += ["-fvisibility=hidden", "-Wall", "-Wextra", "-Wshadow", "-Wconversion"]
    link_flags = []
    if is_on("FQ_WERROR"):
        compile_flags += ["-Werror"]
    if is_on("FQ_DEBUG"):
        compile_flags += ["-O0", "-g"]
    elif "-g" not in os.environ.get("CFLAGS", "").split():
        compile_flags += ["-g0"]  # Python's own flags often hold -g, which makes the wheel ten times larger.
    if is_on("FQ_SANITIZE"):
        # More than -O1, or places of variables for a debugger, and the kernels take ten times as long to compile.
        compile_flags += ["-O1", "-g1", "-fno-var-tracking"]
        compile_flags += ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
        link_flags += ["-fsanitize=address,undefined"]
    if is_on("FQ_COVERAGE"):
        compile_flags += ["-Og", "--coverage"]
        link_flags += ["--coverage"]
    return compile_flags + os.environ.get("FQ_CFLAGS", "").split(), link_flags


def targets():
    """The macro that names every target: X(avx2)X(avx512)... for src/target_avx2.c, src/target_avx512.c ..."""
    names = sorted(path.stem.removeprefix("target_") for path in Path("src").glob("target_*.c"))
    return "FQ_TARGETS", "".join(f"X({name})" for name in names)


def urls():
    """Links of the metadata: into the repository whose workflow builds this, and none elsewhere."""
    try:
        repository = "{GITHUB_SERVER_URL}/{GITHUB_REPOSITORY}".format_map(os.environ)
    except KeyError:
        return {}
    changelog = f"{repository}/blob/main/CHANGELOG.md"
    return {"Repository": repository, "Issues": f"{repository}/issues", "Changelog": changelog}


compile_flags, link_flags = flags()
xla = xla_include()
limited = [("Py_LIMITED_API", f"0x{OLDEST[0]:02x}{OLDEST[1]:02x}0000")] if ABI3 else []
setup(
    project_urls=urls(),
    cmdclass={"build_ext": BuildExt},
    options={"bdist_wheel": {"py_limited_api": f"cp{OLDEST[0]}{OLDEST[1]}"}} if ABI3 else {},
    ext_modules=[
        Extension(
            "fq._core",
            sources=sorted(str(path) for path in Path("src").glob("*.c")),
            depends=sorted(str(path) for path in Path("src").glob("*.h")),
            include_dirs=[numpy.get_include(), *xla],
            define_macros=[("FQ_HAVE_XLA_FFI", str(len(xla))), targets(), *limited],
            py_limited_api=ABI3,
            extra_compile_args=compile_flags,
            extra_link_args=link_flags,
        )
    ],
)
