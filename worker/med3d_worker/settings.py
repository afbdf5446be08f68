"""What an operator may set of a worker: environment variables with the prefix ``MED3D_``."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from med3d_contract.variables.values import (
    PROVIDERS,
    WORKER_QUEUES,
    check_broker_url,
    check_store_url,
    check_words,
)

if TYPE_CHECKING:
    from med3d_pipeline.bundle.bundle_signature import TrustedKeys

GIB_IN_KIB = 1024 * 1024


class BundleSettings(BaseSettings):
    """Which model, and on what it runs: what ``med3d analyse`` needs and every worker too."""

    model_config = SettingsConfigDict(env_prefix="MED3D_", frozen=True, extra="ignore")

    bundle: Path | None = Field(None, description="folder of the model bundle; default: the one that the project ships")
    bundle_keys: Path | None = Field(
        None,
        description="trusted public keys (PEM file, or folder of *.pub.pem) in place of those that the project ships",
    )
    allow_untrusted_bundle: bool = Field(False, description="load a bundle that no trusted key has signed")
    calibration: Path | None = Field(
        None, description="site_calibration.json of this site's scanner, or a folder of such files (*.json)"
    )
    calibration_keys: Path | None = Field(
        None, description="public keys (PEM file, or folder of *.pub.pem and revoked.txt) that may sign calibrations"
    )
    allow_untrusted_calibration: bool = Field(False, description="load a calibration that no trusted key has signed")
    provider: str = Field("auto", description="auto, or of tensorrt, cuda, openvino, cpu those to try, by commas")
    gpu_device: int = Field(0, ge=0, description="which GPU")
    gpu_mem_limit_bytes: int | None = Field(None, ge=2**28, description="of each session's arena on the GPU")
    mask_precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="of the brain mask's network; bfloat16: with OpenVINO, on processors that have it"
    )
    predict_batch: int = Field(8, ge=1, le=64, description="heads encoded at once")
    threads: int = Field(2, ge=1, description="of one child process, for ONNX Runtime, ITK and linear algebra")
    allow_demonstration_heads: bool = Field(
        False, description="report estimates of heads that were trained on simulated labels"
    )

    @field_validator("bundle", "bundle_keys", "calibration", "calibration_keys", mode="before")
    @classmethod
    def _is_named(cls, value: Path | str | None) -> Path | str | None:
        if value == "":  # as a path it would be the folder that we are in, and whatever key lies there trusted
            raise ValueError("it is empty, as where a variable is not set; unset it, or name a file or folder")
        return value

    @field_validator("provider")
    @classmethod
    def _are_providers(cls, value: str) -> str:
        check_words(value, PROVIDERS)
        return value

    @property
    def bundle_dir(self) -> Path:
        """The bundle's folder: as set, else the one that the project ships."""
        from med3d_pipeline.bundle.bundle import Bundle  # heavy: not for the parent process

        return self.bundle or Bundle.default_path()

    def trusted_keys(self) -> "TrustedKeys | None":
        """Return the keys of which one must have signed the bundle.

        None where that is not asked for. Raises BundleError.
        """
        from med3d_pipeline.bundle.bundle_signature import TrustedKeys

        return None if self.allow_untrusted_bundle else TrustedKeys.read(self.bundle_keys)


class WorkerSettings(BundleSettings):
    """Settings of a worker process and its children."""

    broker_url: SecretStr = SecretStr("redis://127.0.0.1:6379/0")
    broker_url_file: Path | None = Field(None, description="file that holds the broker's URL with its password")
    api_url: str = Field("http://127.0.0.1:8000", description="the results API that gives out work")
    worker_key: SecretStr | None = Field(None, description="the API key of role worker")
    worker_key_file: Path | None = Field(None, description="file that holds the worker's API key (mode 0600)")
    store_url: str = Field(description="file:///folder or s3://bucket/prefix, the same as the service's")
    scratch_dir: Path = Field(
        default_factory=lambda: Path(tempfile.gettempdir()) / "med3d-scratch",
        description="unpacked studies lie below it while they are worked on",
    )
    queues: str = Field(",".join(WORKER_QUEUES), description="separated by commas")
    children: int = Field(1, ge=1, description="worker processes, each with its own sessions")
    gpu_devices: str = Field(
        "", description="GPUs by commas, among which the children are divided, at least one each; empty: no division"
    )
    child_memory_kib: int = Field(4 * GIB_IN_KIB, ge=1, description="a child that has grown above it is replaced")
    alive_file: Path | None = Field(
        None, description="touched at each hello that is heard, for the health checks of containers"
    )
    deface: bool = Field(
        False, description="volumes of heads and pictures are made without the face; the service's setting, too"
    )
    heartbeat_s: float = Field(3.0, gt=0, description="pause between heartbeats of a stage, and between hellos")

    @field_validator("store_url")
    @classmethod
    def _is_a_store(cls, value: str) -> str:
        check_store_url(value)
        return value

    @field_validator("broker_url")
    @classmethod
    def _is_a_broker(cls, value: SecretStr) -> SecretStr:
        check_broker_url(value.get_secret_value())
        return value

    @field_validator("queues")
    @classmethod
    def _are_queues(cls, value: str) -> str:
        check_words(value, WORKER_QUEUES)
        return value

    @field_validator("gpu_devices")
    @classmethod
    def _are_devices(cls, value: str) -> str:
        for word in (part.strip() for part in value.split(",") if part.strip()):
            if not word.isdecimal():
                raise ValueError(f"{word!r} is no number of a GPU (0, 1, ...; several by commas)")
        return value

    @model_validator(mode="after")
    def _has_a_key(self) -> "WorkerSettings":
        if self.worker_key is None and self.worker_key_file is None:
            raise ValueError("set MED3D_WORKER_KEY_FILE (or MED3D_WORKER_KEY): the worker's API key")
        return self

    def broker(self) -> str:
        """Return the broker's URL; raises OSError where its file cannot be read."""
        if self.broker_url_file is not None:
            return self.broker_url_file.read_text(encoding="utf-8").strip()
        return self.broker_url.get_secret_value()

    @property
    def queue_names(self) -> tuple[str, ...]:
        """The queues that this worker takes from."""
        return tuple(name.strip() for name in self.queues.split(",") if name.strip())

    @property
    def devices(self) -> tuple[int, ...]:
        """The GPUs among which the worker's processes are divided."""
        return tuple(int(name) for name in self.gpu_devices.split(",") if name.strip())

    @property
    def processes(self) -> int:
        """How many processes work: ``children``, and at least one for each GPU that is named."""
        return max(self.children, len(self.devices))

    def of_process(self, number: int) -> "WorkerSettings":
        """Return the settings of one process of the pool, with its own GPU.

        A process that replaces it gets the same.
        """
        if not self.devices:
            return self
        return self.model_copy(update={"gpu_device": self.devices[number % len(self.devices)]})

    def key(self) -> str:
        """Return the worker's API key; raises OSError where its file cannot be read."""
        if self.worker_key is not None:
            return self.worker_key.get_secret_value()
        assert self.worker_key_file is not None
        return self.worker_key_file.read_text().strip()
