"""The ``med3d`` command."""
