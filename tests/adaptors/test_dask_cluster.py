"""fq.dask on a cluster: more data than the workers' memory, and a worker that is killed."""

import os
import signal
import threading

import numpy as np
import pytest
from helpers import state_of

import fq

distributed = pytest.importorskip("distributed", reason="Dask's scheduler is not installed")
zarr = pytest.importorskip("zarr", reason="zarr is not installed")

import dask.array as da  # noqa: E402

import fq.dask  # noqa: E402
from fq import __main__ as main  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # of ports and shut-downs

MIB = 1 << 20
LIMIT, SIZE, CHUNK = 320 * MIB, 768 * MIB, 8 * MIB  # of each of two workers, of the data, of a chunk


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """(path, state of the whole) of an array with NaN and infinities sprinkled in."""
    path, rows = str(tmp_path_factory.mktemp("scale") / "x.zarr"), CHUNK // 4 // 512
    array = zarr.create_array(path, shape=(SIZE // 4 // 512, 512), chunks=(rows, 512), dtype="f4", compressors=None)
    whole, rng = fq.Observer(), np.random.default_rng(0)
    for start in range(0, array.shape[0], rows):
        block = rng.standard_normal((rows, 512), np.float32)
        block[start % 7, 3], block[-1, start % 11] = np.nan, -np.inf
        array[start : start + rows] = block
        whole.update(block)
    return path, state_of(whole)


@pytest.fixture
def cluster():
    settings = {"n_workers": 2, "threads_per_worker": 1, "memory_limit": LIMIT, "dashboard_address": None}
    with distributed.LocalCluster(**settings) as made:
        yield made


def test_more_data_than_memory_is_observed(stored, cluster):
    path, whole = stored
    assert 2 * LIMIT < SIZE
    with distributed.Client(cluster):
        assert state_of(fq.dask.observe(da.from_zarr(path)).compute()) == whole


def test_a_worker_that_is_killed_changes_nothing(stored, cluster):
    path, whole = stored
    with distributed.Client(cluster) as client:
        (worker, *_) = client.run(os.getpid).values()
        future = client.compute(fq.dask.observe(da.from_zarr(path)))
        threading.Timer(0.4, os.kill, (worker, signal.SIGKILL)).start()
        assert state_of(future.result(timeout=120)) == whole


def test_the_command_works_on_a_cluster(stored, cluster, tmp_path, capsys):
    path, _ = stored
    out = tmp_path / "out.npz"
    arguments = ["calibrate", path, "--out", str(out), "--scheduler", cluster.scheduler_address, "--bits", "4"]
    assert main.main(arguments) == 0
    assert main.main(["calibrate", path, "--out", str(tmp_path / "here.npz"), "--bits", "4"]) == 0
    with np.load(out) as one, np.load(tmp_path / "here.npz") as other:
        assert {name: one[name].tobytes() for name in one} == {name: other[name].tobytes() for name in other}
    assert "not finite" in capsys.readouterr().out
