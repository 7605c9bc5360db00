"""python -m benchmarks.mobilenet_v2 on small images: equal losses, what is saved to the byte, and the written table."""

import itertools
import json
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytest.importorskip("sklearn", reason="scikit-learn is not installed")
pytest.importorskip("matplotlib", reason="matplotlib is not installed")

import fq.torch  # noqa: E402
from benchmarks.mobilenet_v2 import __main__ as command  # noqa: E402
from benchmarks.mobilenet_v2 import net, table, training, ways  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:.*reduce_range:UserWarning")
QUANTIZED = [way for way in ways.WAYS if way != ways.NONE]


def test_the_network_is_mobilenet_v2():
    plain = net.build(ways.WAYS[ways.NONE])
    assert sum(p.numel() for p in plain.parameters()) == 3_504_872  # as torchvision counts
    assert plain(torch.zeros(2, 3, 64, 64)).shape == (2, 1000)


def test_weights_are_quantized_per_channel_and_activations_per_tensor_in_as_many_places():
    for way in QUANTIZED:
        modules = [m for m in net.build(ways.WAYS[way]).modules() if hasattr(m, "is_per_channel")]
        assert sum(m.is_per_channel for m in modules) == 53
        assert len(modules) == 53 + 1 + 52 + 10 + 1


@pytest.mark.slow
def test_every_quantized_way_trains_to_the_same_loss():
    torch.manual_seed(0)
    losses = {way: [trainer.next_step() for _ in range(3)] for way, trainer in trainers().items()}
    assert len({tuple(losses[way]) for way in QUANTIZED}) == 1
    assert tuple(losses[ways.NONE]) != tuple(losses[QUANTIZED[0]])


def trainers():
    return {way: training.Trainer(way, 2, 32) for way in ways.WAYS}


@pytest.mark.slow
def test_what_is_saved_differs_by_what_each_way_keeps_of_an_element():
    saved = {way: trainer.saved_bytes() for way, trainer in trainers().items()}
    bits, bytes_, floats = (saved[way] for way in ("fq, bits", "fq, byte mask", "keeping x"))
    assert saved["PyTorch, byte mask"] == bytes_
    assert saved["fq, bits, in place"] == bits
    assert saved[ways.NONE] < bits < bytes_ < floats
    assert (floats - saved[ways.NONE]) > 3 * (bytes_ - saved[ways.NONE])
    assert (bytes_ - saved[ways.NONE]) > 6 * (bits - saved[ways.NONE])


def test_every_step_has_a_batch_of_its_own_and_every_way_the_same_ones():
    one, other = (training.Trainer(way, 2, 32) for way in (ways.NONE, QUANTIZED[0]))
    seen = []
    for _ in range(3):
        assert torch.equal(one.images, other.images)
        seen.append(one.images)
        one.next_batch(), other.next_batch()
    assert not any(torch.equal(a, b) for a, b in itertools.pairwise(seen))


@pytest.mark.slow
def test_no_way_overwrites_its_images():
    for trainer in trainers().values():
        before = trainer.images.clone()
        trainer.step()
        assert torch.equal(trainer.images, before)


def test_the_options_are_listed_without_matplotlib():
    code = "import sys; sys.modules['matplotlib'] = None; from benchmarks.mobilenet_v2 import __main__ as command; "
    code += "command.main(['--help'])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--batch N" in told.stdout


def test_photographs_are_the_same_for_every_way_and_of_four_classes():
    images, labels = training.photographs(16, 40)
    again, _ = training.photographs(16, 40)
    assert torch.equal(images, again)
    assert images.shape == (16, 3, 40, 40)
    assert set(labels.tolist()) == {0, 1, 2, 3}
    assert images.std() > 0.5


@pytest.mark.slow
def test_the_command_writes_what_it_measured(tmp_path, capsys):
    before = torch.get_num_threads()
    try:
        options = ["--batch", "2", "--size", "32", "--steps", "1", "--processes", "1", "--rounds", "1"]
        assert command.main([*options, "--threads", "1", "--out", str(tmp_path)]) == 0
    finally:
        torch.set_num_threads(before)
    result = json.loads((tmp_path / "mobilenet_v2.json").read_text())
    assert [row["way"] for row in result["rows"]] == list(ways.WAYS)
    assert len({tuple(row["losses"]) for row in result["rows"] if row["way"] != ways.NONE}) == 1
    assert all(row["peak_bytes"] > row["saved_bytes"] > 0 < row["median_seconds"] for row in result["rows"])
    page = (tmp_path / "mobilenet_v2.md").read_text()
    assert page == table.markdown(result)
    assert page.strip() in capsys.readouterr().out
    assert (tmp_path / "mobilenet_v2.svg").read_text("utf-8").startswith("<?xml")


def test_percentages_are_relative_to_no_fake_quantization():
    row = {"way": "a", "saved_bytes": 2**20, "peak_bytes": 2**21, "median_seconds": 2.0, "losses": [1.0, 0.5]}
    other = row | {"way": "b", "saved_bytes": 3 * 2**19, "median_seconds": 1.0}
    lines = table.rows({"settings": {"steps": 1}, "rows": [row, other]})
    assert lines[2] == "| a | 1 |  | 2 |  | 2,000 |  | 0.5 |"
    assert lines[3] == "| b | 2 | +50.0% | 2 | +0.0% | 1,000 | -50.0% | 0.5 |"


def test_both_autograd_functions_pass_gradients_where_fq_does():
    x = torch.randn(3, 4, 5, 5).contiguous(memory_format=torch.channels_last).requires_grad_()
    grid = torch.full((4, 1, 1), 0.1), torch.tensor(3), -8, 7
    dy = torch.randn(3, 4, 5, 5)
    expected = fq.torch.fake_quantize(x, *grid, reciprocal=True)
    for function in (ways.KeepingX, ways.ByteMask):
        y = function.apply(x, *grid)
        assert torch.equal(y, expected)
        found, wanted = (torch.autograd.grad(one, x, dy, retain_graph=True)[0] for one in (y, expected))
        assert torch.equal(found, wanted)
