"""python -m fq report: the table, JSON, CSV, a budget, activations, and what wrong arguments say."""

import csv
import io
import json
import os
import subprocess
import sys

import made_files
import numpy as np
import pytest

from fq.__main__ import main
from fq.report.statistics import BITS, CLIPS, GRANULARITIES


@pytest.fixture
def path(tmp_path):
    made_files.npz(tmp_path / "a.npz", made_files.arrays())
    return tmp_path / "a.npz"


def run(capsys, *arguments):
    assert main(["report", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def test_the_table_has_every_tensor_and_the_worst(path, capsys):
    lines = run(capsys, path).splitlines()
    assert lines[0] == "a.npz: npz, 7 tensors, 820 elements"
    rows = {line.split()[0]: line.split() for line in lines[4:11]}
    assert set(rows) == set(made_files.arrays())
    assert rows["conv.weight"][1:3] == ["8x3x3x3", "float32"]
    assert rows["fc.bias"][2] == "float32*"
    assert rows["step"][1:] == ["scalar", "int64"] + ["-"] * 11
    assert "SQNR of the mean noise over the tensors with channels" in lines
    assert [line.split()[0] for line in lines if "%" in line] != []


@pytest.mark.parametrize("name", made_files.MAKERS)
def test_every_format_is_reported(name, tmp_path, capsys):
    made_files.MAKERS[name](tmp_path / name, made_files.arrays())
    found = json.loads(run(capsys, tmp_path / name, "--json"))
    floats = [one for one in found["tensors"] if one["sqnr"]]
    assert len(floats) >= 1
    for one in floats:
        assert one["sqnr"]["tensor"]["mse"][-1] > 15
    assert run(capsys, tmp_path / name)
    assert run(capsys, tmp_path / name, "--csv")


def test_json_has_all_that_was_measured(path, capsys):
    found = json.loads(run(capsys, path, "--json"))
    assert (found["bits"], found["group"], found["budget"]) == (list(BITS), 32, None)
    (one,) = [one for one in found["tensors"] if one["name"] == "fc.weight"]
    assert (one["shape"], one["dtype"], one["size"], one["kind"]) == ([10, 40], "float32", 400, "weight")
    for table in (one["sqnr"], one["clipped"]):
        assert {name: {clip: len(table[name][clip]) for clip in CLIPS} for name in table} == {
            name: dict.fromkeys(CLIPS, len(BITS)) for name in GRANULARITIES
        }
    assert len(one["worst_channels"]) == 5
    assert one["min"] == float(made_files.arrays()["fc.weight"].min())


def test_csv_has_a_row_a_tensor(path, capsys):
    rows = list(csv.DictReader(io.StringIO(run(capsys, path, "--csv"))))
    assert [row["name"] for row in rows] == list(made_files.arrays())
    found = json.loads(run(capsys, path, "--json"))
    assert float(rows[1]["sqnr_channel_mse_4"]) == found["tensors"][1]["sqnr"]["channel"]["mse"][2]
    assert rows[4]["sqnr_channel_mse_4"] == ""


def test_a_budget_gives_bits_within_the_size(path, capsys):
    found = json.loads(run(capsys, path, "--json", "--budget", "4.5"))
    rows = [one for one in found["tensors"] if one["bits"]]
    assert {one["name"] for one in rows} == {"conv.weight", "fc.weight", "half"}
    used = sum(one["bits"] * one["size"] for one in rows) / sum(one["size"] for one in rows)
    assert used == pytest.approx(found["budget"]["used"])
    assert used <= 4.5
    equal = dict(found["uniform"])
    assert found["budget"]["sqnr"] >= equal[4]
    assert "Within 4.5 bits per weight" in run(capsys, path, "--budget", "4.5")


def test_the_group_and_the_axis_are_the_users(tmp_path, capsys):
    x = np.random.default_rng(0).normal(0, 1, (16, 8)).astype(np.float32) * np.logspace(-3, 0, 8, dtype=np.float32)
    np.save(tmp_path / "a.npy", x)
    first, last = (json.loads(run(capsys, tmp_path / "a.npy", "--json", "--axis", i))["tensors"][0] for i in (0, -1))
    assert last["sqnr"]["channel"]["mse"][2] > first["sqnr"]["channel"]["mse"][2]
    assert (first["axis"], last["axis"]) == (0, -1)
    two = json.loads(run(capsys, tmp_path / "a.npy", "--json", "--group", "2"))
    assert two["group"] == 2
    assert two["tensors"][0]["sqnr"]["group"]["mse"][2] > first["sqnr"]["group"]["mse"][2]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--budget", "1.9"], "argument --budget: must be at least 2 bits per weight, got 1.9"),
        (["--budget", "nan"], "argument --budget: must be at least 2 bits per weight, got nan"),
        (["--group", "1"], "argument --group: must be 2 to 4096 elements, got 1"),
        (["--html", "none/a.html"], "argument --html: none/a.html cannot be written"),
        (["--activations", "f.npz"], "argument --activations: only an ONNX model can be run"),
        (["--json", "--csv"], "not allowed with argument --json"),
    ],
)
def test_wrong_arguments_are_one_line(path, capsys, arguments, told):
    with pytest.raises(SystemExit) as ended:
        main(["report", str(path), *arguments])
    assert ended.value.code == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert told in line


