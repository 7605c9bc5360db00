"""``python -m fq demo``: its table, its options, and one clear line for whatever is wrong."""

import subprocess
import sys

import numpy as np
import pytest

import fq
from fq import _demo_data, _demo_integers, _demo_net, demo
from fq.__main__ import main

for _module in ("sklearn", "tqdm", "matplotlib"):
    pytest.importorskip(_module, reason='the demo needs pip install -e ".[demo]"')


def blobs(n=60, dtype=np.float32):
    """Three clouds of points that any network tells apart."""
    labels = np.arange(n) % 3
    x = 3 * labels[:, None] + np.random.default_rng(0).standard_normal((n, 4))
    return x.astype(dtype), labels


def save(folder, **arrays):
    path = folder / "data.npz"
    np.savez(path, **arrays)
    return str(path)


def table(text):
    """The cells of the rows under the heading."""
    return [line.split() for line in text.split("\n\n")[0].splitlines()[1:]]


def refusal(capsys, *arguments):
    """The only line that the command prints before it ends with 2."""
    with pytest.raises(SystemExit) as stop:
        main(["demo", *arguments])
    out, err = capsys.readouterr()
    assert stop.value.code == 2
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("python -m fq")
    assert ": error: " in err
    return err


def test_a_row_for_each_number_of_bits(capsys):
    assert main(["demo", "--epochs", "1", "--bits", "5", "2", "5"]) is None
    out, err = capsys.readouterr()
    assert [row[0] for row in table(out)] == ["5", "2"]
    assert "2 bits: 100%" in err


def test_the_seed_gives_accuracies(capsys):
    tables = []
    for seed, bits in (("7", ["4", "2"]), ("7", ["2"]), ("8", ["2"])):
        main(["demo", "--epochs", "2", "--seed", seed, "--bits", *bits])
        tables.append(table(capsys.readouterr().out)[-1][:4])
    assert tables[0] == tables[1]  # the row is the same whichever other rows there are
    assert tables[0] != tables[2]


@pytest.mark.parametrize("x_shape", [(60, 4), (60, 2, 2)])
@pytest.mark.parametrize("names", [[0, 1, 2], [-5, 7, 700], ["ant", "bee", "cat"], [b"ant", b"bee", b"cat"]])
def test_own_data(tmp_path, x_shape, names):
    x, labels = blobs()
    path = save(tmp_path, X=x.reshape(x_shape), y=np.array(names)[labels])
    (row,) = demo.run([8], 150, 0, path)
    assert row.float_accuracy > 0.9
    assert row.qat_accuracy > 0.9


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int8, bool])
def test_every_kind_of_number(tmp_path, dtype):
    x, y = blobs(dtype=dtype)
    demo.run([8], 1, 0, save(tmp_path, X=x, y=y))


@pytest.mark.parametrize("seed", range(8))
def test_features_lie_from_0_to_1(tmp_path, seed):
    x, y = blobs(dtype=np.float64)
    x[:, 0], x[:, 1] = 5.0, 3e38 * (-1.0) ** np.arange(len(x))
    data = _demo_data.load(save(tmp_path, X=x, y=y), np.random.default_rng(seed))
    for part in (data.x_train, data.x_test):
        assert part.dtype == np.float32
        assert part.min() >= 0
        assert part.max() <= 1
        assert set(part[:, 1].tolist()) == {0.0, 1.0}


def test_the_split_keeps_every_sample_and_every_class(tmp_path):
    x, y = blobs(n=12)
    data = _demo_data.load(save(tmp_path, X=x, y=y), np.random.default_rng(0))
    assert np.bincount(data.y_train).tolist() == [3, 3, 3]
    assert np.bincount(data.y_test).tolist() == [1, 1, 1]
    assert len(np.unique(np.concatenate([data.x_train, data.x_test]), axis=0)) == 12


