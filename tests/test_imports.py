"""What starting costs, as the modules that it takes."""

import subprocess
import sys

import pytest


@pytest.mark.slow
def test_what_compiles_is_there_for_those_who_ask_for_it_alone():
    code = """if True:
        import sys, torch
        import auxhand.imports, auxhand.inference.estimator, auxhand.data.crops
        import auxhand.models.backbone, auxhand.models.heads
        import auxhand.evaluation.datasets, auxhand.adaptation.adapt
        print({"torch._dynamo", "sympy"} & sys.modules.keys())
        double = torch.compile(lambda x: 2 * x, backend="eager")
        assert double(torch.ones(2)).tolist() == [2, 2]
        assert "torch._dynamo" in sys.modules
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
