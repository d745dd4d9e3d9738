"""A stand-in for TensorRT's Python module, by its documented names: onnxruntime computes, on the addresses given.

FAKE_TENSORRT_VERSION chooses whose interface it has: bindings by number (8.2), by name (10.3), or without the flags of
precisions (11.0).

Source:
    NVIDIA's TensorRT Python API reference for 8.2.1, 10.3 and 11.0, and its migration guide 8.x to 10.x.
"""

import ctypes
import enum
import os
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

__version__ = os.environ.get("FAKE_TENSORRT_VERSION", "10.3.0")
_MAJOR = int(__version__.split(".")[0])
_HEADER = b"plan " + __version__.encode() + b"\n"
built = []
"""What `build_serialized_network` was asked to build: names of flags, device, shapes of the profile."""


class DataType(enum.Enum):
    FLOAT, HALF, INT8, INT32, BOOL, UINT8, INT64 = range(7)


class LayerType(enum.Enum):
    CONVOLUTION, QUANTIZE, DEQUANTIZE, OTHER = range(4)


class TensorIOMode(enum.Enum):
    NONE, INPUT, OUTPUT = range(3)


class DeviceType(enum.Enum):
    GPU, DLA = range(2)


if _MAJOR < 11:
    BuilderFlag = enum.Enum("BuilderFlag", "FP16 INT8 GPU_FALLBACK")
    NetworkDefinitionCreationFlag = enum.IntEnum("NetworkDefinitionCreationFlag", "EXPLICIT_BATCH", start=0)
else:
    BuilderFlag = enum.Enum("BuilderFlag", "GPU_FALLBACK")
    NetworkDefinitionCreationFlag = enum.IntEnum("NetworkDefinitionCreationFlag", "STRONGLY_TYPED", start=0)

_DTYPES = {
    "tensor(float)": DataType.FLOAT, "tensor(float16)": DataType.HALF, "tensor(int64)": DataType.INT64,
    "tensor(int32)": DataType.INT32, "tensor(bool)": DataType.BOOL, "tensor(int8)": DataType.INT8,
    "tensor(uint8)": DataType.UINT8,
}  # fmt: skip


class Logger:
    ERROR = 1

    def __init__(self, severity):
        assert severity == self.ERROR


class _Tensor:
    def __init__(self, name, shape, dtype):
        self.name, self.shape, self.dtype = name, tuple(shape), dtype


class _Layer:
    num_outputs = 1

    def __init__(self, node, half):
        kinds = {"QuantizeLinear": LayerType.QUANTIZE, "DequantizeLinear": LayerType.DEQUANTIZE}
        self.type = kinds.get(node.op_type, LayerType.OTHER)
        self._dtype = DataType.HALF if set(node.output) & half else DataType.FLOAT

    def get_output(self, index):
        return _Tensor("", (), self._dtype)


class _Network:
    def __init__(self):
        self.data = None

    def read(self, data):
        self.data = data
        model = onnx.shape_inference.infer_shapes(onnx.load_from_string(data))
        half = {v.name for v in model.graph.value_info if v.type.tensor_type.elem_type == onnx.TensorProto.FLOAT16}
        self._layers = [_Layer(node, half) for node in model.graph.node]
        self._inputs = [_Tensor(i.name, *_shape_and_dtype(i)) for i in onnxruntime.InferenceSession(data).get_inputs()]
        self.num_layers, self.num_inputs = len(self._layers), len(self._inputs)

    def get_layer(self, index):
        return self._layers[index]

    def get_input(self, index):
        return self._inputs[index]


def _shape_and_dtype(argument):
    return [size if isinstance(size, int) else -1 for size in argument.shape], _DTYPES[argument.type]


class _Profile:
    def __init__(self):
        self.shapes = {}

    def set_shape(self, name, least, best, most):
        assert list(least) <= list(best) <= list(most)
        self.shapes[name] = list(best)


class _Config:
    def __init__(self):
        self.flags, self.default_device_type, self.shapes = [], DeviceType.GPU, {}
        if _MAJOR >= 10:
            self.set_memory_pool_limit = lambda pool, size: None
        else:
            self.max_workspace_size = 0

    def set_flag(self, flag):
        assert isinstance(flag, BuilderFlag)
        self.flags.append(flag.name)

    def add_optimization_profile(self, profile):
        self.shapes = profile.shapes
        return 0


