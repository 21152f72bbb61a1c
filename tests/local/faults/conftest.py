"""One deployed app for all faults: each test leaves it as it was, with some version that serves."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.deployed import deployed
from tests.local.faults.app import App


@pytest.fixture(scope="session")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    with deployed(tmp_path_factory.mktemp("faults"), App) as app:
        app.deploy(app.new_version())
        yield app


@pytest.fixture
def app(everything: App) -> App:
    """A version serves, is loaded, and the function knows it."""
    if everything.version() is None:
        everything.deploy(everything.new_version())
    # It remembers for seconds what served before, whose artifact the test before may have had deleted.
    everything.wait(lambda: everything.ask().version == everything.version())
    return everything
