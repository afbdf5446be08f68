"""``python -m med3d_cli``: the same as ``med3d``."""

from med3d_cli.main import run

if __name__ == "__main__":
    run()
