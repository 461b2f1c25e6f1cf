"""Write bundles' networks for ONNX Runtime too, beside their weights.

    python tools/write_onnx.py src/auxhand/assets/default

`auxhand predict` takes that file where ONNX Runtime is installed: it is several times faster.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from auxhand.inference.bundle import ONNX, load_bundle
from auxhand.inference.runtime import write_onnx


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundles", nargs="+", type=Path)
    for folder in parser.parse_args().bundles:
        bundle = load_bundle(folder)
        write_onnx(bundle.network, bundle.input_size, folder / ONNX)
        print(folder / ONNX)


if __name__ == "__main__":
    main()
