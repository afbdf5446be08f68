"""Put on PYTHONPATH by tests: SIGKILLs one process of the service in the middle of a function of the test's choice.

In the folder that MED3D_TEST_FAULTS names, a file ``FUNCTION@PART`` waits for a process that opens a path with PART in
it below a function FUNCTION (or CLASS.FUNCTION, where others have that name); that process takes the file away and dies
there. Nothing in the service knows of this.
"""

import os
import signal
import sys
from pathlib import Path
from types import FrameType


def _functions_on_the_stack() -> set[str]:
    frame: FrameType | None = sys._getframe(2)
    names: set[str] = set()
    while frame is not None:
        names |= {frame.f_code.co_name, frame.f_code.co_qualname}
        frame = frame.f_back
    return names


def _install(folder: Path) -> None:
    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event != "open" or not isinstance(arguments[0], str):
            return
        for fault in folder.iterdir():
            function, _, part = fault.name.partition("@")
            if part in arguments[0] and function in _functions_on_the_stack():
                fault.rmdir()
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


if "MED3D_TEST_FAULTS" in os.environ:
    _install(Path(os.environ["MED3D_TEST_FAULTS"]))
