# What the checks share: where they are, a folder to work in, and builds of the C layers without Python.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PIP_DISABLE_PIP_VERSION_CHECK=1
strict="-std=c11 -ffp-contract=off -fno-math-errno -fno-trapping-math -Wall -Wextra -Wshadow -Wconversion -Werror"
targets=$(cd "$root/src" && ls target_*.c | sed 's/target_\(.*\)\.c/\1/')
layers="dispatch cpu params axes loops learnable threads cache pages $(printf 'target_%s ' $targets)"

# build_c COMPILER PROGRAM FLAGS...: a program of tests/c with all layers below Python, as $work/PROGRAM
build_c() {
    local compiler=$1 program=$2
    shift 2
    # shellcheck disable=SC2086  # strict is a list of words
    (cd "$root/src" && "$compiler" $strict "$@" -DFQ_TARGETS="$(printf 'X(%s)' $targets)" -I. "../tests/c/$program.c" $(printf '%s.c ' $layers) \
        -o "$work/$program" -lm -lpthread)
}

# new_environment PACKAGES...: a virtual environment in $work/env, in use
new_environment() {
    python3 -m venv "$work/env"
    # shellcheck disable=SC1091
    . "$work/env/bin/activate"
    pip install -q "$@"
}

# copy_source: the checkout without what was built in it, as $work/source
copy_source() {
    mkdir "$work/source"
    (cd "$root" && tar --exclude=.git --exclude='*.so' --exclude=build --exclude=__pycache__ -cf - .) |
        tar -xf - -C "$work/source"
    export PYTHONPATH=$work/source
}

# run_suite: fq info and the tests of the folder, which is away from the source.
run_suite() {
    python -m fq info
    # test_benchmarks needs the folder of that name.
    python -m pytest -q -p no:cacheprovider --ignore tests/test_benchmarks.py tests
}

# suite_on_wheel PACKAGES...: the suite in a new environment that holds the wheel and these packages, away from the source.
# The wheel is $FQ_WHEEL, or one built here.
suite_on_wheel() {
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
    run_suite
}
