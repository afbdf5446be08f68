"""A peer that says a byte now and then."""

import socket


def was_cut_off(connection: socket.socket, said: bytes) -> bool:
    """Say a byte now and then until the other side has had enough; whether it had before all was said."""
    for byte in said:
        try:
            connection.sendall(bytes([byte]))
            if not connection.recv(1):
                return True
        except TimeoutError:
            continue
        except ConnectionError:
            return True
    return False
