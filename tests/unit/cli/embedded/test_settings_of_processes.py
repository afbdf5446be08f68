"""What the embedded processes are told."""

from pathlib import Path

from med3d_cli.data_dir import DataDir
from med3d_cli.embedded.system import environment, unheeded


def test_variables_of_the_user_s_that_count_for_nothing_are_listed(monkeypatch, tmp_path):
    for name, value in (("STORE_URL", "s3://heads"), ("LEASE_S", "30"), ("TLS_CERT", "/x.pem"), ("SITE", "north")):
        monkeypatch.setenv(f"MED3D_{name}", value)
    told = environment(DataDir(tmp_path), 8080, 11112, Path("/run/broker.sock"))
    assert told["MED3D_SITE"] == "north"
    assert {"MED3D_STORE_URL", "MED3D_TLS_CERT"} <= set(unheeded(told))
    assert not {"MED3D_LEASE_S", "MED3D_SITE"} & set(unheeded(told))
