"""Libraries that take long to import wait until they are used."""

import subprocess
import sys


def test_importing_does_not_wait_for_roma():
    # roma brings torch._dynamo, which takes as long to import as PyTorch itself.
    code = (
        "import sys, auxhand.inference.estimator, auxhand.data.crops; "
        "print(*sorted({'roma', 'torch._dynamo'} & sys.modules.keys()), 'nothing else')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[0] == "nothing else"
