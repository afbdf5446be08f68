"""Brain networks that need no file: bright is brain."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from med3d_pipeline.preprocessing.brain_extraction import BrainNetworks
from med3d_pipeline.runtime.onnx_sessions import OnnxSession


@dataclass(frozen=True)
class _Output:
    name: str


@dataclass
class FakeRuntimeSession:
    """Stands where onnxruntime.InferenceSession does; remembers what it was given."""

    compute: Callable[[np.ndarray], np.ndarray]
    providers: list[str] = field(default_factory=lambda: ["CPUExecutionProvider"])
    given: list[np.ndarray] = field(default_factory=list)

    def get_outputs(self) -> list[_Output]:
        return [_Output("brain")]

    def get_providers(self) -> list[str]:
        return self.providers

    def run(self, _names: list[str], inputs: Mapping[str, Any]) -> list[np.ndarray]:
        self.given.append(inputs["image"])
        return [self.compute(inputs["image"])]


def brightness_networks(threshold: float = 0.6) -> BrainNetworks:
    """Networks that call brain what is brighter than ``threshold`` in the input they are given (mean 0.449)."""

    def brain(image: np.ndarray) -> np.ndarray:
        return (image > threshold).astype(np.float32)

    return BrainNetworks(OnnxSession(FakeRuntimeSession(brain)), OnnxSession(FakeRuntimeSession(brain)))


def blind_networks() -> BrainNetworks:
    """Networks that see no brain anywhere."""
    return BrainNetworks(OnnxSession(FakeRuntimeSession(np.zeros_like)), OnnxSession(FakeRuntimeSession(np.zeros_like)))
