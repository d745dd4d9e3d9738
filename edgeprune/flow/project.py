"""Config -> the user's own model, weights and data, checked before anything is done with them."""

from __future__ import annotations

import hashlib
import importlib
import sys
import traceback
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import edgeprune
from edgeprune.config import Config
from edgeprune.errors import ConfigError, DataError, EdgePruneError, ModelError, UsageError
from edgeprune.exporting.file_source import FileSource
from edgeprune.exporting.loading import load_artifact
from edgeprune.values.batch import batches
from edgeprune.values.json import content_id, to_data
from edgeprune.values.spec import FinetuneSpec


class Project:
    """A user's folder: `edgeprune.toml` and the Python that it names.

    Everything is loaded when it is first asked for, and checked then.

    Args:
        config: The parsed file.
    """

    def __init__(self, config: Config) -> None:
        self.config = config

    @property
    def file(self) -> Path | None:
        """The model file that stands in place of a network in Python; None where there is a network."""
        name = self.config.model.file
        return self.config.folder / name if name else None

    @cached_property
    def model(self) -> nn.Module:
        """The dense network with its weights, in eval mode.

        Raises:
            ModelError: The factory gives no module, or the weights do not fit it.
        """
        factory = self.resolve(self.config.model.factory)
        model = _call(factory, self.config.model.factory)
        if not isinstance(model, nn.Module):
            raise ModelError(
                f"The factory {self.config.model.factory} returned a {type(model).__name__}, not a torch.nn.Module.",
                "Let it build and return the network.",
            )
        if self.config.model.weights:
            load_weights(model, self.config.folder / self.config.model.weights)
        return model.eval()

    @cached_property
    def example_inputs(self) -> tuple[Tensor, ...]:
        """One batch of the configured shapes: test data where it fits, seeded noise where it does not."""
        inputs = _example_inputs(self)
        check_outputs(self.model, inputs)
        return inputs

    def first_examples(self, count: int) -> list[np.ndarray]:
        """Return the first test examples; of a model file without test data, noise of its inputs' shapes.

        Args:
            count: How many.

        Returns:
            One array per input, at most `count` examples along the first dimension.
        """
        if self.file is not None and not self.config.data.test:
            return [x[:count] for x in FileSource(load_artifact(self.file)).example_arrays]
        inputs, _ = next(batches(self.test, 1))
        return [np.asarray(x)[:count] for x in inputs]

    @property
    def train(self) -> Iterable[Any]:
        """A new pass over the training data; yields (inputs, targets)."""
        return self._loader("train")

    @property
    def calibration(self) -> Iterable[Any] | None:
        """A new pass over the training data; None where there is none."""
        return self.train if self.config.data.train else None

    @property
    def test(self) -> Iterable[Any]:
        """A new pass over the test data; yields (inputs, targets)."""
        return self._loader("test")

    @property
    def has_test(self) -> bool:
        """Whether accuracy can be known: a network in Python needs test data, a model file may do without."""
        return self.file is None or self.config.data.test is not None

    @cached_property
    def metric(self) -> str | Callable[..., float]:
        """The name of a built-in metric, or the user's callable (predict, loader) -> float."""
        name = self.config.data.metric
        return self.resolve(name) if ":" in name else name

    @cached_property
    def trainer(self) -> Callable[..., None] | None:
        """The user's fine-tuning callable (model, teacher, data), or None for the built-in loop."""
        name = self.config.finetune.trainer
        return self.resolve(name) if name else None

    @property
    def finetune_spec(self) -> FinetuneSpec:
        """How the built-in loop fine-tunes."""
        values = to_data(self.config.finetune)
        return FinetuneSpec(**{name: values[name] for name in FinetuneSpec.__dataclass_fields__})

    @cached_property
    def fingerprint(self) -> str:
        """Content hash of what decides a pruned model besides its spec: code, weights, data code, training."""
        parts = [self.config.model, self.config.finetune, self.config.data.train, self.config.data.calibration_batches]
        named = [self.config.model.factory, self.config.data.train, self.config.finetune.trainer]
        return content_id(edgeprune.__version__, *parts, self._weights_digest(), *map(self._source_digest, named))

    @cached_property
    def data_id(self) -> str:
        """Content hash of what decides an accuracy besides the artifact: test data code and metric."""
        named = [self.config.data.test, self.config.data.metric]
        return content_id(*named, *map(self._source_digest, named))

    def resolve(self, name: str) -> Any:
        """Import what the configuration names.

        Args:
            name: "module:attribute", importable from the project's folder.

        Returns:
            The attribute.

        Raises:
            ConfigError: There is no such module or attribute, or importing it failed.
        """
        module_name, _, attribute = name.partition(":")
        module = import_from(self.config.folder, module_name, str(self.config.path))
        if not hasattr(module, attribute):
            raise ConfigError(
                f"The module {module_name} has no {attribute!r}.", f"Define it in {module.__file__}.",
                path=str(self.config.path),
            )  # fmt: skip
        return getattr(module, attribute)

    def _loader(self, which: str) -> Iterable[Any]:
        name = getattr(self.config.data, which)
        if not name:
            raise ConfigError(
                f"[data] {which} is missing.", f'Add {which} = "data:{which}", () -> iterable of (inputs, targets).',
                path=str(self.config.path),
            )  # fmt: skip
        loader = _call(self.resolve(name), name)
        if not isinstance(loader, Iterable):
            raise DataError(f"{name} returned a {type(loader).__name__}.", "Let it return an iterable of batches.")
        return loader

    def _weights_digest(self) -> str:
        name = self.config.model.weights or self.config.model.file
        if name and not (self.config.folder / name).is_file():
            raise ModelError(f"There is no {self.config.folder / name}.", "Mend [model], or put the file there.")
        return hashlib.sha256((self.config.folder / name).read_bytes()).hexdigest() if name else ""

    def _source_digest(self, name: str | None) -> str:
        if not name or ":" not in name:
            return ""
        file = import_from(self.config.folder, name.partition(":")[0], str(self.config.path)).__file__
        return hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else ""


