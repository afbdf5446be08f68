"""What stands between us and a peer: a network that fails, and the HTTPS front of a web server."""

import asyncio
import socket
import ssl
import threading
from contextlib import suppress
from pathlib import Path

PIECE_BYTES = 65536


class CuttingProxy:
    """Passes bytes to and from ``port``. The next ``cuts`` answers that grow longer than ``after_bytes`` are cut there.

    From ``hold`` to ``release`` nothing more of such an answer passes, though the line stays open.
    """

    def __init__(self, port: int) -> None:
        self.cuts = 0
        self.after_bytes = 0
        self._port = port
        self._changed = threading.Condition()
        self._is_held, self._holding = False, 0
        self._lines: list[socket.socket] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def hold(self, after_bytes: int) -> None:
        """Let no answer grow longer."""
        with self._changed:
            self.after_bytes, self._is_held = after_bytes, True

    def wait_until_holding(self) -> None:
        """Wait until there is an answer that would grow longer."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._holding, 60), "no answer grew so long"

    def release(self) -> None:
        """Let go on what was held; who is held then has passed this by."""
        with self._changed:
            self._is_held = False
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._holding, 60)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", self._port))
                except OSError:
                    near.close()
                    continue
                self._lines += [near, far]
                for way in ((near, far, False), (far, near, True)):
                    self._threads.append(threading.Thread(target=self._pass, args=way, daemon=True))
                    self._threads[-1].start()

    def _pass(self, source: socket.socket, target: socket.socket, is_answer: bool) -> None:
        passed = 0
        with suppress(OSError):
            while piece := source.recv(PIECE_BYTES):
                # To the byte, so that a silence falls into the middle of a message.
                left = max(0, self.after_bytes - passed)
                passed += len(piece)
                if is_answer and len(piece) > left:
                    self._wait_while_held(target, piece[:left])
                    if self._is_to_be_cut():
                        break
                    piece = piece[left:]
                target.sendall(piece)
        for line in (source, target):
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

    def _wait_while_held(self, target: socket.socket, first: bytes) -> None:
        target.sendall(first)
        with self._changed:
            if self._is_held:
                self._holding += 1
                self._changed.notify_all()
                self._changed.wait_for(lambda: not self._is_held)
                self._holding -= 1
                self._changed.notify_all()

    def _is_to_be_cut(self) -> bool:
        with self._changed:  # answers that grow at once must not take one cut for two
            self.cuts -= (is_cut := self.cuts > 0)
            return is_cut

    def close(self) -> None:
        self.release()
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self._listening.close()
        for line in self._lines:
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
        for thread in self._threads[1:]:
            thread.join()
        for line in self._lines:
            line.close()


class FaultyProxy:
    """Between two parties that must survive it: passes bytes to ``target``, and on request delays, cuts or half-closes.

    ``target`` is a port of 127.0.0.1 or the path of a Unix socket.
    """

    def __init__(self, target: int | str | Path) -> None:
        self.delay_s = 0.0
        self._target = target
        self._passing = threading.Event()
        self._passing.set()
        self._lines: set[tuple[socket.socket, socket.socket]] = set()
        self._lock = threading.Lock()
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._listening.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def hold(self) -> None:
        """Nothing passes any more, though every line stays open."""
        self._passing.clear()

    def cut(self) -> None:
        """Every open line ends at once, in the middle of whatever is said."""
        for near, far in self._open():
            for line in (near, far):
                with suppress(OSError):
                    line.shutdown(socket.SHUT_RDWR)

    def half_close(self) -> None:
        """On every open line the asking side is told that there will be no more answers, and can go on asking."""
        for near, _far in self._open():
            with suppress(OSError):
                near.shutdown(socket.SHUT_WR)

    def heal(self) -> None:
        """Pass everything again, on new lines."""
        self.delay_s = 0.0
        self._passing.set()
        self.cut()

    def close(self) -> None:
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self._listening.close()
        self.heal()
        for thread in self._threads[1:]:
            thread.join(5)

    def _open(self) -> list[tuple[socket.socket, socket.socket]]:
        with self._lock:
            return list(self._lines)

    def _connect(self) -> socket.socket:
        if isinstance(self._target, int):
            return socket.create_connection(("127.0.0.1", self._target), timeout=5)
        line = socket.socket(socket.AF_UNIX)
        try:
            line.connect(str(self._target))
        except OSError:
            line.close()
            raise
        return line

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                thread = threading.Thread(target=self._line, args=(near,), daemon=True)
                self._threads = [self._threads[0], *(one for one in self._threads[1:] if one.is_alive()), thread]
                thread.start()

    def _line(self, near: socket.socket) -> None:
        try:
            far = self._connect()
        except OSError:
            near.close()
            return
        far.settimeout(None)
        with self._lock:
            self._lines.add((near, far))
        back = threading.Thread(target=self._pass, args=(far, near), daemon=True)
        back.start()
        self._pass(near, far)
        back.join()
        with self._lock:
            self._lines.discard((near, far))
        near.close()
        far.close()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while piece := source.recv(PIECE_BYTES):
                if self.delay_s:
                    threading.Event().wait(self.delay_s)
                self._passing.wait()
                target.sendall(piece)
        for line in (source, target):
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)


class HttpsFront:
    """TLS in front of the plain ``port``, for clients whose certificate ``certificates``' authority has signed.

    Hospitals put a web server there; Debian's Orthanc 1.10 itself crashes on the first HTTPS request.
    """

    def __init__(self, port: int, certificates: Path) -> None:
        self._port = port
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificates / "ca.pem")
        self._context.verify_mode = ssl.CERT_REQUIRED
        self._context.load_cert_chain(certificates / "listener.pem", certificates / "listener.key")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context)

    async def _serve(self, near_reader: asyncio.StreamReader, near_writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
        await asyncio.gather(self._pass(near_reader, far_writer), self._pass(far_reader, near_writer))

    @staticmethod
    async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while piece := await reader.read(PIECE_BYTES):
                writer.write(piece)
                await writer.drain()
        writer.close()

    def close(self) -> None:
        async def end() -> None:
            self._server.close()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
