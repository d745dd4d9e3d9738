"""Memory of an NVIDIA GPU, by the CUDA runtime library that comes with TensorRT: no package is needed for it."""

import ctypes
from typing import Any

_LIBRARIES = ("libcudart.so", "libcudart.so.13", "libcudart.so.12", "libcudart.so.11.0", "libcudart.so.10.2")
_TO_DEVICE, _TO_HOST = 1, 2
_MULTIPROCESSORS, _MAJOR, _MINOR = 16, 75, 76
"""cudaMemcpyKind and cudaDeviceAttr of driver_types.h, CUDA 10.2 to 13."""


class CudaError(Exception):
    """A call of the CUDA runtime failed; the message is its own."""


class Cuda:
    """The calls that an inference needs.

    Raises:
        OSError: There is no CUDA runtime.
    """

    def __init__(self) -> None:
        self._library = _load()
        self._library.cudaGetErrorString.restype = ctypes.c_char_p

    def _call(self, name: str, *arguments: Any) -> None:
        status = getattr(self._library, name)(*arguments)
        if status:
            raise CudaError("{}: {}".format(name, self._library.cudaGetErrorString(status).decode("utf-8", "replace")))

    def gpu(self) -> str:
        """Return what an engine is built for: the GPU's compute capability and its number of multiprocessors."""
        return "sm{}{}-{}".format(*map(self._attribute, (_MAJOR, _MINOR, _MULTIPROCESSORS)))

    def _attribute(self, number: int) -> int:
        value = ctypes.c_int()
        self._call("cudaDeviceGetAttribute", ctypes.byref(value), number, 0)
        return value.value

    def stream(self) -> int:
        """Return a new stream."""
        handle = ctypes.c_void_p()
        self._call("cudaStreamCreate", ctypes.byref(handle))
        return handle.value or 0

    def wait(self, stream: int) -> None:
        """Wait until all that was put into a stream is done."""
        self._call("cudaStreamSynchronize", ctypes.c_void_p(stream))

    def to_device(self, buffer: "Buffer", array: Any, stream: int) -> None:
        """Begin to copy a C-contiguous array into a buffer of its size."""
        self._copy(buffer.address, array.ctypes.data, array.nbytes, _TO_DEVICE, stream)

    def to_host(self, array: Any, buffer: "Buffer", stream: int) -> None:
        """Begin to copy a buffer into a C-contiguous array of its size."""
        self._copy(array.ctypes.data, buffer.address, array.nbytes, _TO_HOST, stream)

    def _copy(self, target: int, source: int, size: int, kind: int, stream: int) -> None:
        pointers = ctypes.c_void_p(target), ctypes.c_void_p(source)
        self._call("cudaMemcpyAsync", *pointers, ctypes.c_size_t(size), kind, ctypes.c_void_p(stream))

    def allocate(self, size: int) -> int:
        """Return the address of new memory on the GPU."""
        address = ctypes.c_void_p()
        self._call("cudaMalloc", ctypes.byref(address), ctypes.c_size_t(size))
        return address.value or 0

    def free(self, address: int) -> None:
        """Give memory back; what fails at the end of a process has no one to be told."""
        self._library.cudaFree(ctypes.c_void_p(address))


class Buffer:
    """Memory on the GPU for as long as this lives.

    Args:
        cuda: Gives it.
        size: In bytes.
    """

    def __init__(self, cuda: Cuda, size: int) -> None:
        self._cuda, self.address = cuda, 0
        self.address = cuda.allocate(max(1, size))

    def __del__(self) -> None:
        self._cuda.free(self.address)


def _load() -> Any:
    for name in _LIBRARIES:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise OSError("there is no CUDA runtime library (libcudart.so)")
