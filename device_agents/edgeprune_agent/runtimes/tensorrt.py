"""ONNX files by TensorRT's own Python module, which JetPack brings. Engines are built on the board, and kept."""

import hashlib
import os
from typing import Any, Callable, Dict, List, Optional, Sequence

from edgeprune_agent.runtimes import Rejected
from edgeprune_agent.runtimes.cuda import Buffer, Cuda, CudaError

PACKAGES = ("tensorrt",)
_DTYPES = {"FLOAT": "float32", "HALF": "float16"}
"""TensorRT's names of element types where they differ from numpy's in more than upper case."""
_WORKSPACE_BYTES = 256 << 20
"""What a layer may use while it runs, for TensorRT before 8.4, which gives it nothing of itself."""


def describe() -> Dict[str, Any]:
    """Return name, version, GPU and DLA where there is one, and why it cannot be used, if so."""
    try:
        import tensorrt

        Cuda().gpu()
        providers = ["GPU"] + (["DLA"] if tensorrt.Builder(_logger()).num_DLA_cores else [])
    except (ImportError, OSError, CudaError) as error:
        return {"name": "tensorrt", "version": None, "providers": [], "reason": str(error)}
    return {"name": "tensorrt", "version": tensorrt.__version__, "providers": providers, "reason": ""}


def open_model(
    path: str, threads: int, provider: str = "auto", strict: bool = False, engines: Optional[str] = None
) -> "TensorrtModel":
    """Build an engine, or take the one that was built of this file before.

    Args:
        path: An ONNX file. What it holds in half precision, or between QDQ pairs, may be computed in it.
        threads: Not used: the GPU has its own.
        provider: "GPU"; "auto" is that; "DLA" for the accelerator beside it, whose other layers the GPU takes.
        strict: Refuse a model of which a layer would run on the GPU instead.
        engines: Folder in which engines are kept; None to build anew.

    Returns:
        A model that can run.

    Raises:
        Rejected: TensorRT does not take the file, or has not that provider.
    """
    del threads
    known = describe()["providers"]
    wanted = "GPU" if provider == "auto" else provider.upper()
    if wanted not in known:
        raise Rejected("this TensorRT has no provider {}, only {}".format(provider, ", ".join(known)))
    cuda = Cuda()
    kept = _engine_path(path, wanted, strict, cuda, engines) if engines else None
    engine = _kept_engine(kept)
    if engine is None:
        plan = _built(path, wanted == "DLA", strict)
        _keep(kept, plan)
        engine = _loaded(plan)
    if engine is None:
        raise Rejected("TensorRT does not load the engine that it has built")
    return TensorrtModel(engine, cuda, wanted)


