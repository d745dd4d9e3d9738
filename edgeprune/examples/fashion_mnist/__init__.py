"""A balanced subset of Fashion-MNIST (Zalando SE, MIT licence, see LICENSE.data): 28x28 grey pictures of clothes."""

from __future__ import annotations

from edgeprune.examples.fashion_mnist.packing import CLASSES, load

__all__ = ["CLASSES", "load"]
