"""One pool of real sandbox processes for all tests here. Where the image is not built, what needs it is skipped and says so."""

import os
from collections.abc import Iterator

import pytest

from engine.contract.errors import Missing
from engine.verifiers.image import checked_image
from engine.verifiers.pool import Pool

SECRET = "fledge-canary-5d1c"


@pytest.fixture(scope="session")
def pool() -> Iterator[Pool]:
    try:
        checked_image()
    except Missing as wrong:
        pytest.skip(str(wrong))
    os.environ["FLEDGE_TEST_SECRET"] = SECRET
    with Pool(workers=2) as made:
        made.start()
        yield made
    assert made.deaths == 0, "a sandbox process died over some test"