def profile(path: str, runs: int, draw: Callable[[Any], Any], **how: Any) -> List[Dict[str, Any]]:
    """Time every layer of the engine.

    Args:
        path: An ONNX file.
        runs: How often it runs, the first of which does not count.
        draw: Gives inputs for a model's specs.
        how: As for `open_model`.

    Returns:
        In the engine's order: `name`, `op` (TensorRT does not tell it), `provider`, and `ns`, the median.
    """
    model = open_model(path, **how)
    infer = model.bind(draw(model.inputs))
    seen = model.watch()
    for _ in range(runs + 1):
        infer()
    return [
        {"name": name, "op": "", "provider": model.providers[0], "ns": sorted(ns[1:] or ns)[len(ns[1:]) // 2]}
        for name, ns in seen.items()
    ]


def _logger() -> Any:
    import tensorrt

    return tensorrt.Logger(tensorrt.Logger.ERROR)


def _engine_path(path: str, provider: str, strict: bool, cuda: Cuda, engines: str) -> str:
    # An engine serves one model on one GPU by one version; the power mode is the folder's.
    import tensorrt

    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for piece in iter(lambda: file.read(1 << 20), b""):
            digest.update(piece)
    kind = provider.lower() + ("-strict" if strict else "")
    name = "{}-{}-{}-{}.engine".format(digest.hexdigest(), tensorrt.__version__, cuda.gpu(), kind)
    return os.path.join(engines, name)


def _kept_engine(path: Optional[str]) -> Any:
    if path is None or not os.path.exists(path):
        return None
    with open(path, "rb") as file:
        return _loaded(file.read())  # None where TensorRT refuses it: it is built again


def _loaded(plan: Any) -> Any:
    import tensorrt

    runtime = tensorrt.Runtime(_logger())
    engine = runtime.deserialize_cuda_engine(plan)
    return None if engine is None else (runtime, engine)  # the engine ends with its runtime


def _keep(path: Optional[str], plan: Any) -> None:
    if path is None:
        return
    os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
    draft = "{}.{}.new".format(path, os.getpid())
    try:
        with open(draft, "wb") as file:
            file.write(plan)
        os.replace(draft, path)
    except OSError:  # a full disk: it is built anew the next time
        if os.path.exists(draft):
            os.unlink(draft)


def _built(path: str, on_dla: bool, strict: bool) -> Any:
    import tensorrt

    logger = _logger()
    builder = tensorrt.Builder(logger)
    explicit = getattr(tensorrt.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH", None)
    network = builder.create_network(0 if explicit is None else 1 << int(explicit))
    parser = tensorrt.OnnxParser(network, logger)
    if not os.access(path, os.R_OK):
        raise Rejected("{} cannot be read".format(path))
    if not parser.parse_from_file(path):
        reasons = [str(parser.get_error(number)) for number in range(parser.num_errors)]
        raise Rejected("; ".join(reasons) or "it is no ONNX file")
    config = builder.create_builder_config()
    for name in _flags(network, on_dla, strict):
        flag = getattr(tensorrt.BuilderFlag, name, None)  # from TensorRT 11 on, types alone decide
        if flag is not None:
            config.set_flag(flag)
    if not hasattr(config, "set_memory_pool_limit"):
        config.max_workspace_size = _WORKSPACE_BYTES
    if on_dla:
        config.default_device_type = tensorrt.DeviceType.DLA
    _fix_open_dimensions(builder, network, config)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise Rejected("TensorRT builds no engine of it")
    return plan


def _flags(network: Any, on_dla: bool, strict: bool) -> List[str]:
    # The precisions that the file itself holds: none is lowered behind the user's back.
    layers = [network.get_layer(number) for number in range(network.num_layers)]
    dtypes = {_plain(layer.get_output(0).dtype) for layer in layers if layer.num_outputs}
    found = ["FP16"] if "HALF" in dtypes else []
    if any(_plain(layer.type) in ("QUANTIZE", "DEQUANTIZE") for layer in layers):
        found.append("INT8")
    return found + (["GPU_FALLBACK"] if on_dla and not strict else [])


def _fix_open_dimensions(builder: Any, network: Any, config: Any) -> None:
    inputs = [network.get_input(number) for number in range(network.num_inputs)]
    if not any(size < 0 for each in inputs for size in each.shape):
        return
    shapes = builder.create_optimization_profile()
    for each in inputs:
        shape = [1 if size < 0 else size for size in each.shape]
        shapes.set_shape(each.name, shape, shape, shape)
    config.add_optimization_profile(shapes)


def _plain(member: Any) -> str:
    return str(member).rpartition(".")[2]


def _numpy_name(dtype: Any) -> str:
    name = _plain(dtype)
    return _DTYPES.get(name, name.lower())


class TensorrtModel:
    """An engine with memory for its inputs and outputs.

    Attributes:
        inputs: Name, shape and dtype of each input; open dimensions are fixed to 1.
        outputs: The same of each output.
        providers: GPU or DLA.
    """

    def __init__(self, loaded: Any, cuda: Cuda, provider: str) -> None:
        self._runtime, self._engine = loaded
        self._cuda, self._stream = cuda, cuda.stream()
        self._context = self._engine.create_execution_context()
        ports = (_Named if hasattr(self._engine, "num_io_tensors") else _Bound)(self._engine, self._context)
        self.inputs, self.outputs = ports.inputs, ports.outputs
        self.providers = [provider]
        self._memory = {spec["name"]: Buffer(cuda, _size(spec)) for spec in self.inputs + self.outputs}
        self._start = ports.start({name: buffer.address for name, buffer in self._memory.items()}, self._stream)

    def run(self, arrays: Sequence[Any]) -> List[Any]:
        """Return the outputs for one batch of inputs."""
        return list(self.bind(arrays)())

    def bind(self, arrays: Sequence[Any]) -> Callable[[], Any]:
        """Return one inference as a callable: inputs to the GPU, the engine, outputs back, as onnxruntime does it."""
        import numpy

        cuda, stream, start, memory = self._cuda, self._stream, self._start, self._memory
        given = [(memory[spec["name"]], array) for spec, array in zip(self.inputs, arrays)]
        wanted = [(memory[spec["name"]], spec["shape"], spec["dtype"]) for spec in self.outputs]

        def infer() -> List[Any]:
            for buffer, array in given:
                cuda.to_device(buffer, array, stream)
            if not start():
                raise CudaError("TensorRT did not start the inference")
            outputs = []
            for buffer, shape, dtype in wanted:
                outputs.append(numpy.empty(shape, dtype))
                cuda.to_host(outputs[-1], buffer, stream)
            cuda.wait(stream)
            return outputs

        return infer

    def watch(self) -> Dict[str, List[int]]:
        """Note from now on how long each layer takes.

        Returns:
            Layer name to nanoseconds, one per inference; it fills while the model runs.
        """
        import tensorrt

        seen: Dict[str, List[int]] = {}

        class Watch(tensorrt.IProfiler):  # type: ignore[misc, name-defined, unused-ignore]
            def __init__(self) -> None:
                tensorrt.IProfiler.__init__(self)

            def report_layer_time(self, layer_name: str, ms: float) -> None:
                seen.setdefault(layer_name, []).append(round(ms * 1e6))

        self._context.profiler = Watch()
        return seen


def _size(spec: Dict[str, Any]) -> int:
    import numpy

    return int(numpy.prod(spec["shape"], dtype=int) * numpy.dtype(spec["dtype"]).itemsize)


class _Named:
    """Inputs and outputs by name: TensorRT 8.5 and later."""

    def __init__(self, engine: Any, context: Any) -> None:
        self._context = context
        names = [engine.get_tensor_name(number) for number in range(engine.num_io_tensors)]
        given = [name for name in names if _plain(engine.get_tensor_mode(name)) == "INPUT"]
        for name in given:
            context.set_input_shape(name, [1 if size < 0 else size for size in engine.get_tensor_shape(name)])

        def spec(name: str) -> Dict[str, Any]:
            shape = [int(size) for size in context.get_tensor_shape(name)]
            return {"name": name, "shape": shape, "dtype": _numpy_name(engine.get_tensor_dtype(name))}

        self.inputs = [spec(name) for name in given]
        self.outputs = [spec(name) for name in names if name not in given]

    def start(self, memory: Dict[str, int], stream: int) -> Callable[[], Any]:
        """Return what puts one inference into a stream."""
        for name, address in memory.items():
            self._context.set_tensor_address(name, address)
        return lambda: self._context.execute_async_v3(stream)


class _Bound:
    """Inputs and outputs by number: TensorRT 8.0 to 8.4, JetPack 4.6."""

    def __init__(self, engine: Any, context: Any) -> None:
        self._context = context
        numbers = range(engine.num_bindings)
        self._names = [engine.get_binding_name(number) for number in numbers]
        given = [number for number in numbers if engine.binding_is_input(number)]
        for number in given:
            context.set_binding_shape(number, [1 if size < 0 else size for size in engine.get_binding_shape(number)])

        def spec(number: int) -> Dict[str, Any]:
            shape = [int(size) for size in context.get_binding_shape(number)]
            return {"name": self._names[number], "shape": shape, "dtype": _numpy_name(engine.get_binding_dtype(number))}

        self.inputs = [spec(number) for number in given]
        self.outputs = [spec(number) for number in numbers if number not in given]

    def start(self, memory: Dict[str, int], stream: int) -> Callable[[], Any]:
        """Return what puts one inference into a stream."""
        addresses = [memory[name] for name in self._names]
        return lambda: self._context.execute_async_v2(addresses, stream)
