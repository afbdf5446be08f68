"""Which Redis-protocol server the embedded service starts."""

import pytest

from med3d_cli.embedded.system import broker_server, valkey_server


def put(folder, name, says):
    (folder / name).write_text(f"#!/bin/sh\necho '{says}'\n")
    (folder / name).chmod(0o755)
    return folder / name


def test_a_server_of_the_host_goes_before_the_wheel_s_and_valkey_before_redis(tmp_path):
    redis = put(tmp_path, "redis-server", "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64")
    assert broker_server(str(tmp_path)) == redis
    valkey = put(tmp_path, "valkey-server", "Valkey server v=8.1.1 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64")
    assert broker_server(str(tmp_path)) == valkey


@pytest.mark.parametrize("says", ["Redis server v=6.0.16 sha=00000000:0", "something else"])
def test_one_that_is_too_old_or_says_nothing_is_left_alone(tmp_path, says):
    put(tmp_path, "redis-server", says)
    assert broker_server(str(tmp_path)) == valkey_server()
