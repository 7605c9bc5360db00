"""The C layers alone: every target equals the portable one to the last bit, and keeps to its instruction set."""

import platform
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import fq
from fq.formats import BlockFormat

PROGRAMS_IN = Path(__file__).resolve().parent
SOURCES = PROGRAMS_IN.parents[1] / "src"
PROGRAMS = ["kernel_test", "blocks_test", "observe_test", "exhaustive", "division"]
TARGETS = sorted(path.stem for path in SOURCES.glob("target_*.c"))
LAYERS = ["dispatch", "cpu", "formats", "params", *TARGETS]
OTHERS = [  # for the disassembly alone
    *["plan", "map", "reduce", "observe", "counts", "bins", "threads", "cache", "pages"],
    *["choose", "spans", "clip", "entropy"],
]
FLAGS = "-std=c11 -O3 -ffp-contract=off -fno-math-errno -fno-trapping-math -fvisibility=hidden"
WARNINGS = "-Wall -Wextra -Wshadow -Wconversion -Werror"
CROSS = "aarch64-linux-gnu-"
CACHE = ["ccache"] if shutil.which("ccache") else []

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SOURCES.is_dir(), reason="the C sources are only in the checkout"),
]


def needed(program):
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"there is no {program} here")
    return path


def run(*command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def has_openmp(compiler, folder):
    source = folder / "openmp.c"
    source.write_text("#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }\n")
    command = [compiler, "-fopenmp", source, "-o", folder / "openmp"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def named(targets):
    """The macro that names them, as setup.py makes it."""
    return "-DFQ_TARGETS=" + "".join(f"X({name.removeprefix('target_')})" for name in targets)


def build(compiler, folder, extra):
    """Compiles the layers and the programs into the folder."""
    flags = [*FLAGS.split(), *WARNINGS.split(), *extra, f"-I{SOURCES}", named(TARGETS)]

    def compile_one(source):
        run(*CACHE, compiler, *flags, "-c", source, "-o", folder / f"{source.stem}.o")

    sources = [SOURCES / f"{name}.c" for name in LAYERS + OTHERS]
    sources += [PROGRAMS_IN / f"{name}.c" for name in PROGRAMS]
    with ThreadPoolExecutor() as pool:
        list(pool.map(compile_one, sources))
    for name in PROGRAMS:
        objects = [folder / f"{part}.o" for part in [name, *LAYERS]]
        run(compiler, *extra, *objects, "-o", folder / name, "-lm")
    return folder


@pytest.fixture(scope="module")
def native(tmp_path_factory):
    compiler, folder = needed("cc"), tmp_path_factory.mktemp("native")
    return build(compiler, folder, ["-fopenmp"] if has_openmp(compiler, folder) else [])


@pytest.fixture(scope="module")
def neon(tmp_path_factory):
    compiler = needed(f"{CROSS}gcc")
    return build(compiler, tmp_path_factory.mktemp("neon"), ["-static"])


@pytest.fixture(scope="module")
def targets(native):
    """The targets of this machine but the portable one, which is what they are compared with."""
    names = re.findall(r"^(\w+): \d+ comparisons, all equal$", run(native / "kernel_test", 64, 64), re.MULTILINE)
    assert names[-1] == "portable"
    return names[:-1]


def test_every_kernel_equals_the_portable_one(native):
    assert re.fullmatch(r"(\w+: \d{7,} comparisons, all equal\n)+", run(native / "kernel_test"))


def test_random_words_and_blocks_equal_the_portable_ones(native):
    assert re.fullmatch(r"(\w+: \d{6,} comparisons, all equal\n)+", run(native / "blocks_test"))


def test_blocks_are_compared_in_every_format_that_has_a_name():
    rows = re.findall(r'^    \{"(\w+)", (\d+),', (PROGRAMS_IN / "blocks_test.c").read_text(), re.MULTILINE)
    named = {name: one for name in fq.formats.__all__ if isinstance(one := getattr(fq.formats, name), BlockFormat)}
    assert {name: one.block for name, one in named.items()}.items() <= {name: int(n) for name, n in rows}.items()


def test_what_an_observer_takes_equals_a_plain_loop(native):
    assert re.fullmatch(r"(\w+: \d{7,} comparisons, all equal\n)+", run(native / "observe_test"))


@pytest.mark.parametrize("name", ["kernel_test", "blocks_test"])
def test_a_type_without_words_of_its_own_is_converted_lane_by_lane(name, tmp_path):
    program, parts = tmp_path / name, ["dispatch", "cpu", "formats", "params", "target_portable"]
    sources = [
        PROGRAMS_IN / f"{name}.c",
        PROGRAMS_IN / "target_by_lane.c",
        *(SOURCES / f"{part}.c" for part in parts),
    ]
    flags = [*FLAGS.split(), "-O1", *WARNINGS.split(), f"-I{SOURCES}", named(["by_lane", "portable"])]
    run(needed("cc"), *flags, *sources, "-o", program, "-lm")
    output = run(program, *{"kernel_test": (11, 257), "blocks_test": (7,)}[name])
    assert re.fullmatch(r"by_lane: \d{5,} comparisons, all equal\nportable: \d{5,} comparisons, all equal\n", output)


@pytest.mark.slow
def test_float32_kernels_equal_the_portable_ones_over_the_whole_range(native, targets):
    assert_no_differences(run(native / "exhaustive", 1021), targets or ["portable"], (2**32 + 1020) // 1021)


@pytest.mark.slow
def test_fast_division_is_correctly_rounded_where_it_is_hardest(native):
    assert re.fullmatch(r"1198373 scales, \d{7} hard cases, 0 failures\n", run(native / "division", 7))


@pytest.mark.slow
def test_neon_kernels_equal_the_portable_ones(neon):
    output = run(needed("qemu-aarch64"), neon / "kernel_test", 11, 257)
    assert re.fullmatch(r"neon: \d{6,} comparisons, all equal\nportable: \d{6,} comparisons, all equal\n", output)


@pytest.mark.slow
def test_random_words_and_blocks_by_neon_equal_the_portable_ones(neon):
    output = run(needed("qemu-aarch64"), neon / "blocks_test", 11)
    assert re.fullmatch(r"neon: \d{4,} comparisons, all equal\nportable: \d{4,} comparisons, all equal\n", output)


@pytest.mark.slow
def test_what_an_observer_takes_by_neon_equals_a_plain_loop(neon):
    output = run(needed("qemu-aarch64"), neon / "observe_test", 3)
    assert re.fullmatch(r"neon: \d{7,} comparisons, all equal\nportable: \d{7,} comparisons, all equal\n", output)


@pytest.mark.slow
def test_neon_float32_kernels_equal_the_portable_ones_over_the_whole_range(neon):
    output = run(needed("qemu-aarch64"), neon / "exhaustive", 4099)
    assert_no_differences(output, ["neon"], (2**32 + 4098) // 4099)


def assert_no_differences(output, names, inputs):
    pattern = r"(\w+): scale .*: (\d+) inputs, differences: 0 by fast division, 0 by division, 0 by multiplication"
    matches = [re.fullmatch(pattern, line) for line in output.splitlines()]
    assert [match and match.groups() for match in matches] == [(name, str(inputs)) for name in names] * 8


def functions(objdump, path):
    """The disassembly of each function."""
    parts = re.split(r"^[0-9a-f]+ <([^>]+)>:$", run(objdump, "-d", "--no-show-raw-insn", path), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def kernels(objdump, path):
    """The disassembly of all 4 * (5 * 5 + 2) kernels of a target; the compiler may merge equal ones."""
    ops = "fake_quantize|forward|forward_packed|backward_recompute|backward_learnable|backward|backward_packed"
    name = rf"({ops})(_FQ_\w+)?_(b?f16|f32|f64)"
    found = {name_: code for name_, code in functions(objdump, path).items() if re.fullmatch(name, name_)}
    assert len(found) >= 100
    return found


@pytest.fixture(scope="module")
def objdump():
    if platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("this machine is not x86-64")
    return needed("objdump")


@pytest.mark.parametrize(("target", "uses", "never"), [("avx512", "%zmm", None), ("avx2", "%ymm", "%zmm")])
def test_every_kernel_uses_the_registers_of_its_target(native, objdump, target, uses, never):
    code = kernels(objdump, native / f"target_{target}.o")
    assert [name for name, text in code.items() if uses not in text] == []
    assert [name for name, text in code.items() if never and never in text] == []


@pytest.mark.parametrize("name", ["target_portable", *OTHERS, *(name for name in LAYERS if "target" not in name)])
def test_no_other_file_is_compiled_for_an_instruction_set(native, objdump, name):
    code = functions(objdump, native / f"{name}.o")
    assert code
    assert [function for function, text in code.items() if "%ymm" in text or "%zmm" in text] == []


@pytest.mark.slow
def test_every_neon_kernel_uses_vector_registers(neon):
    code = kernels(needed(f"{CROSS}objdump"), neon / "target_neon.o")
    vector = re.compile(r"\bv\d+\.(4s|2d)")
    assert [name for name, text in code.items() if not vector.search(text)] == []
    fast = [name for name in code if "_FQ_DIVIDE_FAST_" in name]
    assert len(fast) == 20
    for instruction in "fmla", "fmls":
        pattern = re.compile(rf"\b{instruction}\b.*\.(4s|2d)")
        assert [name for name in fast if not pattern.search(code[name])] == []