def import_from(folder: Path, module_name: str, config_path: str) -> ModuleType:
    """Import a module of the user's folder, even if another project's module of that name is loaded.

    Args:
        folder: First place to look.
        module_name: Dotted name.
        config_path: For messages.

    Returns:
        The module.

    Raises:
        ConfigError: It is not there, or its own code failed.
    """
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    loaded = sys.modules.get(module_name)
    ours = folder / f"{module_name.replace('.', '/')}.py"
    if loaded is not None and ours.exists() and Path(str(loaded.__file__)) != ours:
        del sys.modules[module_name]
        sys.path.remove(str(folder))
        sys.path.insert(0, str(folder))
        importlib.invalidate_caches()
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or module_name
        step = f"Put {missing}.py into {folder}, or mend the name." if missing == module_name else f"Install {missing}."
        raise ConfigError(f"There is no module {missing!r}.", step, path=config_path) from error
    except Exception as error:
        raise ConfigError(
            f"Importing {module_name} failed: {_where(error)}.", "Mend that line.", path=config_path
        ) from error


def load_weights(model: nn.Module, path: Path) -> None:
    """Load a state dict into a model, strictly.

    Args:
        model: Changed in place.
        path: A .safetensors file, or a torch file that `weights_only=True` can read.

    Raises:
        ModelError: The file is missing, unreadable, or does not fit.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        state = load_file(path) if path.suffix == ".safetensors" else torch.load(path, weights_only=True)
        model.load_state_dict(state)
    except FileNotFoundError as error:
        raise ModelError(f"There are no weights at {path}.", "Mend [model] weights, or train first.") from error
    except (SafetensorError, OSError, EOFError) as error:
        raise ModelError(
            f"{path} is no readable weights file: {_line(error)}.", "Save the state dict again."
        ) from error
    except (RuntimeError, AttributeError, TypeError, KeyError) as error:
        raise ModelError(
            f"The weights {path.name} do not fit the network: {_misfit(error)}.", "Give the state dict of this network."
        ) from error
    except Exception as error:
        if type(error).__module__ != "_pickle" and type(error).__name__ != "UnpicklingError":
            raise
        raise ModelError(
            f"{path.name} holds more than tensors, so it is not loaded.",
            "Save model.state_dict(), best as .safetensors.",
        ) from error


def check_outputs(model: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    """Run a model once and look at what comes out.

    Args:
        model: In eval mode.
        inputs: One batch.

    Raises:
        ModelError: It does not run on inputs of these shapes, or gives NaN or infinity.
    """
    shapes = ", ".join(str(tuple(x.shape)) for x in inputs)
    try:
        with torch.no_grad():
            outputs = model(*inputs)
    except Exception as error:
        raise ModelError(f"The network does not run on {shapes}: {_where(error)}.", "Mend [model] inputs.") from error
    for output in outputs if isinstance(outputs, (tuple, list)) else [outputs]:
        if isinstance(output, Tensor) and output.is_floating_point() and not torch.isfinite(output).all():
            raise ModelError(
                f"The network gives NaN or infinity on {shapes}.", "Check the weights; nothing is pruned or measured."
            )


def _example_inputs(project: Project) -> tuple[Tensor, ...]:
    wanted = project.config.model.inputs
    if not wanted:
        raise ConfigError(
            "[model] inputs is missing.", 'Add inputs = [{ name = "image", shape = [1, 1, 28, 28] }].',
            path=str(project.config.path),
        )  # fmt: skip
    if project.config.data.test:
        inputs, _ = next(batches(project.test, 1))
        rows = [torch.as_tensor(x)[: spec.shape[0]] for x, spec in zip(inputs, wanted, strict=False)]
        if [tuple(row.shape) for row in rows] == [spec.shape for spec in wanted]:
            return tuple(rows)
    generator = torch.Generator().manual_seed(0)
    return tuple(_noise(spec.shape, spec.dtype, generator) for spec in wanted)


def _noise(shape: tuple[int, ...], dtype: str, generator: torch.Generator) -> Tensor:
    kind: torch.dtype = getattr(torch, dtype)
    if kind.is_floating_point:
        return torch.randn(shape, generator=generator).to(kind)
    return torch.randint(0, 2, shape, generator=generator).to(kind)


def _call(function: Any, name: str) -> Any:
    try:
        return function()
    except EdgePruneError:
        raise
    except Exception as error:
        raise UsageError(f"{name} failed: {_where(error)}.", "Call it by itself in Python to see all of it.") from error


def _where(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {_line(error)}{place}"


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or ["no message"])[0].rstrip(".")


def _misfit(error: BaseException) -> str:
    lines = [line.strip().rstrip(".") for line in str(error).splitlines() if line.strip()]
    return "; ".join(lines[1:3]) if len(lines) > 1 else _line(error)
