"""Tables 7.1 and 7.2: the dual-modality network from the source domain to the target, and others.

    OMP_NUM_THREADS=1 python benchmarks/accuracy/dvae.py --only "S1 R2P"
    python tools/encoder_weights.py runs/dvae/S1_R2P_0 data/resnet18.safetensors
    OMP_NUM_THREADS=1 python benchmarks/accuracy/dual_modality.py [--only none "w/ SG"]

Data as in benchmarks/accuracy/semihand.py. ImageNet weights of a ResNet are out of reach here, so
encoders begin as the RGB encoder of S1 R2P (chapter 5 on the same source), as the first two
commands make it. "base" is the RGB branch alone, with that encoder, on 384,000 labelled images of
the source, once for all seeds. "base, three branches" goes on from it with the depth branch and the
fusion branch on 122,880 RGB images (61,440 visits of two pictures each), contrasting nothing: in a
pre-training alone the depth branch, which has no ImageNet weights, stays far behind the RGB branch,
and the fusion with it. All other rows begin with these. Beside L_s heatmaps learn from a
cross-entropy, which the chapter has not. Table 7.2 (b) is the six pre-trainings, of
configs/laptop/dual_modality_pretrain.yaml on 61,440 RGB images more, at the chapter's rate;
`baseline` and `+Lc` are two of them. `+Ll` and `+Lf` fine-tune the full one
(configs/laptop/dual_modality.yaml; "fusion detached": L_f moves the RGB branch alone;
"+Lc, longer": as many steps of L_s alone), and SemiHand, RegDA, CC-SSL and AnimalDA start from the
baseline's RGB branch: all on 18,000 labelled and 18,000 unlabelled images, six
epochs of the target as in Ch. 7.4.2, in as many steps, and all with the same augmentations;
SemiHand's rate is its own. The full method and SemiHand are given the lengths of the target
person's bones, as in Ch. 7.4.2. One core, bfloat16; tested on the target's own test set under
`known_root_scale`. Rows go to results/dual_modality.json; seeds that are there are kept (`--force`
makes them anew).
Pictures: dual_modality_figures.py.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from auxhand.data.store import PreparedDataset

sys.path.append(str(Path(__file__).parents[1]))
from frame import (
    EXACT,
    HALF,
    Work,
    add,
    budget,
    due,
    evaluate_bundle,
    file_name,
    template_of,
    train,
    training_arguments,
)

CONFIGS, TARGET = Path("configs/laptop"), "person"
VARIANTS = ("none", "RGB only", "RGB & DM", "RGB & DM*", "w/out SG", "w/ SG")
OBJECTIVES = {
    "+Ll": ["model.init_args.objective.distillation=0"],
    "+Lf": [],
    "+Lf, fusion detached": ["model.init_args.objective.detached=fusion"],
    "+Lc, longer": [
        f"model.init_args.objective.{part}=0" for part in ("distillation", "pseudo_labels")
    ],
}
COMPARATORS = {"RegDA": "RegDA", "CC-SSL": "CCSSL", "AnimalDA": "AnimalDA"}
ALSO = {"none": ["baseline"], "w/ SG": ["+Lc"]}
"""Names that Table 7.2 (a) has for rows of (b)."""

BASE, BRANCHES = "base", "base, three branches"
"""The rows that all others begin with, the second with the first."""

NETWORK = "model.init_args.network.init_args"
BODY = f"{NETWORK}.body"
PLAIN = [
    f"{BODY}.class_path=auxhand.models.pose_resnet.PoseResNet",
    f"{BODY}.init_args.backbone=resnet18",
    f"{BODY}.init_args.width=64",
    f"{NETWORK}.head.class_path=auxhand.models.heads.Latent25D",
]
"""SemiHand's network as the RGB branch is."""

BATCH = [f"data.init_args.train.{stream}.batch_size=16" for stream in ("source", "target")]
"""As many steps of SemiHand as of the others."""

