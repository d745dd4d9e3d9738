"""Training that feels int8: convolutions and linear layers compute as the quantized artifact will.

Inside the block, each layer reads its input rounded to 255 steps of the range seen so far, and computes with weights
rounded to int8 per output channel; gradients pass as if nothing were rounded (straight-through), so the weights learn
to be read coarsely. At the end the weights stand on that grid, and the quantizer finds nothing left to round: its scale
of a channel is ours, also after a batch norm was folded in, which scales a channel as a whole.

Source:
    Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
    section 3, arXiv:1712.05877. Bengio et al. 2013, arXiv:1308.3432, section 4, for the gradient.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

LEVELS = 127
"""Weights are -127 to 127 times their channel's scale: symmetric, as both formats want them."""

MOMENTUM = 0.1
"""Share of the newest batch in the range of an input."""

_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def rounded_weight(weight: Tensor) -> Tensor:
    """Round a weight to int8 with one scale per output channel.

    Args:
        weight: Shape (outputs, ...), float32.

    Returns:
        Same shape; zeros stay zero. Its gradient is passed on as it is.
    """
    largest = weight.detach().flatten(1).abs().amax(1)
    scales = torch.where(largest > 0, largest / LEVELS, 1.0)
    nowhere = torch.zeros_like(scales, dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weight, scales, nowhere, 0, -LEVELS, LEVELS)


class _Layer:
    """One layer whose reads and weights are rounded while it runs.

    Args:
        module: Its weight is another tensor inside its forward, and its own again afterwards.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module, self._weight = module, module._parameters["weight"]
        self._low: Tensor | None = None
        self._high: Tensor | None = None
        self._handles = [module.register_forward_pre_hook(self._before), module.register_forward_hook(self._after)]

    def _before(self, module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        assert self._weight is not None
        module._parameters["weight"] = rounded_weight(self._weight)  # type: ignore[assignment]
        if module.training or self._low is None:
            self._see(args[0].detach())
        return (self._rounded(args[0]), *args[1:])

    def _after(self, module: nn.Module, *_: Any) -> None:
        module._parameters["weight"] = self._weight

    def _see(self, read: Tensor) -> None:
        # A range holds zero, which padding and rectifiers give and which has to come out exact.
        low, high = read.amin().clamp(max=0), read.amax().clamp(min=0)
        self._low = low if self._low is None else self._low.lerp(low, MOMENTUM)
        self._high = high if self._high is None else self._high.lerp(high, MOMENTUM)

    def _rounded(self, read: Tensor) -> Tensor:
        assert self._low is not None and self._high is not None
        scale = ((self._high - self._low) / 255).clamp(min=torch.finfo(torch.float32).tiny)
        zero = (-128 - self._low / scale).round().clamp(-128, 127).int()
        return torch.fake_quantize_per_tensor_affine(read, scale, zero, -128, 127)

    def end(self) -> None:
        """Leave the weight on its grid, and nothing else behind."""
        for handle in self._handles:
            handle.remove()
        self._module._parameters["weight"] = self._weight  # its forward may have raised
        with torch.no_grad():
            if self._weight is not None:
                self._weight.copy_(rounded_weight(self._weight))


@contextmanager
def int8_felt(model: nn.Module) -> Iterator[None]:
    """Let a model compute as its int8 artifact will, in this block.

    Args:
        model: Trained inside the block. Layers of other kinds than `Linear` and plain convolutions are as ever.

    Yields:
        Nothing. Afterwards the weights of these layers stand on their int8 grids.
    """
    layers = [_Layer(module) for module in model.modules() if isinstance(module, _LAYERS)]
    try:
        yield
    finally:
        for layer in layers:
            layer.end()
