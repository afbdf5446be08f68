"""Batches of one shape, halved where a device has no memory for them: a GPU that is played."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from med3d_pipeline.errors import DeviceMemoryError, InferenceError
from med3d_pipeline.runtime.fixed_batches import FixedBatches


class Gpu:
    """Doubles its input; has memory for ``fits`` of them at once."""

    providers = ("CUDAExecutionProvider",)

    def __init__(self, fits: int, error: type[InferenceError] = DeviceMemoryError) -> None:
        self.fits, self.error = fits, error
        self.poison: float | None = None
        self.shapes: list[tuple[int, ...]] = []

    def run(self, inputs):
        tensor = inputs["tensor"]
        if len(tensor) > self.fits or self.poison in tensor:
            raise self.error("no memory")
        self.shapes.append(tensor.shape)
        return {"latent": tensor.reshape(len(tensor), -1)[:, :2] * 2}


def heads(count: int) -> np.ndarray:
    return np.arange(count * 8, dtype=np.float32).reshape(count, 1, 2, 2, 2)


@given(count=st.integers(1, 40), batch=st.integers(1, 16), fits=st.integers(1, 16))
def test_every_head_gets_its_own_answer_whatever_fits(count: int, batch: int, fits: int) -> None:
    gpu = Gpu(fits)
    latents = FixedBatches(gpu, batch).run({"tensor": heads(count)})["latent"]
    np.testing.assert_array_equal(latents, heads(count).reshape(count, -1)[:, :2] * 2)


def test_all_batches_have_one_shape() -> None:
    gpu = Gpu(fits=8)
    FixedBatches(gpu, 8).run({"tensor": heads(11)})
    assert gpu.shapes == [(8, 1, 2, 2, 2)] * 2


def test_a_batch_without_memory_is_halved_and_stays_so() -> None:
    gpu = Gpu(fits=3)
    batches = FixedBatches(gpu, 8)
    batches.run({"tensor": heads(8)})
    assert batches.batch == 2
    batches.run({"tensor": heads(4)})
    assert {shape[0] for shape in gpu.shapes} == {2}


def test_a_batch_that_fails_in_words_that_nobody_knows_is_halved_too() -> None:
    gpu = Gpu(fits=3, error=InferenceError)
    batches = FixedBatches(gpu, 8)
    latents = batches.run({"tensor": heads(5)})["latent"]
    assert batches.batch == 2
    np.testing.assert_array_equal(latents, heads(5).reshape(5, -1)[:, :2] * 2)


@pytest.mark.parametrize("error", [DeviceMemoryError, InferenceError])
def test_one_head_that_fails_on_its_own_is_the_error_it_is(error: type[InferenceError]) -> None:
    with pytest.raises(InferenceError) as caught:
        FixedBatches(Gpu(fits=0, error=error), 4).run({"tensor": heads(2)})
    assert type(caught.value) is error


def test_a_fault_that_no_size_mends_leaves_the_size_as_it_was() -> None:
    gpu = Gpu(fits=0, error=InferenceError)
    batches = FixedBatches(gpu, 8)
    with pytest.raises(InferenceError):
        batches.run({"tensor": heads(8)})
    gpu.fits = 8
    batches.run({"tensor": heads(8)})
    assert (batches.batch, gpu.shapes) == (8, [(8, 1, 2, 2, 2)])


@pytest.mark.parametrize("place", range(8))
def test_one_head_that_fails_among_others_leaves_the_size_as_it_was(place: int) -> None:
    """Those before it were answered in halves, which says nothing of the memory: all later heads would go one by one."""
    gpu = Gpu(fits=8, error=InferenceError)
    batches = FixedBatches(gpu, 8)
    gpu.poison = heads(8)[place].max()
    with pytest.raises(InferenceError):
        batches.run({"tensor": heads(8)})
    assert batches.batch == 8
