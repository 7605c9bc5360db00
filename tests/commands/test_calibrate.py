"""python -m fq calibrate: the grids of what all files hold, resumed where a run was broken off."""

import os

import numpy as np
import pytest
from helpers import assert_same

import fq
from fq import __main__ as main
from fq import _calibrate_command

pytest.importorskip("dask.array", reason="Dask is not installed")

BATCHES = [np.random.default_rng(i).standard_normal((6, 8)).astype(np.float32) * (i + 1) for i in range(3)]


def run(*arguments):
    return main.main(["calibrate", *map(str, arguments)])


def refused(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        run(*arguments)
    told = capsys.readouterr().err.rpartition("\r")[2]  # after the bar
    assert ended.value.code == 2
    assert len(told.strip().splitlines()) == 1, told
    return told


def grid_in(path, name="x"):
    with np.load(path) as arrays:
        return tuple(arrays[f"{name}.{field}"] for field in fq.QParams._fields)


def assert_grid(path, expected, name="x"):
    assert_same(grid_in(path, name), tuple(map(np.asarray, expected)))


def npy_files(folder):
    for i, batch in enumerate(BATCHES):
        np.save(folder / f"{i}.npy", batch)
    return [folder / f"{i}.npy" for i in range(len(BATCHES))]


def npz_files(folder):
    for i, batch in enumerate(BATCHES):
        np.savez(folder / f"{i}.npz", x=batch, y=-batch.astype(np.float16), n=np.arange(3))
    return [folder / f"{i}.npz" for i in range(len(BATCHES))]


def safetensors_files(folder):
    numpy = pytest.importorskip("safetensors.numpy", reason="safetensors is not installed")
    for i, batch in enumerate(BATCHES):
        numpy.save_file({"x": batch}, folder / f"{i}.safetensors")
    return [folder / f"{i}.safetensors" for i in range(len(BATCHES))]


def zarr_files(folder):
    zarr = pytest.importorskip("zarr", reason="zarr is not installed")
    for i, batch in enumerate(BATCHES):
        zarr.open(str(folder / f"{i}.zarr"), mode="w", shape=batch.shape, chunks=(4, 3), dtype="f4")[:] = batch
    return [folder / f"{i}.zarr" for i in range(len(BATCHES))]


def zarr_groups(folder):
    zarr = pytest.importorskip("zarr", reason="zarr is not installed")
    for i, batch in enumerate(BATCHES):
        group = zarr.open_group(str(folder / f"{i}.zarr"), mode="w")
        group.create_array("x", shape=batch.shape, chunks=(4, 3), dtype="f4")[:] = batch
        group.create_array("n", shape=(3,), dtype="i4")[:] = 1
    return [folder / f"{i}.zarr" for i in range(len(BATCHES))]


@pytest.mark.parametrize("made", [npy_files, npz_files, safetensors_files, zarr_files, zarr_groups])
def test_tensors_of_one_name_are_batches_of_one(made, tmp_path, capsys):
    assert run(*made(tmp_path), "--out", tmp_path / "out.npz", "--bits", 4, "--method", "mse") == 0
    expected = fq.Observer()
    for batch in BATCHES:
        expected.update(batch)
    assert_grid(tmp_path / "out.npz", expected.qparams(4, "mse"))
    assert "x: 144 values from " in capsys.readouterr().out
    assert not (tmp_path / "out.npz.state.npz").exists()


@pytest.mark.parametrize(
    ("options", "how"),
    [
        (["--axis", "0"], {"axis": 0}),
        (["--axis", "0", "-1", "--symmetric"], {"axis": (0, -1), "symmetric": True}),
        (["--group", "4", "--unsigned"], {"group": 4, "signed": False}),
        (
            ["--method", "percentile", "--p", "90", "--narrow-range"],
            {"method": "percentile", "p": 90.0, "narrow_range": True},
        ),
    ],
)
def test_options_are_those_of_calibrate(options, how, tmp_path):
    np.save(tmp_path / "x.npy", BATCHES[0])
    run(tmp_path / "x.npy", "--out", tmp_path / "out.npz", *options)
    assert_grid(tmp_path / "out.npz", fq.calibrate(BATCHES[0], **how))


def test_a_run_that_was_broken_off_goes_on_and_reads_nothing_twice(tmp_path, capsys, monkeypatch):
    files = npy_files(tmp_path)
    out = tmp_path / "out.npz"
    whole = files[1].read_bytes()
    run(*files, "--out", tmp_path / "whole.npz")
    files[1].write_bytes(whole[:-20])
    told = refused(capsys, *files, "--out", out)
    assert "1.npy cannot be read as npy" in told
    files[1].write_bytes(whole)

    def stop(part, settings):
        if part.file.endswith("1.npy"):
            raise KeyboardInterrupt
        return observe(part, settings)

    observe, seen = _calibrate_command._observe, []
    monkeypatch.setattr(_calibrate_command, "_observe", stop)
    with pytest.raises(KeyboardInterrupt):
        run(*files, "--out", out)
    assert not out.exists()
    monkeypatch.setattr(_calibrate_command, "_observe", lambda part, how: seen.append(part.file) or observe(part, how))
    run(*files, "--out", out)
    assert seen == [str(files[1]), str(files[2])]
    assert_grid(out, grid_in(tmp_path / "whole.npz"))


def test_a_state_that_is_given_is_kept_and_grows(tmp_path):
    files, state = npy_files(tmp_path), tmp_path / "state.npz"
    run(files[0], "--out", tmp_path / "out.npz", "--state", state)
    run(*files, "--out", tmp_path / "out.npz", "--state", state)
    run(*files, "--out", tmp_path / "whole.npz")
    assert_grid(tmp_path / "out.npz", grid_in(tmp_path / "whole.npz"))
    assert state.exists()


def test_bad_input_is_told_in_one_line_and_nothing_is_lost(tmp_path, capsys):
    files, state, out = npy_files(tmp_path), tmp_path / "state.npz", tmp_path / "out.npz"
    run(*files, "--out", out, "--state", state)
    before, kept = out.read_bytes(), state.read_bytes()
    np.save(tmp_path / "wide.npy", BATCHES[0].astype(np.float64))
    np.save(tmp_path / "whole_numbers.npy", np.arange(3))
    (tmp_path / "folder").mkdir()
    common = "--out", out, "--state", state
    for arguments, message in [
        ((tmp_path / "none.npy", *common), "none.npy cannot be read"),
        ((tmp_path / "whole_numbers.npy", *common), "holds no tensor of floats"),
        ((tmp_path / "folder", *common), "cannot be read as zarr"),
        ((tmp_path / "wide.npy", *common), "wide.npy: x does not go with the files before"),
        ((*files, *common, "--method", "mse"), "was observed with axis=None, group=None, distribution=False"),
        ((*files, "--out", out, "--state", files[0]), "is no state of fq calibrate"),
        ((*files, *common, "--bits", 99), "bits must be"),
        ((files[0], "--out", out, "--axis", 5), "axis 5 is not there"),
        ((files[0], "--out", out, "--group", 3), "whole groups of 3"),
        ((files[0], "--out", tmp_path / "no" / "out.npz"), "cannot be written"),
    ]:
        assert message in refused(capsys, *arguments)
        assert (out.read_bytes(), state.read_bytes()) == (before, kept)
    np.save(files[0], BATCHES[1])
    assert "0.npy has changed since" in refused(capsys, *files, *common)


def test_a_scheduler_that_is_not_there_is_told(tmp_path, capsys, monkeypatch):
    pytest.importorskip("distributed", reason="Dask's scheduler is not installed")
    files = npy_files(tmp_path)
    monkeypatch.setattr(_calibrate_command, "PATIENCE", 0.5)
    for address in ["tcp://127.0.0.1:9"]:
        told = refused(capsys, *files, "--out", tmp_path / "out.npz", "--scheduler", address)
        assert f"argument --scheduler: {address} cannot be reached" in told


def test_a_file_that_is_written_anew_is_read_anew(tmp_path):
    """By a worker that read it before: where tensors lie in it may have changed."""
    from fq._calibrate_command import Stored
    from fq.report.files import open_tensors

    path = tmp_path / "x.npz"
    for shift in (0, 1):
        extra = {f"a{index}": np.zeros(shift * 100, np.float32) for index in range(3 * shift)}
        np.savez(path, **extra, x=np.full(5, shift, np.float32))
        os.utime(path, ns=(shift, shift))
        stored = Stored(str(path), next(one for one in open_tensors(path)[1] if one.name == "x"))
        assert stored[:].tolist() == [shift] * 5


def test_a_file_that_changes_while_it_is_observed_is_not_taken(tmp_path, monkeypatch, capsys):
    files, out = npy_files(tmp_path), tmp_path / "out.npz"
    observe = _calibrate_command._observe

    def and_change(part, settings):
        found = observe(part, settings)
        os.utime(part.file, ns=(1, 1))
        return found

    monkeypatch.setattr(_calibrate_command, "_observe", and_change)
    assert "has changed while it was observed" in refused(capsys, *files, "--out", out)
    assert not out.exists()
