"""Libraries that are imported without torch._dynamo: `roma` here, torchvision and timm in
`auxhand.models`, torchmetrics in `auxhand.metrics`.

torch._dynamo takes as long to import as PyTorch itself, and serves what is compiled; nothing is
here. These libraries ask two functions of it, for what may be compiled elsewhere.
"""

import contextlib
import sys
from collections.abc import Iterator
from types import ModuleType


@contextlib.contextmanager
def without_dynamo() -> Iterator[None]:
    """Inside, a stand-in takes the place of torch._dynamo, unless that is imported already.

    Whoever needs torch._dynamo afterwards imports the real one. A library that wants more of it
    than there is raises ImportError or AttributeError, upon which the block ends; imported again,
    it gets the real one.
    """
    name = "torch._dynamo"
    if name in sys.modules:
        yield
        return
    package, utils = ModuleType(name), ModuleType(f"{name}.utils")
    package.disable = lambda function, *_, **__: function  # type: ignore[attr-defined]
    utils.is_compile_supported = lambda device: False  # type: ignore[attr-defined]
    sys.modules |= {name: package, utils.__name__: utils}
    try:
        with contextlib.suppress(ImportError, AttributeError):
            yield
    finally:
        del sys.modules[name], sys.modules[utils.__name__]


with without_dynamo():
    import roma
import roma  # noqa: E402

__all__ = ["roma", "without_dynamo"]
