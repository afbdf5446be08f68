"""What stops a command, said in one line."""


class CommandError(Exception):
    """Shown to the user as ``error: ...`` without a traceback; ``exit_code`` is what the process leaves with."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code