@pytest.mark.parametrize("bits", [1, 16])
def test_the_fewest_and_the_most_bits(bits):
    assert demo.run([bits], 1, 0)[0].bits == bits


def test_bytes_of_the_masks_are_a_bit_an_element(capsys):
    (row,) = demo.run([4], 1, 0, learn_scale=True)
    weights, activations = 64 * 128 + 128 * 64 + 64 * 10, 64 * (128 + 64)
    assert row.mask_bytes == (weights + activations) // 8
    assert row.x_bytes == 32 * row.mask_bytes
    assert 0 < row.fq_seconds < row.step_seconds
    told = capsys.readouterr().out
    assert f"keeps {row.mask_bytes:,} bytes of masks" in told
    assert f"take {row.x_bytes:,}:" in told
    assert max(map(len, told.splitlines())) <= 80
    assert row.agree == 445
    assert "all of\n445 answers" in told
    assert row.integer_bytes < row.float_bytes / 4


def test_a_quantizer_keeps_the_bits_of_its_mask_alone():
    x = np.random.default_rng(0).standard_normal((6, 5), np.float32)
    for quantizer in (_demo_net.WeightQuantizer(2, x), _demo_net.ActivationQuantizer(2, x)):
        y = quantizer.forward(x)
        kept = [value for value in vars(quantizer).values() if isinstance(value, np.ndarray)]
        assert [(array.dtype, array.shape) for array in kept] == [(np.dtype(np.uint8), (6, 1))]
        assert len(np.unique(y.round(4))) > 1
        mask = np.unpackbits(kept[0], axis=-1, count=5, bitorder="little")
        np.testing.assert_array_equal(quantizer.backward(x), x * mask)


def test_activations_follow_what_was_seen_since_the_last_choice():
    x = np.random.default_rng(0).standard_normal((6, 5), np.float32)
    quantizer = _demo_net.ActivationQuantizer(4, x)
    before = quantizer.qparams
    quantizer.forward(10 * x)
    quantizer.calibrate()
    assert quantizer.qparams.scale > 5 * before.scale
    chosen = quantizer.qparams
    quantizer.calibrate()  # nothing was seen since
    assert quantizer.qparams == chosen


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 5, 8, 9, 16])
def test_the_network_in_integers_is_the_one_that_was_trained(bits):
    rng = np.random.default_rng(bits)
    x = rng.random((40, 6), np.float32)
    network = _demo_net.Network.random((6, 5, 3), rng).quantized(bits, x)
    integers = _demo_integers.IntegerNetwork(network)
    for layer, own in zip(network.layers, integers.layers, strict=True):
        assert own.stored.dtype.kind in "iu"
        levels = (fq.quantize(layer.weight, *layer.weight_quantizer.qparams)).astype(int)
        np.testing.assert_array_equal(own.levels(), levels - layer.weight_quantizer.qparams.zero_point)
    np.testing.assert_allclose(integers.evaluate(x), network.evaluate(x), rtol=1e-4, atol=1e-4)
    assert integers.file_bytes() > sum(own.stored.nbytes for own in integers.layers)


def test_gradients_of_the_float_network_are_those_of_its_loss():
    rng = np.random.default_rng(0)
    network = _demo_net.Network.random((3, 5, 4, 2), rng)
    for layer in network.layers:
        layer.weight, layer.bias = layer.weight.astype(np.float64), layer.bias.astype(np.float64)
    x, labels = rng.random((8, 3)), rng.integers(0, 2, 8)

    def loss():
        z = x
        for layer in network.layers[:-1]:
            z = np.maximum(layer.evaluate(z), 0)
        z = network.layers[-1].evaluate(z)
        return np.mean(np.log(np.exp(z).sum(1)) - z[np.arange(8), labels])

    for parameter, gradient in zip(network.parameters, network.gradients(x, labels), strict=True):
        place = np.unravel_index(np.abs(gradient).argmax(), gradient.shape)
        before, slope = parameter[place], []
        for change in (1e-5, -1e-5):
            parameter[place] = before + change
            slope.append(loss())
        parameter[place] = before
        assert (slope[0] - slope[1]) / 2e-5 == pytest.approx(gradient[place], rel=1e-4)


