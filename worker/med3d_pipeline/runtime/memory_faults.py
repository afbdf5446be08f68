"""How ONNX Runtime and the libraries below it say that memory ended: in words only, there is no error code for it."""

_SIGNS = (
    "available memory of",  # the arena at its limit: "Available memory of N is smaller than requested bytes of M"
    "smaller than requested bytes",
    "failed to allocate",  # the arena that cannot grow, "Failed to allocate memory for requested buffer of size N"
    "allocation failed",  # an allocation past the arena, "Memory allocation failed. Size=N", and the device's pool
    "cudamallocfrompoolasync failed",
    "out of memory",  # CUDA's own sentence, and TensorRT's
    "outofmemory",
    "cuda failure 2:",  # cudaErrorMemoryAllocation; the colon keeps 2xx out, which are other faults
    "cudaerrormemoryallocation",
    "alloc_failed",  # CUBLAS_STATUS_ALLOC_FAILED, CUDNN_STATUS_ALLOC_FAILED, CUFFT_ALLOC_FAILED
    "allocation_failed",  # CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED of cuDNN 9
    "bad_alloc",  # the host's memory
    "bad allocation",
    "insufficient memory",
)
"""In lower case. The arena's and the allocators' sentences stand in each wheel from 1.22 to 1.31."""


def says_memory_ended(message: str) -> bool:
    """Tell whether a runtime's error speaks of memory that could not be had."""
    said = message.lower()
    return any(sign in said for sign in _SIGNS)
