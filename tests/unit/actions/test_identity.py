"""The name of the user in histories and journals."""

from __future__ import annotations

import getpass
import os
import subprocess
import sys

import pytest

from nas_pipeline.actions.identity import current_user


def test_the_name_is_that_of_the_system() -> None:
    assert current_user() == getpass.getuser()


def test_a_user_without_a_name_is_unknown() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may change the user id")
    code = (
        "import os, pwd\nfrom nas_pipeline.actions.identity import current_user\n"
        "os.setuid(54321)\nprint(current_user())"
    )
    environment = {name: value for name, value in os.environ.items()
                   if name not in {"LOGNAME", "USER", "LNAME", "USERNAME"}}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "unknown\n"
