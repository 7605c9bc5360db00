# What the checks share: where they are, a folder to work in, and builds of the C layers without Python.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PIP_DISABLE_PIP_VERSION_CHECK=1
# As tests/c/test_c_programs.py has them, so that it finds in ccache what was compiled here.
strict="-std=c11 -O3 -ffp-contract=off -fno-math-errno -fno-trapping-math -fvisibility=hidden -Wall -Wextra -Wshadow -Wconversion -Werror"
# Each check builds in folders of its own; equal sources are compiled once nevertheless, where there is ccache.
ccache=$(command -v ccache || true)
export CCACHE_BASEDIR=$work CCACHE_NOHASHDIR=1 CC="${ccache:+ccache }gcc"
targets=$(cd "$root/src" && ls target_*.c | sed 's/target_\(.*\)\.c/\1/')
named=-DFQ_TARGETS=$(printf 'X(%s)' $targets)
layers="dispatch cpu formats params operations plan map reduce observe counts threads cache pages $(printf 'target_%s ' $targets)"

# build_c COMPILER PROGRAM FLAGS...: a program of tests/c with all layers below Python, as $work/PROGRAM
build_c() {
    local compiler=$1 program=$2
    shift 2
    local build=$work/$compiler-$program part
    mkdir -p "$build"
    # shellcheck disable=SC2086  # strict is a list of words
    for part in $layers; do
        $ccache "$compiler" $strict "$@" -I"$root/src" "$named" -c "$root/src/$part.c" -o "$build/$part.o"
    done
    $ccache "$compiler" $strict "$@" -I"$root/src" "$named" -c "$root/tests/c/$program.c" -o "$build/$program.o"
    "$compiler" "$@" "$build"/*.o -o "$work/$program" -lm -lpthread
}

# new_environment PACKAGES...: a virtual environment in $work/env, in use
new_environment() {
    python3 -m venv "$work/env"
    # shellcheck disable=SC1091
    . "$work/env/bin/activate"
    pip install -q "$@"
}

# install_frameworks: PyTorch, JAX and what JAX saves exported functions by, into the environment in use
install_frameworks() {
    local framework
    for framework in torch==2.13.0 jax flatbuffers; do
        pip install -q "$framework" >/dev/null 2>&1 || echo "no $framework here: its tests skip"
    done
}

# install_networks: what the pages on networks in JAX train and convert with, and networks and trainers of PyTorch
install_networks() {
    local package
    for package in flax optax equinox orbax-checkpoint qwix scikit-learn jax2onnx transformers lightning; do
        timeout 60 pip install -q "$package" >/dev/null 2>&1 || echo "no $package here: its tests skip"
    done
}

# install_exporters: what fq.onnx and fq.safetensors need, and wheels with networks in them, of which only the files are read
install_exporters() {
    local package
    for package in onnx onnxruntime safetensors compressed-tensors; do
        timeout 120 pip install -q "$package" >/dev/null 2>&1 || echo "no $package here: its tests skip"
    done
    for package in rapidocr-onnxruntime silero-vad magika nudenet; do
        pip install -q --no-deps "$package" >/dev/null 2>&1 || echo "no $package here: its networks are skipped"
    done
}

# install_scale: Dask, and what its tests read and are read by
install_scale() {
    local package
    for package in "dask[distributed]" zarr xarray; do
        timeout 60 pip install -q "$package" >/dev/null 2>&1 || echo "no $package here: its tests skip"
    done
}

# copy_source: the checkout without what was built in it, as $work/source
copy_source() {
    mkdir "$work/source"
    (cd "$root" && tar --exclude=.git --exclude='*.so' --exclude=build --exclude=__pycache__ -cf - .) |
        tar -xf - -C "$work/source"
    export PYTHONPATH=$work/source
}

# run_suite [PATHS]: fq info and the tests of the folder, or these, which is away from the source.
run_suite() {
    python -m fq info
    # test_benchmarks needs the folder of that name; mutants are of the laws and run nothing of fq's C.
    python -m pytest -q -p no:cacheprovider --ignore tests/commands/test_benchmarks.py \
        --ignore tests/testing/test_mutants.py "${@:-tests}"
}

# wheel_with PACKAGES...: a new environment that holds the wheel and these packages, and the tests, away from the source.
# The wheel is $FQ_WHEEL, or one built here.
wheel_with() {
    rm -rf "$work/env" "$work/away"
    new_environment "$@" hypothesis pytest threadpoolctl tqdm
    if [ -z "${FQ_WHEEL:-}" ]; then
        pip wheel -q --no-deps -w "$work/dist" "$root"
        FQ_WHEEL=$(ls "$work"/dist/*.whl)
    fi
    pip install -q --no-deps "$FQ_WHEEL"
    mkdir "$work/away"
    cp -r "$root/tests" "$root/pyproject.toml" "$work/away"
    cd "$work/away"
}
