"""What every test gets: the settings as they were before it."""

from __future__ import annotations

import pytest

from nbtool import configuration


@pytest.fixture(autouse=True)
def _settings_as_before():
    before = configuration._process
    yield
    configuration._process = before
