"""What is asked of the child that decodes pixels, and what it answers: JSON, one line each."""

import json
from enum import StrEnum

from med3d_contract.results import Frozen
from med3d_service.studies.working_copy.messages import Container, Member


class PixelQuestion(StrEnum):
    """What is asked of the images."""

    DIGESTS = "digests"
    LIKENESS = "likeness"


class PixelJob(Frozen):
    """Images to be decoded. The keys open their containers and nothing else."""

    wanted: PixelQuestion
    containers: tuple[Container, ...]
    members: tuple[Member, ...]

    def told(self) -> str:
        """Return the job as one line of JSON with its keys written out."""
        containers = [one.model_dump(mode="json") | {"key": one.key.get_secret_value()} for one in self.containers]
        return json.dumps(self.model_dump(mode="json") | {"containers": containers})


class PixelAnswer(Frozen):
    """digests: of each image, None where it could not be read, empty where it is of one brightness.

    alike: whether the images after the first one show what the first one shows.
    """

    digests: tuple[str | None, ...] = ()
    alike: bool = False
