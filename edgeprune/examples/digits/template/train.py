"""Trains weights.safetensors: python train.py

The weights that ship: seed 0, 20 epochs, one thread, torch 2.13.0: 99.60 % of the test digits, in ten seconds.
"""

import argparse
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from data import test, train
from model import build


def accuracy(model: nn.Module) -> float:
    """Share of the test digits that the model names rightly."""
    model.eval()
    with torch.no_grad():
        hits = [model(inputs).argmax(1) == targets for inputs, targets in test()]
    return torch.cat(hits).float().mean().item()


def fit(model: nn.Module, epochs: int, limit: int | None) -> None:
    """Train in place; `limit` keeps only the first batches of each epoch."""
    steps = epochs * len(train()[:limit])
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.01, total_steps=steps)
    for epoch in range(epochs):
        model.train()
        losses = []
        for inputs, targets in train(seed=epoch)[:limit]:
            loss = nn.functional.cross_entropy(model(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        print(f"epoch {epoch + 1}/{epochs}: mean loss {sum(losses) / len(losses):.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the example's network.")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--limit", type=int, help="batches per epoch, to try the script out")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).with_name("weights.safetensors"))
    options = parser.parse_args()

    torch.set_num_threads(1)  # sums in one order: the same seed gives the same weights
    torch.manual_seed(options.seed)
    model = build()
    fit(model, options.epochs, options.limit)
    save_file(model.state_dict(), options.output)
    print(f"test accuracy {accuracy(model):.4f}; wrote {options.output}")


if __name__ == "__main__":
    main()
