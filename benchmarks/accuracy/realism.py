"""What the factory's realism is worth on real photos: one thing left out at a time.

    python tools/collect_backgrounds.py data/backgrounds
    OMP_NUM_THREADS=1 python benchmarks/accuracy/realism.py --backgrounds data/backgrounds \\
        [--photos ../shared/realdata] [--only NAME]

Each row renders 10,000 raised hands (the same poses, shapes and views) without cut-outs, so that
training takes the pictures as the factory made them, trains configs/laptop/supervised.yaml on
128,000 crops of 64 px of them on one core, with the least augmentation, and is evaluated on
sign-digits (`real_photos.py`). Augmentation brings light, blur, noise and obstacles of its own:
rows show what the factory adds to it. Rows go to results/realism.json; a row that the same command
has made is kept (`--force` makes it anew).
"""

from __future__ import annotations

import argparse
import shlex
import time
from dataclasses import replace
from pathlib import Path

from real_photos import sign_digits
from supervised import train

from auxhand.evaluation.report import is_done, read_rows, record, table
from auxhand.inference.estimator import HandPoseEstimator
from auxhand.synth.config import FactorConfig, OccluderConfig, SensorConfig, SkinConfig, ViewConfig
from auxhand.synth.factory import Job, generate

CONFIG = Path("configs/laptop/supervised.yaml")
COUNT, SIZE, DATA_SEED = 10_000, 128, 200
FULL = FactorConfig(view=ViewConfig(upright=1.0), occluders=OccluderConfig(held=0.1, front=0.15))
NONE = (0.0, 0.0)
SMOOTH = SkinConfig(
    creases=NONE, knuckles=NONE, flush=NONE, veins=NONE, blotches=NONE, relief=NONE, polish=0.0
)
PERFECT = SensorConfig(blur_share=0.0, exposure=0.0, balance=0.0, noise_share=0.0, jpeg_share=0.0)
VARIANTS: dict[str, tuple[FactorConfig, bool]] = {
    "all of it": (FULL, True),
    "without skin detail": (replace(FULL, skin=SMOOTH), True),
    "without photo backgrounds": (FULL, False),
    "without occluders": (replace(FULL, occluders=OccluderConfig(held=0.0, front=0.0)), True),
    "with a perfect sensor": (replace(FULL, sensor=PERFECT), True),
}
"""Name -> what hands are drawn from, and whether they come before photos."""
BUDGET = [
    "trainer.max_epochs=10",
    "trainer.check_val_every_n_epoch=10",
    "data.init_args.images_per_epoch=12800",
    "data.init_args.workers=0",
    "data.init_args.phases=[{epoch: 0, size: 64, difficulty: 0.0}]",
]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backgrounds", type=Path, required=True, help="folder of photos")
    parser.add_argument("--photos", type=Path, default=Path("../shared/realdata"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", choices=VARIANTS)
    parser.add_argument("--out", type=Path, default=Path("results/realism.json"))
    parser.add_argument("--force", action="store_true", help="make rows anew that are there")
    options = parser.parse_args()
    for number, (name, (config, photos)) in enumerate(VARIANTS.items()):
        if options.only and name not in options.only:
            continue
        command = (
            "OMP_NUM_THREADS=1 python benchmarks/accuracy/realism.py "
            f"--backgrounds {options.backgrounds} --photos {options.photos} --seed {options.seed} "
            f"--only {shlex.quote(name)}"
        )
        if is_done(options.out, name, command) and not options.force:
            print(f"{name}: there already")
            continue
        begun = time.monotonic()
        backgrounds = options.backgrounds if photos else None
        job = Job(COUNT, DATA_SEED, SIZE, config, backgrounds, cutouts=False)
        data = generate(Path("runs/realism") / f"hands_{number}", job)
        folder = Path("runs/realism") / f"{number}_{options.seed}"
        settings = [*BUDGET, f"data.init_args.train={data}"]
        estimator = HandPoseEstimator.load(train(CONFIG, folder, options.seed, settings))
        metrics = sign_digits(estimator, options.photos / "sign-digits")
        record(options.out, name, [metrics], command, begun, [options.seed])
    print(table(read_rows(options.out)))


if __name__ == "__main__":
    main()