def test_accuracy_at_4_and_at_2_bits():
    four, two = demo.run([4, 2], 60, 0)
    assert four.float_accuracy > 0.96
    assert four.qat_accuracy >= four.float_accuracy - 0.01
    assert two.qat_accuracy >= 0.93
    assert two.qat_accuracy >= two.ptq_accuracy + 0.05
    assert (four.integer_accuracy, two.integer_accuracy) == (four.qat_accuracy, two.qat_accuracy)


@pytest.mark.parametrize(("name", "start"), [("a.png", b"\x89PNG"), ("a.PDF", b"%PDF"), ("a.svg", b"<?xml")])
def test_plot(tmp_path, name, start):
    demo.run([8, 2], 1, 0, None, str(tmp_path / name), learn_scale=name == "a.png")
    assert (tmp_path / name).read_bytes().startswith(start)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--bits", "0"], "bits must be 1 to 16, got 0"),
        (["--bits", "8", "17"], "bits must be 1 to 16, got 17"),
        (["--bits", "-3"], "bits must be 1 to 16, got -3"),
        (["--bits", "four"], "invalid int value: 'four'"),
        (["--bits"], "expected at least one argument"),
        (["--epochs", "0"], "--epochs: must be 1 or more, got 0"),
        (["--epochs", "1.5"], "invalid int value"),
        (["--seed", "-1"], "--seed: must be 0 or more, got -1"),
        (["--colour"], "--colour"),
        (["--data", "missing.npz"], "missing.npz: No such file"),
        (["--data", "."], "Is a directory"),
        (["--plot", "missing/a.png"], "missing is not a folder"),
        (["--plot", "a.bmp"], "must end in .png, .pdf, .svg"),
        (["--plot", "folder.png"], "folder.png cannot be written"),
    ],
)
def test_impossible_arguments(capsys, tmp_path, monkeypatch, arguments, part):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.png").mkdir()
    assert part in refusal(capsys, *arguments)


X, Y = blobs()


@pytest.mark.parametrize(
    ("arrays", "part"),
    [
        ({"y": Y}, "has no array X"),
        ({"X": X}, "has no array y"),
        ({"X": X[1:], "y": Y}, "same length, got 59 and 60"),
        ({"X": X.astype(str), "y": Y}, "X must hold real numbers, got <U"),
        ({"X": X.astype(complex), "y": Y}, "X must hold real numbers, got complex128"),
        ({"X": np.where(Y[:, None] == 1, np.nan, X), "y": Y}, "X must not hold NaN"),
        ({"X": np.where(Y[:, None] == 1, np.inf, X), "y": Y}, "X must not hold NaN, infinity"),
        ({"X": X.astype(np.float64) * 1e300, "y": Y}, "beyond float32"),
        ({"X": X[:0], "y": Y[:0]}, "X must not be empty"),
        ({"X": X[:, :0], "y": Y}, "X must not be empty"),
        ({"X": X[:, 0], "y": Y}, "2 dimensions or more and y one, got 1 and 1"),
        ({"X": X, "y": Y[:, None]}, "2 dimensions or more and y one, got 2 and 2"),
        ({"X": X.astype(object), "y": Y}, "Object arrays cannot be loaded"),
        ({"X": X, "y": Y.astype(object)}, "Object arrays cannot be loaded"),
        ({"X": X, "y": Y.astype(float)}, "y must hold integers or strings, got float64"),
        ({"X": X, "y": 0 * Y + 5}, "2 classes or more, got only 5"),
        ({"X": X[:10], "y": Y[:10]}, "4 samples or more, got 3 of 1"),
    ],
)
def test_wrong_arrays(capsys, tmp_path, arrays, part):
    assert part in refusal(capsys, "--data", save(tmp_path, **arrays))


