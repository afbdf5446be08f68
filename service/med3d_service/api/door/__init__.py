"""What stands in front of the API: who holds a place, who calls, and how much of a body is read, how slowly.

``protocol`` judges connections and heads before there is a request; ``Door`` judges requests before there is a body.
"""

from med3d_service.api.door.door import Door
from med3d_service.api.door.marks import ReadsAsItComes, describe_bodies, takes_up_to

__all__ = ["Door", "ReadsAsItComes", "describe_bodies", "takes_up_to"]
