"""The bytes of a checkpoint, what is refused with one line, and what survives of a state."""

from __future__ import annotations

import io
import json
import pickle
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.vision.checkpoint_support import IDENTITY
from training.common.failure import UserError
from training.vision.average import Average
from training.vision.checkpoints import format as checkpoint
from training.vision.checkpoints.format import MAGIC, decode, encode
from training.vision.checkpoints.state import Best, Place, random_state, restore, snapshot

NONE = Average(torch.nn.Linear(1, 1), 0)
STATE = {"tensor": torch.arange(6.0).reshape(2, 3), "place": {"epoch": 2}}
NAME, DATA = encode(STATE, IDENTITY, "run", 12, 2)


def refused(name, data, identity=IDENTITY):
    with pytest.raises(UserError) as caught:
        decode(name, data, identity)
    text = str(caught.value)
    assert "\n" not in text
    assert name in text
    assert "name another place for checkpoints" in text
    return text


def test_a_state_comes_back():
    found = decode(NAME, DATA, IDENTITY)
    assert torch.equal(found["tensor"], STATE["tensor"])
    assert found["place"] == {"epoch": 2}


def test_two_runs_never_write_one_name():
    assert encode(STATE, IDENTITY, "other", 12, 2)[0] != NAME


@settings(deadline=None, max_examples=60)
@given(st.integers(0, len(DATA) - 1))
def test_a_cut_off_checkpoint_is_refused(length):
    assert "is cut off" in refused(NAME, DATA[:length])


@settings(deadline=None, max_examples=60)
@given(st.integers(0, len(DATA) - 1), st.integers(1, 255))
def test_a_changed_byte_is_noticed(place, change):
    data = bytearray(DATA)
    data[place] ^= change
    refused(NAME, bytes(data))


def header(**changes):
    line, payload = DATA[len(MAGIC) :].split(b"\n", 1)
    return MAGIC + json.dumps(json.loads(line) | changes).encode() + b"\n" + payload


def test_what_is_no_checkpoint_is_refused():
    assert "is no checkpoint of this trainer" in refused(NAME, b"\x89PNG something else entirely")
    assert "has schema 2, this trainer reads 1" in refused(NAME, header(schema=2))
    assert "has a damaged header" in refused(NAME, header(surprise=1))
    assert "is damaged: its content is not what its name says" in refused(NAME, header(step=13))
    assert "is damaged" in refused("step-00000012-000000000000.ckpt", DATA)


def test_another_model_is_named():
    other = replace(IDENTITY, config={"learning_rate": 0.2})
    assert "is of another model: learning_rate was 0.1, is 0.2" in refused(NAME, DATA, other)
    assert "its images or classes were others" in refused(NAME, DATA, replace(IDENTITY, data="x"))
    assert "its network has other tensors" in refused(NAME, DATA, replace(IDENTITY, model="x"))


def test_code_in_a_checkpoint_is_not_run(monkeypatch):
    class Hostile:
        def __reduce__(self):
            return (pytest.fail, ("it ran",))

    def save(state, stream):
        stream.write(pickle.dumps(Hostile()))

    monkeypatch.setattr(checkpoint.torch, "save", save)
    name, data = encode(STATE, IDENTITY, "run", 1, 1)
    assert "cannot be read by PyTorch" in refused(name, data)


def network_and_optimizer():
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Dropout(), torch.nn.Flatten(1))
    network = network.to(memory_format=torch.channels_last)
    return network, torch.optim.AdamW(network.parameters(), lr=0.1)


def step(network, optimizer):
    optimizer.zero_grad()
    network(torch.ones(2, 3, 5, 5)).square().sum().backward()
    optimizer.step()


def test_a_snapshot_does_not_change_with_the_training():
    network, optimizer = network_and_optimizer()
    step(network, optimizer)
    state = snapshot(network, optimizer, NONE, Place(1, 1), Best(), [random_state(torch.device("cpu"))], {})
    before = encode(state, IDENTITY, "run", 1, 1)
    step(network, optimizer)
    assert encode(state, IDENTITY, "run", 1, 1) == before


def test_what_is_put_back_goes_on_the_same():
    """With dropout, which takes random numbers at each step."""
    network, optimizer = network_and_optimizer()
    step(network, optimizer)
    best = Best(1, 0.5, 0.7, {"x": torch.ones(1)})
    state = snapshot(
        network, optimizer, NONE, Place(2, 3, 0.5, 9.0), best, [random_state(torch.device("cpu"))], {}
    )
    name, data = encode(state, IDENTITY, "run", 1, 1)
    step(network, optimizer)
    other, its_optimizer = network_and_optimizer()
    place, found = restore(decode(name, data, IDENTITY), other, its_optimizer, NONE, 0, 1)
    step(other, its_optimizer)
    assert place == Place(2, 3, 0.5, 9.0)
    assert (found.epoch, found.top1, found.loss) == (1, 0.5, 0.7)
    for value, expected in zip(other.parameters(), network.parameters(), strict=True):
        assert torch.equal(value, expected)
        assert value.stride() == expected.stride()


def test_on_another_number_of_hosts_each_has_its_own_random_numbers():
    network, optimizer = network_and_optimizer()
    state = snapshot(network, optimizer, NONE, Place(), Best(), [random_state(torch.device("cpu"))] * 3, {})
    drawn = []
    for rank in (0, 1, 0):
        restore(state, network, optimizer, NONE, rank, 2)
        drawn.append(torch.rand(1).item())
    assert drawn[0] != drawn[1]
    assert drawn[0] == drawn[2]


def test_the_bytes_are_read_as_tensors_only():
    """What PyTorch is asked for; anything else in the file would be an error."""
    stream = io.BytesIO(DATA[DATA.index(b"\n", len(MAGIC)) + 1 :])
    assert set(torch.load(stream, weights_only=True)) == {"tensor", "place"}