@pytest.mark.parametrize("kind", ["text", "empty", "npy", "truncated", "damaged"])
def test_files_that_are_not_npz(capsys, tmp_path, kind):
    path = tmp_path / "data.npz"
    save(tmp_path, X=X, y=Y)
    whole = path.read_bytes()
    if kind == "npy":
        with path.open("wb") as file:
            np.save(file, X)
    else:
        damaged = whole[:200] + bytes([whole[200] ^ 255]) + whole[201:]
        path.write_bytes({"text": b"X,y\n", "empty": b"", "truncated": whole[:400], "damaged": damaged}[kind])
    part = "cannot be read" if kind == "damaged" else "not an .npz file"
    assert part in refusal(capsys, "--data", str(path))


@pytest.mark.parametrize(
    ("module", "package"),
    [("tqdm", "tqdm"), ("sklearn.datasets", "scikit-learn"), ("matplotlib", "matplotlib")],
)
def test_missing_packages(capsys, monkeypatch, tmp_path, module, package):
    monkeypatch.setitem(sys.modules, module, None)
    line = refusal(capsys, "--plot", str(tmp_path / "a.png"))
    assert f'needs {package}: in a checkout of fq, pip install -e ".[demo]"' in line


def python(*arguments):
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=60, check=False)


def test_the_command_as_a_process(tmp_path):
    done = python("-m", "fq", "demo", "--epochs", "1", "--bits", "3", "--data", save(tmp_path, X=X, y=Y))
    assert done.returncode == 0
    assert [row[0] for row in table(done.stdout)] == ["3"]
    wrong = python("-m", "fq", "demo", "--bits", "99")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr == "python -m fq demo: error: argument --bits: bits must be 1 to 16, got 99\n"


def test_without_a_command_it_prints_the_help():
    done = python("-m", "fq")
    assert done.returncode == 2
    assert done.stderr.startswith("usage: python -m fq")
    assert "demo" in done.stderr


def test_importing_fq_does_not_import_what_only_the_demo_needs():
    heavy = "{'sklearn', 'tqdm', 'matplotlib', 'fq.demo'}"
    done = python("-c", f"import sys, fq, fq.__main__; print(sorted({heavy} & set(sys.modules)))")
    assert done.stdout == "[]\n"


def test_learned_scales_are_trained_and_reported(capsys):
    (row,) = demo.run([2], 60, 0, learn_scale=True)
    assert row.learned_accuracy > row.ptq_accuracy + 0.05
    assert "QAT  learned" in capsys.readouterr().out


def test_training_moves_every_learned_scale_but_not_the_data_s():
    x = np.random.default_rng(0).standard_normal((64, 5)).astype(np.float32)
    network = _demo_net.Network.random((5, 4, 3), np.random.default_rng(1)).quantized(3, x, learn_scale=True)
    learned = [one for one in network.quantizers if isinstance(one, _demo_net.LearnedQuantizer)]
    assert len(learned) == 3
    before = [one.log_scale.copy() for one in learned]
    _demo_net.Adam(network.parameters).step(network.gradients(x, np.arange(64) % 3), 0.01)
    for one, old in zip(learned, before, strict=True):
        assert np.all(one.log_scale != old)


def test_learned_scale_has_the_gradient_of_lsq():
    grid = fq.QParams(np.float32(0.5), 0, -8, 7)
    quantizer = _demo_net.LearnedQuantizer(4, grid, 6)
    x = np.linspace(-5, 5, 6, dtype=np.float32)
    quantizer.forward(x)
    quantizer.backward(np.ones_like(x))
    expected = fq.backward_learnable(np.ones_like(x), x, np.exp(np.log(grid.scale)), *grid[1:])[1]
    assert quantizer.gradient == pytest.approx(0.5 * expected / np.sqrt(6 * 7), rel=1e-6)
