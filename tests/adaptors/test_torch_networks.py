"""Whole networks, prepared with fq's modules and with PyTorch's: equal losses, and equal integers after convert."""

import copy

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
from torch.ao import quantization as theirs  # noqa: E402
from torch.ao.quantization import quantize_fx  # noqa: E402

import fq.torch as ours  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")
STEPS, WORDS = 4, 50


class Block(torch.nn.Module):
    """Two convolutions, and the input beside them."""

    def __init__(self, width):
        super().__init__()
        self.first, self.second = (torch.nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        self.norms = torch.nn.ModuleList(torch.nn.BatchNorm2d(width) for _ in range(2))

    def forward(self, x):
        y = torch.relu(self.norms[0](self.first(x)))
        return torch.relu(x + self.norms[1](self.second(y)))


def resnet():
    """A network of images that FX can trace, and two batches."""
    head = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(8, 5))
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), Block(8), Block(8), head)
    return net, [(torch.randn(4, 3, 10, 10),) for _ in range(2)]


class Logits(torch.nn.Module):
    """A network of transformers as a function of words alone."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, words):
        return self.net(input_ids=words).logits


def sentences():
    return [(torch.randint(0, WORDS, (3, 7)),) for _ in range(2)]


def bert():
    """A layer with random weights."""
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    sizes = {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1, "intermediate_size": 32}
    config = transformers.BertConfig(vocab_size=WORDS, hidden_dropout_prob=0, attention_probs_dropout_prob=0, **sizes)
    return Logits(transformers.BertForSequenceClassification(config)), sentences()


def gpt2():
    """A layer with random weights. Its Conv1D is no layer that prepare_qat knows: the output's Linear is one."""
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    sizes = {"n_embd": 16, "n_head": 2, "n_layer": 1, "n_positions": 16}
    config = transformers.GPT2Config(vocab_size=WORDS, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0, **sizes)
    return Logits(transformers.GPT2LMHeadModel(config)), sentences()


NETWORKS = {"resnet": resnet, "bert": bert, "gpt2": gpt2}


def eager(library, net, batch):
    net.qconfig = library.get_default_qat_qconfig("fbgemm")
    for name, module in net.named_modules():
        # Embeddings take weights of another kind, which their own qconfig is for; GPT-2's shares that of its output.
        if isinstance(module, torch.nn.Embedding) or name.endswith("embeddings"):
            module.qconfig = None
    return theirs.prepare_qat(net.train())


def fx(library, net, batch):
    return quantize_fx.prepare_qat_fx(net.train(), library.get_default_qat_qconfig_mapping("fbgemm"), batch)


def losses(net, batches):
    """Of some steps of training; the network ends up trained."""
    optimizer = torch.optim.SGD(net.parameters(), 0.05)
    found = []
    for step in range(STEPS):
        optimizer.zero_grad()
        loss = net(*batches[step % len(batches)]).square().mean()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return found


def prepared(way, name):
    """The network by both libraries, and its batches; the first has fq's fake quantizers."""
    torch.manual_seed(0)
    net, batches = NETWORKS[name]()
    pair = [way(library, copy.deepcopy(net), batches[0]) for library in (ours, theirs)]
    quantizers = [one for one in pair[0].modules() if isinstance(one, theirs.FakeQuantizeBase)]
    # PyTorch gives tanh a grid of its own.
    chosen = [one for one in quantizers if type(one) is not theirs.FixedQParamsFakeQuantize]
    assert len(chosen) >= 2
    assert all(type(one).__module__.startswith("fq.torch") for one in chosen)
    return pair, batches


def quantized(net):
    """Which modules have integers as weights."""
    return [name for name, module in net.named_modules() if "quantized" in type(module).__module__]


@pytest.mark.parametrize("name", NETWORKS)
def test_eager_networks_train_and_convert_alike(name):
    pair, batches = prepared(eager, name)
    found, expected = (losses(net, batches) for net in pair)
    assert found == expected
    assert len(set(found)) == STEPS
    found, expected = (theirs.convert(net.eval()) for net in pair)
    assert quantized(found) == quantized(expected) != []
    for name, tensor in expected.state_dict().items():
        other = found.state_dict()[name]
        assert not isinstance(tensor, torch.Tensor) or torch.equal(*(_plain(one) for one in (tensor, other))), name


def _plain(tensor):
    return tensor.int_repr() if tensor.is_quantized else tensor


def test_fx_networks_train_and_convert_alike():
    pair, batches = prepared(fx, "resnet")
    found, expected = (losses(net, batches) for net in pair)
    assert found == expected
    found, expected = (quantize_fx.convert_fx(net.eval()) for net in pair)
    assert torch.equal(found(*batches[0]), expected(*batches[0]))


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_compiled_networks_train_as_eager_ones_do(name):
    torch._dynamo.reset()
    (net, _), batches = prepared(eager, name)
    compiled = torch.compile(copy.deepcopy(net), backend="aot_eager")
    assert losses(compiled, batches) == losses(net, batches)


def test_lightning_trains_to_the_same_losses():
    lightning = pytest.importorskip("lightning", reason="lightning is not installed")

    class Task(lightning.LightningModule):
        def __init__(self, library):
            super().__init__()
            self.library, self.net, self.found = library, None, []

        def configure_model(self):
            if self.net is None:
                torch.manual_seed(0)
                self.net = eager(self.library, resnet()[0], None)

        def training_step(self, batch):
            loss = self.net(batch).square().mean()
            self.found.append(loss.item())
            return loss

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.05)

    def trained(library):
        task = Task(library)
        data = torch.randn(16, 3, 10, 10, generator=torch.Generator().manual_seed(1))
        quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        trainer = lightning.Trainer(max_epochs=2, accelerator="cpu", enable_model_summary=False, **quiet)
        trainer.fit(task, torch.utils.data.DataLoader(data, batch_size=4))
        return task.found

    found = trained(ours)
    assert found == trained(theirs)
    assert len(set(found)) == 8