ENCODER = Path("data/resnet18.safetensors")
FIRST = budget(384_000, 24, every=4)
SECOND = budget(61_440, 12, every=4)
PRE_TRAINING, FINE_TUNING = budget(30_720, 6), budget(36_000, 6)
FAST, CHAPTERS = (f"model.init_args.learning_rate={rate}" for rate in (1e-3, 2.5e-4))


def base(work: Work) -> Path:
    """Bundle of the RGB branch alone, trained on the source; made where it is not there."""
    folder = work.options.runs / f"{BASE}_0"
    settings = [*FIRST, HALF, *PLAIN, f"{BODY}.init_args.pretrained={ENCODER}", "start_from=null"]
    settings += [FAST, f"data.init_args.train={work.options.data / 'source'}"]
    again = work.options.force and work.name == BASE
    return train(CONFIGS / "semihand_pretrain.yaml", folder, 0, settings, again)


def branches(work: Work) -> Path:
    """Folder of the three branches, from `base`; made where it is not there."""
    settings = [*SECOND, f"start_from={base(work)}", FAST]
    return three_branches(work, BRANCHES, "none", 0, settings)


def pretrained(work: Work, variant: str) -> Path:
    """Folder of a pre-training, which is made where it is not there."""
    settings = [*PRE_TRAINING, f"start_from={branches(work)}", CHAPTERS]
    return three_branches(work, variant, variant, work.seed, settings)


def three_branches(work: Work, row: str, variant: str, seed: int, settings: Sequence[str]) -> Path:
    """Folder of a training of all branches on labels of the source."""
    folder = work.options.runs / f"{file_name(row.replace('*', ' star'))}_{seed}"
    settings = [*settings, HALF, f"model.init_args.seed={seed}"]
    settings += [f"model.init_args.objective.variant={variant}"]
    settings += [f"data.init_args.train.source.roots={work.options.data / 'source'}"]
    again = work.options.force and work.name == row
    train(CONFIGS / "dual_modality_pretrain.yaml", folder, seed, settings, again)
    return folder


def model(work: Work) -> Path:
    """Bundle of a row."""
    if work.name == BASE:
        return base(work)
    if work.name == BRANCHES:
        return branches(work) / "bundle"
    if work.name in VARIANTS:
        return pretrained(work, work.name) / "bundle"
    data = work.options.data
    settings = [
        *FINE_TUNING,
        HALF,
        f"model.init_args.seed={work.seed}",
        f"data.init_args.train.source.roots={data / 'source'}",
        f"data.init_args.train.target.roots={data / TARGET}",
        f"data.init_args.val={data / f'{TARGET}-val'}",
    ]
    if work.name in OBJECTIVES:
        config = "dual_modality.yaml"
        settings += [f"start_from={pretrained(work, 'w/ SG')}", *OBJECTIVES[work.name]]
        settings += [template_of(data / TARGET)]
    else:
        settings += [f"start_from={pretrained(work, 'none') / 'bundle'}"]
        if work.name == "SemiHand":  # on the same backbone
            config = "semihand.yaml"
            settings += [*PLAIN, f"{BODY}.init_args.pretrained=false"]
            settings += [template_of(data / TARGET), EXACT, *BATCH]
        else:
            config = "comparators.yaml"
            kind = f"auxhand.methods.comparators.{COMPARATORS[work.name]}"
            settings += [f"model.class_path={kind}"]
    return train(CONFIGS / config, work.folder, work.seed, settings, work.options.force)


def main() -> None:
    names = [BASE, BRANCHES, *VARIANTS, *OBJECTIVES, "SemiHand", *COMPARATORS]
    parser = training_arguments(__doc__, "dual_modality", names)
    parser.add_argument("--data", type=Path, default=Path("data/domains"), help="their folder")
    options = parser.parse_args()
    rows = {name: [name, *ALSO.get(name, [])] for name in names}
    for work in due(parser, options, rows):
        if work.name in (BASE, BRANCHES) and work.seed:
            continue  # once for all seeds
        test = PreparedDataset(options.data / f"{TARGET}-test")
        metrics = evaluate_bundle(model(work), test)
        for row in rows[work.name]:
            add(work, row, metrics)


if __name__ == "__main__":
    main()
