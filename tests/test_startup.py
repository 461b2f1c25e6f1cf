"""Libraries that take long to import wait until they are used."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["auxhand.inference.estimator", "auxhand.data.crops"])
def test_importing_does_not_wait_for_roma(module):
    # roma brings torch._dynamo, which takes as long to import as PyTorch itself.
    code = (
        f"import sys, {module}; "
        "print(*sorted({'roma', 'torch._dynamo'} & sys.modules.keys()), 'nothing else')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[0] == "nothing else"