def model_with_activations(tmp_path):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    helper = onnx.helper
    weight = np.random.default_rng(0).normal(0, 1, (12, 5)).astype(np.float32)
    x = helper.make_tensor_value_info("x", 1, ["n", 12])
    y = helper.make_tensor_value_info("y", 1, ["n", 5])
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Relu", ["h"], ["y"])]
    graph = helper.make_graph(nodes, "g", [x], [y], [onnx.numpy_helper.from_array(weight, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    return weight


def test_activations_are_what_the_model_computes(tmp_path, capsys):
    weight = model_with_activations(tmp_path)
    x = np.random.default_rng(1).normal(0, 1, (64, 12)).astype(np.float32)
    np.savez(tmp_path / "feeds.npz", x=x)
    found = json.loads(run(capsys, tmp_path / "a.onnx", "--json", "--activations", tmp_path / "feeds.npz"))
    rows = {one["name"]: one for one in found["tensors"]}
    assert [one["kind"] for one in found["tensors"]] == ["weight"] + ["activation"] * 3
    assert rows["h"]["min"] == pytest.approx((x @ weight).min(), rel=1e-5)
    assert (rows["y"]["min"], rows["y"]["shape"]) == (0, [64, 5])
    assert rows["y"]["grids"]["minmax"][0][1:] == [0, 0, 3]  # from zero on: all levels are above
    assert rows["y"]["sqnr"]["tensor"]["mse"][-1] > 35
    assert "Activations" in run(capsys, tmp_path / "a.onnx", "--activations", tmp_path / "feeds.npz")


def test_arrays_that_do_not_suit_the_model_are_one_line(tmp_path, capsys):
    model_with_activations(tmp_path)
    np.savez(tmp_path / "other.npz", z=np.ones(3, np.float32))
    np.savez(tmp_path / "shape.npz", x=np.ones(3, np.float32))
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04broken")
    for name in ("other.npz", "shape.npz", "broken.npz", "none.npz"):
        with pytest.raises(SystemExit) as ended:
            main(["report", str(tmp_path / "a.onnx"), "--activations", str(tmp_path / name)])
        assert ended.value.code == 2
        told = capsys.readouterr()
        assert told.out == ""
        assert "argument --activations" in told.err.splitlines()[-1]


HOSTILE = "<script>alert(1)</script>\x1b[31m\n=1+1\u202e" + "n" * 500


def test_names_are_told_in_characters_that_print(tmp_path, capsys):
    np.savez(tmp_path / "a.npz", **{HOSTILE: np.ones((2, 2), np.float32), "=1+1": np.ones((2, 2), np.float32)})
    for arguments in ([], ["--csv"]):
        told = run(capsys, tmp_path / "a.npz", *arguments)
        assert all(line.isprintable() for line in told.splitlines())
        assert max(map(len, told.splitlines())) < 5000
    rows = list(csv.DictReader(io.StringIO(run(capsys, tmp_path / "a.npz", "--csv"))))
    assert rows[1]["name"] == "'=1+1"
    names = [one["name"] for one in json.loads(run(capsys, tmp_path / "a.npz", "--json"))["tensors"]]
    assert len(names) == 2


def test_the_bar_is_on_standard_error_and_any_encoding_will_do(tmp_path):
    pytest.importorskip("tqdm")
    np.savez(tmp_path / "a.npz", **{"größe": np.ones((200, 200), np.float32)})
    command = [sys.executable, "-m", "fq", "report", str(tmp_path / "a.npz")]
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, capture_output=True, env=env, check=False)
    assert done.returncode == 0, done.stderr
    assert b"gr\\xf6\\xdfe" in done.stdout
    assert b"%" in done.stderr


def test_the_command_is_installed_as_fq():
    from importlib.metadata import entry_points

    found = [one for one in entry_points(group="console_scripts") if one.name == "fq"]
    if not found:
        pytest.skip("fq is not installed")
    assert found[0].load() is main
