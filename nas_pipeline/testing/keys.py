"""Checks of `key()`, which every socket has."""

from __future__ import annotations

import json
import pickle
from typing import Any

from nas_pipeline.core.files import canonical_json


def check_key(plug_in: Any) -> None:
    """Checks that the key is plain data with a name and a version, and equal for a pickled copy.

    Raises:
        AssertionError: It is not.
    """
    key = plug_in.key()
    assert isinstance(key["name"], str), "key() must contain the plug-in's name"
    assert isinstance(key["version"], int), "key() must contain the plug-in's version, a whole number"
    assert key["version"] == plug_in.version
    text = canonical_json(key)
    assert canonical_json(json.loads(text)) == text
    assert canonical_json(pickle.loads(pickle.dumps(plug_in)).key()) == text
