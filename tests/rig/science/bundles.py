"""A second bundle: the released one with the intercept of its brain-age head moved, so its shift is known exactly."""

import hashlib
import json
import shutil
import struct
from pathlib import Path

import numpy as np

from med3d_pipeline.bundle.bundle import Bundle

SHIFTED_VERSION = "99.0.0"
RHO = b"\n\x03rho="
"""The SVR's intercept in the ONNX file: AttributeProto with the name "rho", then its float (onnx.proto)."""


def shifted_bundle(folder: Path, years: float, version: str = SHIFTED_VERSION) -> Path:
    """The released bundle in ``folder``, of another version, with every brain age ``years`` higher; its folder.

    Nobody has signed it: a worker needs MED3D_ALLOW_UNTRUSTED_BUNDLE.
    """
    shutil.copytree(Bundle.default_path(), folder)
    head = folder / "heads" / "brain_age.onnx"
    data = bytearray(head.read_bytes())
    at = data.index(RHO) + len(RHO)
    struct.pack_into("<f", data, at, struct.unpack_from("<f", data, at)[0] + years)
    head.write_bytes(data)
    expected = folder / "reference_case" / "expected.npz"
    with np.load(expected) as stored:
        values = dict(stored)
    np.savez(expected, **values | {"brain_age_years": values["brain_age_years"] + years})
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["version"] = version
    for name in ("heads/brain_age.onnx", "reference_case/expected.npz"):
        manifest["files"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "manifest.json.sig").unlink()  # of the released one
    return folder
