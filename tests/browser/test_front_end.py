"""The driver itself, where it could hide that nothing was proved."""

from __future__ import annotations

import front_end
import pytest


def test_missing_chromium_is_an_error_that_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(RuntimeError, match="apt-get install chromium"):
        front_end.chromium()
