from __future__ import annotations

import pytest

from auditing.planted import Planted, trained
from immersion.auditing.result import Audit
from immersion.auditing.run import audit


@pytest.fixture(scope="session")
def planted() -> Planted:
    return trained(faulty=True)


@pytest.fixture(scope="session")
def sound() -> Planted:
    return trained(faulty=False)


@pytest.fixture(scope="session")
def faulty_audit(planted: Planted) -> Audit:
    return audit(planted.model, planted.data)


@pytest.fixture(scope="session")
def sound_audit(sound: Planted) -> Audit:
    return audit(sound.model, sound.data)
