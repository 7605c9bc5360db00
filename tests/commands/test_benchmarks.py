"""The benchmarks run, report every cell that was asked for, and time the same work in every library."""

import importlib
import json
import re
from itertools import product
from pathlib import Path

import numpy as np
import pytest

import fq
from fq import _core

ROOT = Path(__file__).resolve().parents[2]
SIZES, TYPES = [1000, 4096], ["float16", "float32", "float64"]
PEERS = ["NumPy formula", "PyTorch eager", "torch.compile", "JAX", "numba", "ONNX Runtime", "OpenVINO"]


@pytest.fixture
def module(monkeypatch):
    """Imports a module of the benchmarks, which no wheel has."""
    if not (ROOT / "benchmarks").is_dir():
        pytest.skip("the benchmarks are only in the checkout")
    monkeypatch.syspath_prepend(ROOT)
    return lambda name: importlib.import_module(f"benchmarks.{name}")


def main(module, *arguments):
    return module("__main__").main([str(argument) for argument in arguments])


def test_every_cell_of_the_grid_is_reported(module, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    threads, targets = [1, 2], _core.targets()
    grid = ["--sizes", *SIZES, "--types", *TYPES, "--targets", *targets, "--threads", *threads, "--rounds", 2]
    assert main(module, "--quick", "--out", tmp_path, *grid) == 0
    result = json.loads((tmp_path / "results.json").read_text())
    rows = [row for row in result["rows"] if row["section"] == "grid"]
    functions = [f"fq.{name}" for name in module("sections").FUNCTIONS]
    expected = set(product(SIZES, TYPES, functions, targets, threads))
    expected |= set(product(SIZES, TYPES, ["np.copyto"], [None], [1]))
    assert {tuple(r[k] for k in ("elements", "type", "function", "target", "threads")) for r in rows} == expected
    assert len(rows) == len(expected)
    assert (tmp_path / "speed.svg").read_text("utf-8").startswith("<?xml")
    assert (tmp_path / "results.md").read_text().strip() == capsys.readouterr().out.strip()


def test_speeds_are_relative_to_the_yardsticks_of_the_same_cell(module, tmp_path):
    pytest.importorskip("matplotlib")
    yardsticks = module("timing").YARDSTICKS
    assert main(module, "--quick", "--out", tmp_path) == 0
    result = json.loads((tmp_path / "results.json").read_text())
    for row in result["rows"]:
        cell = [r for r in result["rows"] if all(r[k] == row[k] for k in ("section", "type", "shape"))]
        found = {name: [r for r in cell if r["function"] == function] for name, function in yardsticks.items()}
        beside = {"learnable": {"add"}, "ranges": set(), "integers": set(), "observer": set()}
        beside["formats and rounding"] = set()
        others = beside.get(row["section"].partition(",")[0], {"forward"})
        assert {name for name, rows in found.items() if rows} == {"copy"} | others
        assert 0 < row["min_us"] <= row["median_us"] <= row["max_us"]
        for name, rows in found.items():
            assert row[f"relative_to_{name}"] == (rows[0]["median_us"] / row["median_us"] if rows else None)
            assert row[f"warm_relative_to_{name}"] == (rows[0]["warm_us"] / row["warm_us"] if rows else None)
        assert row["giga_elements_per_s"] == pytest.approx(row["elements"] / row["median_us"] / 1000)


def test_candidates_take_turns_in_changing_order(module):
    timing, order = module("timing"), []
    candidates = [timing.Candidate(name, lambda name=name: order.append(name)) for name in "abc"]
    timing.interleave(candidates, rounds=3, calls=1)
    assert "".join(order) == "abc" + "aabbcc" + "aaccbb" + "ccaabb"


def test_what_is_repeated_is_warm_and_the_first_calls_are_in_turn(module):
    timing, calls = module("timing"), []
    in_turn, warm = timing.interleave([timing.Candidate("a", lambda: calls.append(1))], rounds=2, calls=32)
    assert len(calls) == 1 + 2 * (32 // timing.CALLS_IN_TURN + 32)
    assert [len(samples) for samples in (in_turn[0], warm[0])] == [2, 2]


def test_rows_lie_as_their_titles_say(module):
    sections = module("sections")
    for lay, contiguous_axis in ((sections.with_gaps, -1), (sections.permuted, -2)):
        array = lay((3, 4, 5), np.float32)
        assert array.shape == (3, 4, 5)
        assert array.strides[contiguous_axis] == 4
        assert not array.flags.c_contiguous


def test_the_settings_are_put_back(module):
    before = _core.target(), fq.get_num_threads()
    assert main(module, "--quick", "--rounds", 1, "--sizes", 8, "--targets", _core.targets()[-1], "--threads", 2) == 0
    assert (_core.target(), fq.get_num_threads()) == before


def test_a_function_that_fq_lacks_is_noted(module, monkeypatch, capsys):
    monkeypatch.delattr(fq, "forward_packed")
    assert main(module, "--quick", "--rounds", 1, "--sizes", 8, "--functions", "forward", "forward_packed") == 0
    assert "- fq.forward_packed: this fq does not have it" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sizes", "big"], "not a size: 'big'"),
        (["--sizes", "0"], "not a size: '0'"),
        (["--sizes", "K"], "not a size: 'K'"),
        (["--types", "int8"], "invalid choice: 'int8'"),
        (["--functions", "sideways"], "invalid choice: 'sideways'"),
        (["--targets", "abacus"], "invalid choice: 'abacus'"),
        (["--threads", "0"], "not a positive integer: '0'"),
        (["--rounds", "-1"], "--rounds"),
        (["--out", __file__], "--out"),
        (["--sideways"], "unrecognized arguments: --sideways"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) and value[0] != "--out" else None,
)
def test_a_bad_argument_is_one_line_and_exit_code_2(module, capsys, arguments, message):
    pytest.importorskip("matplotlib")
    with pytest.raises(SystemExit) as stopped:
        main(module, *arguments)
    captured = capsys.readouterr()
    assert stopped.value.code == 2
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert message in captured.err


def test_sizes_are_read_in_powers_of_two(module):
    size = module("__main__").size
    assert [size(text) for text in ("100", "64K", "64Ki", "1M", "2m")] == [100, 65536, 65536, 2**20, 2**21]


def away_from_ties(shape):
    """Values near every level, in range and out, none near the middle between two."""
    offsets = np.random.default_rng(3).uniform(-0.4, 0.4, shape)
    return ((np.resize(np.arange(-160, 160), shape) + offsets) * 0.05).astype(np.float32)


def built(module, name, *arguments):
    peer = module("peers").build(name, *arguments)
    if isinstance(peer, str):
        assert name != "NumPy formula", peer
        pytest.skip(peer)
    return peer.results(peer.call()), peer.gives


@pytest.mark.filterwarnings("ignore")  # the warnings of other libraries are not ours
@pytest.mark.parametrize("name", PEERS)
def test_a_peer_does_the_same_work(module, name):
    peers = module("peers")
    x = away_from_ties(1000)
    expected_y, expected_mask = fq.reference.forward(x, *peers.GRID)
    (y, mask), gives = built(module, name, x, peers.ALL_THREADS if name == "JAX" else 1)
    np.testing.assert_allclose(y, expected_y, rtol=1e-6, atol=1e-6)
    assert (mask is None) == (gives == "y only")
    if mask is not None:
        np.testing.assert_array_equal(mask, expected_mask)


def test_the_peer_per_channel_does_the_same_work(module):
    x = away_from_ties((4, 3, 80))
    scale, zero_point = np.float32([0.05, 0.1, 0.025]), np.array([0, 1, -2])
    columns = scale[:, None], zero_point[:, None]
    expected_y, expected_mask = fq.reciprocal.forward(x, *columns, -128, 127)
    (y, mask), _ = built(module, "PyTorch eager per channel", x, 1, scale, zero_point, 1)
    np.testing.assert_array_equal(y, expected_y)
    np.testing.assert_array_equal(mask, expected_mask)


@pytest.mark.parametrize("axis", [None, 0, 1])
def test_the_learnable_peer_does_the_same_work(module, axis):
    x = away_from_ties((3, 200))
    dy = np.random.default_rng(4).standard_normal(x.shape, np.float32)
    channels = () if axis is None else (x.shape[axis],)
    scale, zero_point = np.full(channels, 0.05, np.float32), np.zeros(channels, np.int64)
    columns = [each.reshape(channels + (1,) * (axis == 0)) for each in (scale, zero_point)]
    expected = fq.reciprocal.backward_learnable(dy, x, *columns, -128, 127)
    results, _ = built(module, "PyTorch learnable", x, 1, dy, scale, zero_point, axis)
    np.testing.assert_array_equal(results[0], expected[0])
    for found, sums in zip(results[1:], expected[1:], strict=True):
        np.testing.assert_allclose(found.ravel(), np.ravel(sums), rtol=1e-4, atol=1e-3)


def test_a_peer_that_fails_is_a_line(module, monkeypatch):
    peers = module("peers")

    def failing(x, threads):
        raise RuntimeError("no compiler\nand a long trace")

    monkeypatch.setitem(peers.ADAPTERS, "numba", failing)
    assert peers.build("numba", np.zeros(3, np.float32), 1) == "numba, 1 thread: absent: no compiler"
    monkeypatch.setitem(peers.ADAPTERS, "numba", lambda x, threads: importlib.import_module("no_such_library"))
    assert peers.build("numba", np.zeros(3, np.float32), 2) == (
        "numba, 2 threads: absent: no_such_library is not installed"
    )


def commands():
    """The modules that run as a command."""
    folder = ROOT / "benchmarks"
    files = [file for file in folder.rglob("*.py") if 'if __name__ == "__main__":' in file.read_text("utf-8")]
    return sorted(".".join(file.relative_to(folder).with_suffix("").parts) for file in files)


@pytest.mark.parametrize("command", commands())
def test_the_help_of_a_benchmark_has_quick_and_says_how_long_it_takes(module, command, capsys):
    if command.startswith("mobilenet_v2"):
        for package in ("torch", "sklearn", "matplotlib"):
            pytest.importorskip(package)
    with pytest.raises(SystemExit) as stopped:
        module(command).main(["--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert stopped.value.code == 0
    assert "[--quick]" in told
    assert re.search(r"Takes about [a-z ]+ minutes?,.* and with --quick (some seconds|one|little less)\.", told)


@pytest.mark.parametrize("rounds", [50, 7])
def test_quick_sets_defaults_and_what_is_asked_for_stays(module, rounds):
    options = module("__main__").Parser()
    options.add_argument("--sides", type=int, default=100)
    options.add_argument("--rounds", type=int, default=50)
    options.add_quick(sides=1, rounds=2)
    assert vars(options.parse_args(["--rounds", str(rounds), "--quick"])) == {
        "sides": 1,
        "rounds": rounds,
        "quick": True,
    }
    assert vars(module("__main__").Parser().parse_args([])) == {}


def test_the_benchmark_of_pytorch_reports_every_case(module, tmp_path, capsys):
    pytest.importorskip("torch")
    before = fq.get_num_threads()
    benchmark = module("torch")
    assert benchmark.main(["--sides", "4", "--rounds", "1", "--out", str(tmp_path)]) == 0
    fq.set_num_threads(before)
    rows = json.loads((tmp_path / "torch.json").read_text("utf-8"))["rows"]
    assert [row["case"] for row in rows[: len(benchmark.CASES)]] == list(benchmark.CASES)
    assert all(row["fq_us"] > 0 and row["torch_us"] > 0 for row in rows)
    assert (tmp_path / "torch.md").read_text("utf-8") == capsys.readouterr().out.rstrip("\n") + "\n"
