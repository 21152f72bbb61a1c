"""How steps are computed: in pieces, averaged, shortened, exactly or fast, compiled or not."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from training.common.backbones import create
from training.common.failure import UserError
from training.common.hosts import Hosts
from training.common.image_model import normalized
from training.common.manifest import ImageInput
from training.vision import modes, train
from training.vision.average import Average
from training.vision.config import Config
from training.vision.data import Batch
from training.vision.distributed import Group

SHAPE = ImageInput(
    backbone="x", norm="group", size=32, side=37, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
)
ALONE = Group(Hosts(("a",), 0), torch.device("cpu"))


def batch_of(labels, total, size=32):
    """As many images as labels, of any bytes."""
    images = torch.randint(256, (len(labels), size, size, 3), dtype=torch.uint8)
    return Batch(images, torch.as_tensor(labels), total, SHAPE)


@pytest.fixture
def trained_with(trained, other_container):
    """The weights of a training with other hyperparameters; the name of its container."""

    def run(name, **changes):
        container = other_container(name)
        for channel in ("train", "validation", "classes"):
            container.channel(channel, trained.output(channel))
        container.hyperparameters(**({"epochs": 2, "learning_rate": 0.003} | changes))
        train.main([])
        return load_file(container.root / "model" / "model.safetensors")

    return run


def test_a_batch_in_pieces_is_the_same_batch():
    batch = batch_of(torch.arange(7) % 3, 20)
    assert batch.parts(0) == [batch] == batch.parts(7)
    parts = batch.parts(3)
    assert [len(part.labels) for part in parts] == [3, 2, 2]
    assert torch.equal(torch.cat([part.images for part in parts]), batch.images)
    assert torch.cat([part.labels for part in parts]).tolist() == batch.labels.tolist()
    assert {part.total for part in parts} == {20}
    empty = batch_of([], 20)
    assert empty.parts(3) == [empty]  # it still meets the others


def test_a_network_gets_a_batch_as_the_server_gives_it():
    batch = batch_of(range(4), 4)
    images, labels = batch.on(ALONE.device)
    assert torch.equal(images, normalized(list(batch.images.numpy()), SHAPE))
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert labels.tolist() == [0, 1, 2, 3]


def layouts(network):
    """Of the weights of convolutions: True where the channels are last, and in no other order too."""
    weights = [layer.weight for layer in network.modules() if isinstance(layer, torch.nn.Conv2d)]
    return [
        weight.is_contiguous(memory_format=torch.channels_last) and not weight.is_contiguous()
        for weight in weights
        if weight.shape[1] > 1 and weight.shape[2:].numel() > 1
    ]


def test_the_network_that_is_trained_has_its_channels_last(trained_with, monkeypatch):
    """Or each convolution would turn the images, which have, around and back; also of what is evaluated."""
    found, learn, measure = [], train.learn, train.measure
    monkeypatch.setattr(train, "learn", lambda net, *rest: found.append(layouts(net)) or learn(net, *rest))
    monkeypatch.setattr(
        train, "measure", lambda net, *rest: found.append(layouts(net)) or measure(net, *rest)
    )
    trained_with("last", epochs=1, ema_decay=0.9)
    assert len(found) > 1
    assert all(len(one) > 1 and all(one) for one in found)
    assert not any(layouts(create("test_resnet", 3, "group")))


@pytest.mark.parametrize("mixed", [True, False])
def test_mixed_precision_computes_in_bfloat16_and_keeps_what_needs_more(monkeypatch, mixed):
    """As a GPU does, here on the CPU: what convolutions give is short, weights, loss and gradients not."""
    monkeypatch.setattr(train, "mixes", lambda _device: mixed)
    torch.manual_seed(7)
    network = create("test_resnet", 3, "group")
    given, losses = set(), []
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.register_forward_hook(lambda _layer, _images, found: given.add(found.dtype))
    entropy = torch.nn.functional.cross_entropy
    monkeypatch.setattr(
        train.functional,
        "cross_entropy",
        lambda logits, *rest, **how: losses.append(logits.dtype) or entropy(logits, *rest, **how),
    )
    batch = batch_of(torch.arange(8) % 3, 8)
    loss = train.learn(network, batch, ALONE, Config())
    assert given == {torch.bfloat16 if mixed else torch.float32}
    assert (loss.dtype, *losses) == (torch.float32, torch.float32)
    assert {value.dtype for value in network.parameters()} == {torch.float32}
    assert {value.grad.dtype for value in network.parameters()} == {torch.float32}
    monkeypatch.undo()
    exact = train.loss_of(network, batch, ALONE, Config().label_smoothing)
    assert float(loss) == pytest.approx(float(exact.detach()), rel=0.02)
    assert (float(loss) == float(exact.detach())) != mixed


def test_only_a_gpu_that_has_it_mixes(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **how: not how["including_emulation"])
    assert modes.mixes(torch.device("cuda"))
    assert not modes.mixes(torch.device("cpu"))
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **how: how["including_emulation"])
    assert not modes.mixes(torch.device("cuda"))


def gradients(micro_batch_size, replica=None):
    torch.manual_seed(7)
    network = create("test_resnet", 3, "group")
    batch = batch_of(torch.arange(8) % 3, 8)
    config = Config(micro_batch_size=micro_batch_size)
    loss = train.learn(network, batch, ALONE, config)
    return float(loss), torch.cat([value.grad.flatten() for value in network.parameters()])


def test_gradients_of_pieces_add_up():
    """Rounding aside, at any size of the pieces; one that were left out would be seen."""
    loss, whole = gradients(0)
    for size in (1, 3, 8):
        other_loss, pieces = gradients(size)
        assert other_loss == pytest.approx(loss, rel=1e-5)
        assert float((pieces - whole).norm() / whole.norm()) < 1e-5


def test_hosts_meet_once_a_batch():
    """With the last piece: what comes before is added up on each host."""
    found = []

    class Replica(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.network, self.together = create("test_resnet", 3, "group"), True

        def forward(self, images):
            found.append(self.together)
            return self.network(images)

        @contextlib.contextmanager
        def no_sync(self):
            self.together = False
            yield
            self.together = True

    group = Group(Hosts(("a", "b"), 0), torch.device("cpu"))
    batch = batch_of(torch.arange(8) % 3, 16)
    train.learn(Replica(), batch, group, Config(micro_batch_size=3))
    assert found == [False, False, True]


def test_a_training_in_pieces_makes_the_same_model(trained_with):
    whole, pieces = (trained_with(str(size), micro_batch_size=size) for size in (0, 5))
    for name, value in whole.items():
        assert torch.allclose(pieces[name], value, atol=1e-4), name


def test_the_average_forgets_where_it_began():
    network = torch.nn.Linear(1, 1, bias=False)
    average = Average(network, 0.9)
    seen, expected = [], network.weight.item()
    for step in range(1, 31):
        torch.nn.init.constant_(network.weight, float(step))
        average.update(network)
        keeps = min(0.9, (1 + step) / (10 + step))
        expected = keeps * expected + (1 - keeps) * step
        seen.append(average.network.weight.item())
        assert seen[-1] == pytest.approx(expected, rel=1e-5)
    copy = Average(torch.nn.Linear(1, 1, bias=False), 0.9)
    copy.load_state_dict(average.state_dict())
    for each in (average, copy):
        each.update(network)
    assert torch.equal(copy.network.weight, average.network.weight)


def test_without_a_decay_there_is_no_average():
    network = torch.nn.Linear(1, 1)
    average = Average(network, 0)
    average.update(network)
    assert average.network is network
    assert average.state_dict() is None


def test_the_average_is_what_is_evaluated_and_written(trained_with, other_container, capsys, monkeypatch):
    averages = []

    class Seen(Average):
        def __init__(self, network, decay):
            super().__init__(network, decay)
            averages.append(self)

    monkeypatch.setattr(train, "Average", Seen)
    found = trained_with("averaged", ema_decay=0.9, epochs=1)
    state = averages[0].network.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in found.items())
    plain = trained_with("plain", epochs=1)
    assert not all(torch.equal(value, plain[name]) for name, value in found.items())
    manifest = json.loads((other_container("averaged").root / "model" / "manifest.json").read_text())
    assert manifest["training"]["hyperparameters"]["ema_decay"] == 0.9


def test_long_gradients_are_shortened():
    network = torch.nn.Linear(3, 1, bias=False)
    for longest, norm, left in ((0.0, 5.0, 5.0), (1.0, 5.0, 1.0), (10.0, 5.0, 5.0)):
        network.weight.grad = torch.tensor([[0.0, 3.0, 4.0]])
        assert float(train.shortened(network, longest, wanted=True)) == pytest.approx(norm)
        assert float(network.weight.grad.norm()) == pytest.approx(left, rel=1e-4)
    assert train.shortened(network, 0.0, wanted=False) is None


def test_shortened_gradients_make_another_model(trained_with):
    one, other = trained_with("one", epochs=1), trained_with("other", epochs=1, clip_norm=0.01)
    assert not all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize(("mode", "exact", "warns"), [("prefer", 1, 1), ("require", 1, 0), ("off", 0, 0)])
def test_modes_are_set(mode, exact, warns, monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    with modes.computing(Config(deterministic=mode)):
        assert torch.are_deterministic_algorithms_enabled() == bool(exact)
        assert torch.is_deterministic_algorithms_warn_only_enabled() == bool(exact and warns)
        assert torch.backends.cudnn.benchmark == (not exact)


def test_what_has_no_exact_way_is_refused_where_that_is_required(trained_with, monkeypatch):
    """Unpooling has none, on any device."""
    build = train.start

    def unpooling(*arguments):
        origin = build(*arguments)

        def through(_module, given):
            pooled, places = torch.nn.functional.max_pool2d(given[0], 2, return_indices=True)
            return (torch.nn.functional.max_unpool2d(pooled, places, 2),)

        origin.network.register_forward_pre_hook(through)
        return origin

    monkeypatch.setattr(train, "start", unpooling)
    reason = (
        "^deterministic=require cannot be had with backbone test_resnet: .* implementation; choose another"
    )
    with pytest.raises(UserError, match=reason):
        trained_with("exact", deterministic="require", epochs=1)
    with pytest.warns(UserWarning, match="does not have a deterministic implementation"):
        trained_with("nearly", epochs=1)


def test_labels_are_smoothed():
    """A tenth of each label is shared out among all classes."""
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 4 * 4, 3))
    batch = batch_of([0, 1, 2, 0, 1], 5, size=4)
    images, labels = batch.on(ALONE.device)
    found = train.loss_of(network, batch, ALONE, 0.1)
    wanted = torch.full((5, 3), 0.1 / 3)
    wanted[range(5), labels] += 0.9
    expected = -(wanted * network(images).log_softmax(1)).sum()
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


PROGRAM = """
import torch
from training.common.failure import UserError
from training.vision.config import Config
from training.vision.modes import compiled
network, images = torch.nn.Linear(3, 2), torch.rand(4, 3)
assert compiled(network, Config(), torch.device("cpu")) is network
try:
    found = compiled(network, Config(compile=1), torch.device("cpu"))
except UserError as error:
    print(error)
else:
    assert found is not network
    print("the same:", torch.allclose(found(images), network(images), atol=1e-6))
"""


def compiling(folder, **environment):
    """What a process of its own says: PyTorch looks for compilers once, and keeps what it compiled."""
    # Without trying which instructions the processor has, and workers that compile side by side.
    quick = {"TORCHINDUCTOR_VEC_ISA_OK": "1", "TORCHINDUCTOR_COMPILE_THREADS": "1"}
    found = os.environ | quick | {"TORCHINDUCTOR_CACHE_DIR": str(folder), **environment}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=found, capture_output=True, text=True, timeout=300, check=True
    )
    return done.stdout


def test_compiled_it_computes_the_same(tmp_path):
    assert compiling(tmp_path) == "the same: True\n"


def test_without_a_compiler_it_is_refused_in_a_line(tmp_path):
    (line,) = compiling(tmp_path, CXX="/nowhere/c++").splitlines()
    assert line.startswith("compile=1 cannot be had on this machine: ")
    assert line.endswith("; install a compiler of C++ (g++), or use compile=0")
