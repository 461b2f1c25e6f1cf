"""What the factory's realism is worth on real photos: one thing left out at a time.

    python tools/collect_backgrounds.py data/backgrounds
    OMP_NUM_THREADS=1 python benchmarks/accuracy/realism.py --backgrounds data/backgrounds \\
        [--photos ../shared/realdata] [--only NAME]

Each row renders 10,000 raised hands (the same poses, shapes and views) without cut-outs, so that
training takes the pictures as the factory made them, trains configs/laptop/supervised.yaml on
128,000 crops of 64 px of them on one core, with the least augmentation, and is evaluated on
sign-digits (`real_photos.py`). Augmentation brings light, blur, noise and obstacles of its own:
rows show what the factory adds to it. Rows go to results/realism.json; seeds that are there are
kept (`--force` makes them anew).
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from real_photos import sign_digits

from auxhand.inference.estimator import HandPoseEstimator
from auxhand.synth.config import FactorConfig, OccluderConfig, SensorConfig, SkinConfig, ViewConfig
from auxhand.synth.factory import Job, generate

sys.path.append(str(Path(__file__).parents[1]))
from frame import add, budget, due, file_name, train, training_arguments

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
PHASES = "data.init_args.phases=[{epoch: 0, size: 64, difficulty: 0.0}]"


def main() -> None:
    parser = training_arguments(__doc__, "realism", VARIANTS)
    parser.add_argument("--backgrounds", type=Path, required=True, help="folder of photos")
    parser.add_argument("--photos", type=Path, default=Path("../shared/realdata"))
    options = parser.parse_args()
    for work in due(parser, options, {name: [name] for name in VARIANTS}):
        config, photos = VARIANTS[work.name]
        backgrounds = options.backgrounds if photos else None
        job = Job(COUNT, DATA_SEED, SIZE, config, backgrounds, cutouts=False)
        data = generate(options.runs / f"hands_{file_name(work.name)}", job)
        settings = [*budget(128_000, 10), PHASES, f"data.init_args.train={data}"]
        bundle = train(CONFIG, work.folder, work.seed, settings, options.force)
        estimator = HandPoseEstimator.load(bundle)
        add(work, work.name, sign_digits(estimator, options.photos / "sign-digits"))


if __name__ == "__main__":
    main()
