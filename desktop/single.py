"""One window a person: the second start hands its folder to the first window, which comes to the front."""

import hashlib
from collections.abc import Callable

from PySide6.QtCore import QLockFile
from PySide6.QtNetwork import QLocalServer, QLocalSocket

from engine.project import layout

WAIT_MS = 2000


class Single:
    """`first`: nobody else of this person has a window open (with this FLEDGE_HOME)."""

    def __init__(self) -> None:
        home = str(layout.user_state().resolve())
        self._name = "fledge-" + hashlib.sha256(home.encode()).hexdigest()[:16]
        self._lock = QLockFile(str(layout.user_state() / "window.lock"))
        self._lock.setStaleLockTime(0)
        self.first = self._lock.tryLock(100)
        self._server: QLocalServer | None = None

    def call(self, folder: str) -> bool:
        """Ask the first window to come to the front (and open `folder`); whether it heard."""
        socket = QLocalSocket()
        socket.connectToServer(self._name)
        if not socket.waitForConnected(WAIT_MS):
            return False
        socket.write(folder.encode() + b"\n")
        heard = socket.waitForBytesWritten(WAIT_MS)
        socket.disconnectFromServer()
        return heard

    def listen(self, called: Callable[[str], None]) -> None:
        """`called(folder)` for every later start; the server is this person's only."""
        QLocalServer.removeServer(self._name)
        server = QLocalServer()
        server.setSocketOptions(QLocalServer.SocketOption.UserAccessOption)
        server.newConnection.connect(lambda: self._heard(called))
        server.listen(self._name)
        self._server = server

    def _heard(self, called: Callable[[str], None]) -> None:
        """A later start is at the door; what it says is read when it comes, so that a silent caller never holds the window up."""
        assert self._server is not None
        while (socket := self._server.nextPendingConnection()) is not None:
            socket.readyRead.connect(lambda socket=socket: self._read(socket, called))
            socket.disconnected.connect(socket.deleteLater)
            self._read(socket, called)

    def _read(self, socket: QLocalSocket, called: Callable[[str], None]) -> None:
        if socket.canReadLine():
            folder = bytes(socket.readLine().data()).decode("utf-8", "replace").strip()
            socket.close()
            called(folder)

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
        self._lock.unlock()
