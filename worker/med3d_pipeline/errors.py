"""The pipeline's error tree."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any


class PipelineError(Exception):
    """Everything the pipeline raises on purpose."""


class InputRefused(PipelineError):  # noqa: N818 - a refusal is an answer, not a fault
    """The input cannot be given a number, and the sender can be told why.

    ``code`` is stable and documented in docs/refusals.md; ``reason`` is one or two sentences in plain words that say
    what is wrong and what to send instead. ``details`` holds JSON values only and never an identifier.
    """

    def __init__(self, code: str, reason: str, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason
        self.details: Mapping[str, Any] = MappingProxyType(dict(details or {}))

    def __reduce__(self) -> tuple[type["InputRefused"], tuple[str, str, dict[str, Any]]]:
        return type(self), (self.code, self.reason, dict(self.details))


class BundleError(PipelineError):
    """The model bundle is incomplete, altered, or does not reproduce its reference case on this machine."""


class InferenceError(PipelineError):
    """The runtime failed on good input (out of memory, provider lost); worth another attempt."""


class DeviceMemoryError(InferenceError):
    """A GPU has no memory left for a batch; a smaller one may fit."""
