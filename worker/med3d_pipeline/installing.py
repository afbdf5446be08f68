"""How to install what is missing: no index has the package, so it comes from a checkout or a wheel made of one."""


def install_command(*extras: str) -> str:
    """Return the command that brings ``extras``, as README has it; typed in a checkout, or with a wheel."""
    wanted = ",".join(extras)
    return f"pip install '.[{wanted}]' in a checkout, or pip install 'FILE.whl[{wanted}]' with the wheel"
