"""A tiny model trained for real, once a session."""

from pathlib import Path

import pytest

from tests.engine.model.formats import made


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder; seconds to make."""
    folder = tmp_path_factory.mktemp("trained") / "model"
    made.train(folder)
    return folder
