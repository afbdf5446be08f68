"""What a study costs, as it was measured: a dated table with the command and the machine that made it."""

import json
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from med3d_cli.errors import CommandError

Seconds = Annotated[float, Field(gt=0, le=1e6)]
Between = Annotated[float, Field(ge=0, le=1e6)]
"""Seconds that there may be none of."""
Bytes = Annotated[float, Field(ge=0, le=1e15)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class WorkerSeconds(_Table):
    """A worker's time for one study, on one core and one thread."""

    preprocess_s: Seconds = Field(description="mean, from claim to stored tensor")
    preprocess_sd_s: Between
    predict_s: Seconds = Field(description="from claim to accepted answer")
    handover_s: Between = Field(description="between two tasks: acknowledging one, receiving and claiming the next")

    @property
    def study_s(self) -> float:
        """All of it."""
        return self.preprocess_s + self.predict_s + 2 * self.handover_s


class StudyBytes(_Table):
    """What a study leaves behind, and what its sender sent."""

    sent: Bytes = Field(gt=0)
    originals: Bytes = Field(description="sealed, in the store")
    working_copy: Bytes
    derived: Bytes = Field(description="tensor, pictures and answer in the store")
    database: Bytes


class MemoryBytes(_Table):
    """Of Redis when idle, for each worker that is connected and each task that waits; of one worker."""

    redis_idle: Bytes
    redis_worker: Bytes
    redis_task: Bytes
    redis_most_tasks: int | None = Field(None, ge=0, description="that lie there at once, however many studies wait")
    worker: Bytes = Field(description="resident, with the model loaded")


class GpuBatch(_Table):
    """Encoding in batches of one size, the copies to and from the device included."""

    heads: int = Field(gt=0)
    head_s: Seconds


class GpuWorkers(_Table):
    """Workers that share one GPU: how many, on one thread each, and what they answered together."""

    workers: int = Field(gt=0)
    studies_per_s: float = Field(gt=0, le=1e9)


class GpuCosts(_Table):
    """What a GPU does, as deploy/gpu-check measures it: with a date, a command and a machine of its own.

    worker: a worker's time for a study on a host whose GPU computes the brain networks and predicts, and which has a
    worker on each core; None where only prediction is done there.
    """

    date: str
    command: str
    machine: str
    provider: str
    head_s: Seconds = Field(description="from a tensor to an answer: encoder, decoder and heads, in batches")
    encoding: tuple[GpuBatch, ...] = ()
    networks_s: Seconds | None = Field(None, description="of the GPU, for both brain networks of a head")
    worker: WorkerSeconds | None = None
    shared: tuple[GpuWorkers, ...] = ()

    @property
    def study_s(self) -> float:
        """The GPU's time for a study: brain networks too, where workers preprocess with it."""
        return self.head_s + (self.networks_s or 0.0 if self.worker else 0.0)


class Check(_Table):
    """A prediction beside a real run, from arrival to answer. Its studies are others than those of the costs."""

    workers: int
    studies: int
    arrivals: Literal["at once", "at random"] = Field(description="at random: Poisson, at 80 % of what the workers can")
    what: str
    predicted_s: float
    measured_s: float

    @property
    def error(self) -> float:
        """Relative: 0.1 is a prediction that is 10 % too long."""
        return self.predicted_s / self.measured_s - 1


class MeasuredCosts(_Table):
    """Of one study. alone: other cores are idle; crowded: every core has a worker, which a full host is like."""

    date: str
    command: str
    machine: str
    input: str
    alone: WorkerSeconds
    crowded: WorkerSeconds
    copy_s: Seconds = Field(description="a courier's time to write the de-identified working copy")
    service_s: Seconds = Field(description="processor time of API and scheduler")
    study: StudyBytes
    memory: MemoryBytes
    checked: tuple[Check, ...] = ()
    gpu: GpuCosts | None = Field(None, description="where prediction is done on a GPU; None: by the workers")


def shipped_costs() -> MeasuredCosts:
    """Return the table that the package carries."""
    return MeasuredCosts.model_validate(json.loads(files(__package__).joinpath("measured.json").read_text()))


def read_costs(path: Path | None) -> MeasuredCosts:
    """Return the table in ``path``, or the package's. Raises CommandError where it is no such table."""
    if path is None:
        return shipped_costs()
    try:
        return MeasuredCosts.model_validate_json(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"costs_unreadable: {path} cannot be read") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "it"
        raise CommandError(f"costs_invalid: {path}: {where}: {first['msg']}; make it with bench_capacity") from error
