"""Steps of training by Accelerate or Lightning: `python training_step.py NAME BATCH_SIZE THREADS`."""

import sys

import torch
from step_network import DECAY, RATE, SMOOTHING, asked, batch, network
from torch.nn import functional


def accelerate(size: int) -> None:
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    model = network().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=DECAY)
    model, optimizer = accelerator.prepare(model, optimizer)
    images, labels = batch(size)
    for _ in asked():
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(images), labels, label_smoothing=SMOOTHING)
        accelerator.backward(loss)
        optimizer.step()
        loss.item()


def lightning(size: int) -> None:
    import lightning as pl

    class Classifier(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = network().to(memory_format=torch.channels_last)

        def training_step(self, given: tuple[torch.Tensor, torch.Tensor], _: int) -> torch.Tensor:
            return functional.cross_entropy(self.model(given[0]), given[1], label_smoothing=SMOOTHING)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters(), lr=RATE, weight_decay=DECAY)

    class Asked(torch.utils.data.IterableDataset):
        def __iter__(self) -> object:
            given = batch(size)
            return (given for _ in asked())

    trainer = pl.Trainer(accelerator="cpu", barebones=True, max_epochs=1)
    trainer.fit(Classifier(), torch.utils.data.DataLoader(Asked(), batch_size=None))


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[3]))
    {"accelerate": accelerate, "lightning": lightning}[sys.argv[1]](int(sys.argv[2]))
