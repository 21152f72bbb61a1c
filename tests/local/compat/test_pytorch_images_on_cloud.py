"""AWS's public PyTorch images: a script over two hosts with torchrun, and one that serves. Needs PyTorch."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.local.compat.test_public_images_on_cloud import (
    channel,
    csv,
    endpoint,
    model,
    script_mode,
    sources,
    table,
    train,
)

pytestmark = pytest.mark.torch
ACCOUNT = "763104351884.dkr.ecr.us-east-1.amazonaws.com"
TRAINING = f"{ACCOUNT}/pytorch-training:2.8.0-cpu-py312-ubuntu22.04-sagemaker"
INFERENCE = f"{ACCOUNT}/pytorch-inference:2.6.0-cpu-py312-ubuntu22.04-sagemaker"
TRAIN = """
import argparse, glob, os
import numpy as np
import torch
import torch.distributed as dist
import torch.distributed.nn  # before the group, which it would keep; its threads may abort a process's end
parser = argparse.ArgumentParser()
parser.add_argument("--alpha", type=float)
options = parser.parse_args()
(part,) = glob.glob(os.path.join(os.environ["SM_CHANNEL_TRAIN"], "*.csv"))
rows = torch.tensor(np.loadtxt(part, delimiter=","), dtype=torch.float32)
def train():
    module = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(3, 1))
    optimizer = torch.optim.SGD(module.parameters(), lr=options.alpha, momentum=0.9)
    for _ in range(200):
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(module(rows[:, 1:])[:, 0], rows[:, 0])
        loss.backward()
        optimizer.step()
    print(f"rank={dist.get_rank()} of={dist.get_world_size()} rows={len(rows)} loss={loss.item():.6f};")
    if dist.get_rank() == 0:
        scripted = torch.jit.script(module.module)
        scripted.save(os.path.join(os.environ["SM_MODEL_DIR"], "scripted.pth"))
        torch.save(module.module.state_dict(), os.path.join(os.environ["SM_MODEL_DIR"], "weights.bin"))
dist.init_process_group("gloo")
train()
dist.destroy_process_group()
"""
SERVE = """
import os, torch
def model_fn(folder):
    module = torch.nn.Linear(3, 1)
    module.load_state_dict(torch.load(os.path.join(folder, "weights.bin"), weights_only=True))
    return module.eval()
"""


@pytest.fixture(scope="module")
def trained(account: Any) -> dict[str, Any]:
    for index in range(2):
        account.put(f"images/torch/part-{index}.csv", csv(table(200, index)))
    code = sources(account, "torch", train__py=TRAIN)
    parameters = script_mode(account, code) | {"sagemaker_torch_distributed_enabled": "true"}
    sharded = channel(account, "train", "torch", "text/csv", "ShardedByS3Key")
    return train(account, TRAINING, parameters, sharded, count=2)


def test_torchrun_trains_one_model_over_two_hosts(account: Any, trained: dict[str, Any]) -> None:
    log = account.log("/aws/sagemaker/TrainingJobs", trained["TrainingJobName"])
    assert trained["TrainingJobStatus"] == "Completed", log
    for rank in (0, 1):
        assert f"rank={rank} of=2 rows=200 loss=0.000" in log
    assert "is made for torch 2.8.0; it runs here with torch 2." in log


@pytest.mark.parametrize("script", [SERVE, "# the image's own functions"], ids=["model_fn", "TorchScript"])
def test_its_model_is_served_by_the_inference_image(
    account: Any, trained: dict[str, Any], script: str
) -> None:
    code = sources(account, f"torch-serve-{len(script)}", inference__py=script)
    environment = {"SAGEMAKER_PROGRAM": "inference.py", "SAGEMAKER_SUBMIT_DIRECTORY": code}
    archive = trained["ModelArtifacts"]["S3ModelArtifacts"]
    ask = endpoint(account, model(account, INFERENCE, archive, environment))
    answer = json.loads(ask("[[0.5, 0.5, 0.5], [0.1, 0.2, 0.3]]", "application/json"))
    assert [row[0] for row in answer] == pytest.approx([2.0, 0.5], abs=0.05)