class Builder:
    num_DLA_cores = 2  # noqa: N815 - its name

    def __init__(self, logger):
        assert isinstance(logger, Logger)

    def create_network(self, flags):
        assert _MAJOR >= 10 or flags == 1, "an ONNX file needs an explicit batch"
        return _Network()

    def create_builder_config(self):
        return _Config()

    def create_optimization_profile(self):
        return _Profile()

    def build_serialized_network(self, network, config):
        if any(size < 0 for each in network._inputs for size in each.shape) and not config.shapes:
            return None
        assert getattr(config, "max_workspace_size", 1), "no tactic fits into no workspace"
        built.append({"flags": config.flags, "device": config.default_device_type.name, "shapes": config.shapes})
        return memoryview(_HEADER + network.data)


class _ParserError:
    def desc(self):
        return "Failed to parse the ONNX model"

    __str__ = desc


class OnnxParser:
    num_errors = 0

    def __init__(self, network, logger):
        self._network = network

    def parse_from_file(self, path):
        try:
            self._network.read(Path(path).read_bytes())
        except Exception:  # noqa: BLE001 - the real one says False, whatever is wrong
            self.num_errors = 1
            return False
        return True

    def get_error(self, index):
        return _ParserError()


class IProfiler:
    def __init__(self):
        self.base_was_called = True


class _Engine:
    def __init__(self, data):
        self.session = onnxruntime.InferenceSession(data)
        self.given, self.taken = self.session.get_inputs(), self.session.get_outputs()
        self._all = {each.name: each for each in (*self.given, *self.taken)}
        self._names = list(self._all)

    def create_execution_context(self):
        return _Context(self)

    def _is_input(self, name):
        return name in [each.name for each in self.given]

    if _MAJOR >= 10:

        @property
        def num_io_tensors(self):
            return len(self._names)

        def get_tensor_name(self, index):
            return self._names[index]

        def get_tensor_mode(self, name):
            return TensorIOMode.INPUT if self._is_input(name) else TensorIOMode.OUTPUT

        def get_tensor_shape(self, name):
            return tuple(_shape_and_dtype(self._all[name])[0])

        def get_tensor_dtype(self, name):
            return _shape_and_dtype(self._all[name])[1]

    else:

        @property
        def num_bindings(self):
            return len(self._names)

        def get_binding_name(self, index):
            return self._names[index]

        def binding_is_input(self, index):
            return self._is_input(self._names[index])

        def get_binding_shape(self, index):
            return tuple(_shape_and_dtype(self._all[self._names[index]])[0])

        def get_binding_dtype(self, index):
            return _shape_and_dtype(self._all[self._names[index]])[1]


class _Context:
    profiler = None

    def __init__(self, engine):
        self._engine, self._shapes, self._addresses = engine, {}, {}

    def _shape(self, name):
        if name in self._shapes:
            return self._shapes[name]
        sizes = [size if isinstance(size, int) else -1 for size in self._engine._all[name].shape]
        batch = next(iter(self._shapes.values()))[0]
        return tuple(batch if size < 0 else size for size in sizes)

    def _execute(self, addresses):
        given = {each.name: _at(addresses[each.name], self._shape(each.name), each.type) for each in self._engine.given}
        found = self._engine.session.run(None, given)
        for each, array in zip(self._engine.taken, found, strict=True):
            _at(addresses[each.name], self._shape(each.name), each.type)[...] = array
        if self.profiler is not None:
            assert self.profiler.base_was_called
            for number in range(2):
                self.profiler.report_layer_time(f"layer {number}", 0.25 * (number + 1))
        return True

    if _MAJOR >= 10:

        def set_input_shape(self, name, shape):
            self._shapes[name] = tuple(shape)
            return True

        def get_tensor_shape(self, name):
            return self._shape(name)

        def set_tensor_address(self, name, address):
            self._addresses[name] = address
            return True

        def execute_async_v3(self, stream_handle):
            assert stream_handle
            return self._execute(self._addresses)

    else:

        def set_binding_shape(self, index, shape):
            self._shapes[self._engine._names[index]] = tuple(shape)
            return True

        def get_binding_shape(self, index):
            return self._shape(self._engine._names[index])

        def execute_async_v2(self, bindings, stream_handle):
            assert stream_handle
            return self._execute(dict(zip(self._engine._names, bindings, strict=True)))


def _at(address, shape, kind):
    dtype = np.dtype({"tensor(float)": "f4", "tensor(int64)": "i8", "tensor(float16)": "f2"}[kind])
    size = int(np.prod(shape)) * dtype.itemsize
    return np.frombuffer((ctypes.c_char * size).from_address(address), dtype).reshape(shape)


class Runtime:
    def __init__(self, logger):
        assert isinstance(logger, Logger)

    def deserialize_cuda_engine(self, plan):
        data = bytes(plan)
        return _Engine(data[len(_HEADER) :]) if data.startswith(_HEADER) else None
