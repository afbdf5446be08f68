"""A network that fails: a TCP proxy in front of a real peer that cuts the line after so many bytes."""

import socket
import threading
from contextlib import suppress

PIECE_BYTES = 65536


class CuttingProxy:
    """Passes bytes to and from ``port``. The next ``cuts`` answers that grow longer than ``after_bytes`` are cut there.

    While ``held`` is set nothing more of an answer passes, though the line stays open.
    """

    def __init__(self, port):
        self.cuts = 0
        self.after_bytes = 0
        self.held = threading.Event()
        self.holding = threading.Event()
        self._port = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._lines = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", self._port))
                except OSError:
                    near.close()
                    continue
                self._lines += [near, far]
                threading.Thread(target=self._pass, args=(near, far, False), daemon=True).start()
                threading.Thread(target=self._pass, args=(far, near, True), daemon=True).start()

    def _pass(self, source, target, is_answer):
        passed = 0
        with suppress(OSError):
            while piece := source.recv(PIECE_BYTES):
                passed += len(piece)
                if is_answer and passed > self.after_bytes:
                    if self.held.is_set():
                        # To the byte, so that the silence falls into the middle of a message.
                        before = max(0, self.after_bytes - (passed - len(piece)))
                        target.sendall(piece[:before])
                        piece = piece[before:]
                        self.holding.set()
                        while self.held.is_set():
                            threading.Event().wait(0.05)
                    if self.cuts:
                        self.cuts -= 1
                        break
                target.sendall(piece)
        for line in (source, target):
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

    def close(self):
        self.held.clear()
        self._listening.close()
        for line in self._lines:
            line.close()
