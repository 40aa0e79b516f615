"""One real server process for the tests of the protocols."""

from collections.abc import Iterator

import httpx
import pytest

from tests.serving import ServerProcess, make_project


@pytest.fixture(scope="package")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    made = ServerProcess(make_project(tmp_path_factory.mktemp("protocols") / "project").dir)
    yield made
    assert made.stop() == 0, made.said()


@pytest.fixture
def client(served: ServerProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.address.url, headers=served.address.headers, timeout=60) as made:
        yield made
