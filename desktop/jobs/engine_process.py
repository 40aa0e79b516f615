"""A QProcess with the engine's environment and folder: what every question to the engine starts from. It asks nothing itself."""

from PySide6.QtCore import QObject, QProcess, QProcessEnvironment

from engine.project import launch


def engine_process(parent: QObject) -> QProcess:
    """Not started yet: `process.start(launch.interpreter(), ["-m", module, ...])`. It ends with its parent."""
    process = QProcess(parent)
    env = QProcessEnvironment()
    for key, value in launch.environment().items():
        env.insert(key, value)
    process.setProcessEnvironment(env)
    process.setWorkingDirectory(str(launch.source_root()))
    return process
