"""What the tests of the data share: results that do not depend on the number of threads need one thread to be quick."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _one_thread(one_thread):
    """For every test here."""
