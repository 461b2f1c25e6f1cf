"""Chapter 4 on the source domain: poses by viewpoint, images by pose and content.

    auxhand synth data/domains/source --count 20000 --seed 0 --config configs/synth/source.yaml \\
        --no-cutouts
    auxhand synth data/domains/source-test --count 1000 --seed 103 \\
        --config configs/synth/source.yaml configs/synth/source_test.yaml --no-cutouts
    auxhand synth data/domains/groups --count 20000 --seed 0 --config configs/synth/source.yaml \\
        --vary pose wrist view --each 4 --no-cutouts
    auxhand synth data/domains/groups-test --count 1000 --seed 103 \\
        --config configs/synth/source.yaml configs/synth/source_test.yaml \\
        --vary pose wrist view --each 2 --no-cutouts
    OMP_NUM_THREADS=1 python benchmarks/accuracy/dvae.py --only dVAE "S1 R2P" --seeds 0 1

Poses (Fig. 4.7), from RGB under `known_root_scale`: "dVAE" (Fig. 4.2c), "Zimmermann & Brox" (both
of their losses), "S1 R2P" of chapter 5 and "Spurr x4" at four times the steps, since three of four
of its steps are spent elsewhere; 96,256 RGB images of 64 px each, in bfloat16 (Spurr 385,024). What
predicts a 3D pose alone has the canonical pose and the viewpoint of that pose. The disentangling
stage of poses sees no images; it has twice as many poses, in batches of 128. "dVAE m%" (Fig. 4.9)
trains on the first m% of the samples; "semi" knows the poses of all others besides, without their
images; "weak" their images and viewpoints. These have a third of the images, and semi and weak as
many of the others in each step besides.

Images on 500 recombinations that nothing was trained on, against the render of the asked pose and
content: "synthesis" (Fig. 4.2a) and "untagged" (Fig. 4.2b) beside "mean image", "nearest pose" (the
training image of it) and "tag image" (the given content, unchanged). PSNR and SSIM are of the
decoded cells. `reader_epe_mm` is the distance of the asked pose from what "S1 R2P", trained on
renders alone, reads in the image; the row "render" is what it reads in the true one.
`decoder_epe_mm` is that of p(pose | z). `content_moves` is the mean change of 8-bit values outside
both hands where the pose alone is another, `pose_moves_mm` that of the pose that is read where the
content alone is another.

Rows go to results/dvae.json, PCK curves to results/dvae/.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import roma
import torch
import yaml
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Subset
from torchmetrics.functional.image import (
    peak_signal_noise_ratio,
    structural_similarity_index_measure,
)

from auxhand.data.store import PreparedDataset
from auxhand.evaluation.protocol import EvaluationCrops
from auxhand.geometry.canonical import canonical_pose, rotate
from auxhand.geometry.pose25d import reference_length, relative
from auxhand.inference.bundle import Bundle, load_bundle
from auxhand.inference.synthesis import Shown, codes_of, pictures, recombined
from auxhand.losses.supervision import true_canonical, true_viewpoint
from auxhand.models.disentangled import DisentangledNet
from auxhand.sample import HandBatch, HandPose

sys.path.append(str(Path(__file__).parents[1]))
from frame import HALF, SHARES, Work, add, budget, due, file_name, scores, train, training_arguments

CONFIGS = Path("configs/laptop")
POSES, IMAGES = CONFIGS / "dvae.yaml", CONFIGS / "dvae_synthesis.yaml"
ALIGNMENT, LIFTING = CONFIGS / "alignment.yaml", CONFIGS / "representations" / "lifting.yaml"
EPOCHS, SEEN, THIRD = 16, 96_256, 32_256
POSES_AN_IMAGE, POSES_A_STEP = 2, 128
"""Poses of a disentangling stage, which sees no image, for each image of the other stage; and those
of a step."""

SAMPLES = 19_000  # of the training set, without those held out
READER = "S1 R2P"
BASELINES = ("mean image", "nearest pose", "tag image", "render")
_SET = "model.init_args."

COMPARED: dict[str, tuple[Path, int, list[str]]] = {
    "Zimmermann & Brox": (
        LIFTING,
        SEEN,
        [
            *(f"{_SET}weights.{term}=0" for term in ("xyz_squared", "mask_cross_entropy")),
            *(f"{_SET}weights.{term}=1" for term in ("canonical_squared", "viewpoint_squared")),
            f"{_SET}weights.presence=0",
            *(f"{_SET}learning_rate=0.001", "trainer.gradient_clip_val=5.0"),  # as the others
            f"{_SET}network.init_args.body.init_args.backbone=resnet18",
            f"{_SET}network.init_args.head.init_args.detached=true",
        ],
    ),
    READER: (ALIGNMENT, SEEN, [f"{_SET}strategy=S1", f"{_SET}pairs=R2P"]),
    "Spurr x4": (ALIGNMENT, 4 * SEEN, [f"{_SET}strategy=Spurr", f"{_SET}pairs=RP2RP"]),
}
"""Other methods: configuration, images and settings."""

SYNTHESIS = {"synthesis": 4 * SAMPLES, "untagged": 4 * SAMPLES}
"""Variants that synthesise images, and the images of either stage."""


class Streams(NamedTuple):
    """What the two stages of a row of Fig. 4.9 train on, as YAML; None: all, labelled."""

    disentangle: str | None = None
    embed: str | None = None


def streams(kind: str, percent: int, root: Path | str) -> Streams:
    """Of the first `percent` of the samples, and of the others what `kind` says."""
    count = SAMPLES * percent // 100
    labelled = f"labelled: {{roots: {root}, count: {count}}}"
    others = f"roots: {root}, start: {count}"
    alone = f"{{{labelled}}}"
    if kind == "semi":
        return Streams(f"{{{labelled}, unpaired: {{{others}}}}}", alone)
    if kind == "weak":
        told = "use: weak, told: [K, side, mask, joints_xyz]"
        return Streams(alone, f"{{{labelled}, weak: {{{others}, {told}}}}}")
    return Streams(alone, alone)


SCARCE = {
    " ".join(["dVAE", *([kind] if kind else []), f"{percent}%"]): (kind, percent)
    for percent in SHARES[:-1]
    for kind in ("", "semi", "weak")
} | {"dVAE 100%": ("", 100)}
"""Rows of Fig. 4.9."""

ROWS = ("dVAE", *COMPARED, *SCARCE, *SYNTHESIS, *BASELINES)


# ---- training ----


def as_dvae(data: Path) -> list[str]:
    """Settings that make another method's data those of `POSES`."""
    own = yaml.safe_load(POSES.read_text())["data"]["init_args"]
    return [
        f"data.init_args.train={data / 'source'}",
        *(f"data.init_args.{name}={json.dumps(own[name])}" for name in ("crop", "phases")),
        *(f"data.init_args.{name}={own[name]}" for name in ("batch_size", "val_count")),
    ]


def stages(
    config: Path, work: Work, images: int, told: Streams, settings: list[str], root: Path
) -> Path:
    """The bundle of both stages of a disentangled VAE."""
    owner = SHARED.get(work.name, work.name)
    first = work.options.runs / f"{file_name(owner)}_{work.seed}_{_STAGES[0]}"
    second = work.folder.with_name(f"{work.folder.name}_{_STAGES[1]}")
    own = (work.name == owner, True)
    for folder, stage, given, again in zip((first, second), _STAGES, told, own, strict=True):
        chosen = [f"{_SET}stage={stage}", f"{_SET}seed={work.seed}", *settings]
        sees_images = stage == "embed" or config == IMAGES
        chosen += [HALF] if sees_images else [f"data.init_args.batch_size={POSES_A_STEP}"]
        chosen += [f"start_from={first}"] if stage == "embed" else []
        # Other streams come beside the labelled images, not in their place.
        times = 2 if given and given.count("roots") == 2 else 1
        seen = times * images * (1 if sees_images else POSES_AN_IMAGE)
        chosen += [f"data.init_args.train={given or root}", *budget(seen, EPOCHS)]
        bundle = train(config, folder, work.seed, chosen, again and work.options.force)
    return bundle


_STAGES = ("disentangle", "embed")

SHARED = {"dVAE 100%": "dVAE", **{f"dVAE weak {m}%": f"dVAE {m}%" for m in SHARES[:-1]}}
"""Rows whose first stage is that of another row: it learns from the same."""


def trained(name: str, work: Work) -> Path:
    """The bundle of a row."""
    data = work.options.data
    if name in COMPARED:
        config, images, settings = COMPARED[name]
        own = [*as_dvae(data), *budget(images, EPOCHS), HALF, *settings]
        own += [f"{_SET}seed={work.seed}"] if config == ALIGNMENT else []
        folder = work.folder.with_name(f"{file_name(name)}_{work.seed}")
        return train(config, folder, work.seed, own, work.options.force)
    if name in SYNTHESIS:
        variant = [f"{_SET}variant={name}"]
        return stages(IMAGES, work, SYNTHESIS[name], Streams(), variant, data / "groups")
    root = data / "source"
    if name == "dVAE":
        return stages(POSES, work, SEEN, Streams(), [], root)
    return stages(POSES, work, THIRD, streams(*SCARCE[name], root), [], root)


# ---- poses ----


class Factors:
    """Errors of canonical pose, viewpoint and their product, gathered while poses are predicted."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.found: dict[str, list[Tensor]] = {}

    def __call__(self, batch: HandBatch) -> HandPose:
        pose = self.bundle.predict(batch)
        assert pose.xyz is not None
        own, R_own = canonical_pose(pose.xyz)
        canonical = own if pose.canonical is None else pose.canonical
        R = R_own if pose.viewpoint is None else pose.viewpoint
        length = 1000 * reference_length(batch.joints_xyz)[:, None]
        true, joints = true_canonical(batch)
        R_true, known = true_viewpoint(batch)
        apart = {
            "canonical_epe_mm": (length * (canonical - true).norm(dim=-1))[joints],
            "viewpoint_deg": _degrees(R, R_true)[known],
            "consistency_mm": (length * (rotate(R, canonical) - pose.xyz).norm(dim=-1)).flatten(),
            "consistency_deg": _degrees(R, R_own),
        }
        for name, values in apart.items():
            self.found.setdefault(name, []).append(values)
        return pose

    def means(self) -> dict[str, float]:
        """Over all that was predicted."""
        return {name: float(torch.cat(values).mean()) for name, values in self.found.items()}


def _degrees(a: Tensor, b: Tensor) -> Tensor:
    return torch.rad2deg(roma.rotmat_geodesic_distance(a, b))


def pose_metrics(bundle: Bundle, test: PreparedDataset, curve: Path | None) -> dict[str, float]:
    """Of the 3D pose, the canonical pose and the viewpoint."""
    factors = Factors(bundle)
    crops = EvaluationCrops(test, bundle.input_size, bundle.crop)
    return scores(factors, crops.batches(), curve) | factors.means()


# ---- images ----


class Asked(NamedTuple):
    """Recombinations: the content of one hand, the pose of another of the same content, of which
    the true picture is known; and a third hand, of other content."""

    content: HandBatch
    truth: HandBatch
    other: HandBatch

    @property
    def pose(self) -> Tensor:
        """(B, 21, 3) the asked pose."""
        return relative(self.truth.joints_xyz)


def asked(test: PreparedDataset, bundle: Bundle) -> Iterator[Asked]:
    """Recombinations of a dataset whose samples 2 i and 2 i + 1 share a content."""
    count = len(test)
    of = (range(0, count, 2), range(1, count, 2), [*range(2, count, 2), 0])
    crops = [
        EvaluationCrops(Subset(test, list(each)), bundle.input_size, bundle.crop).batches()
        for each in of
    ]
    for batches in zip(*crops, strict=True):
        yield Asked(*batches)


class Synthesised(NamedTuple):
    """Images (B, 3, S, S) of the asked pose before the asked content, of the content's own pose
    before it, and of the asked pose before other content; and the pose decoded for the first."""

    asked: Tensor
    own_pose: Tensor
    other_content: Tensor
    pose: Tensor | None = None


@torch.no_grad()
def by_network(net: DisentangledNet, hands: Asked) -> Synthesised:
    """Of a disentangled VAE, pose and content specified by their encoders."""
    pose = codes_of(net, Shown(hands.truth.image, hands.pose))
    rest, other = (
        codes_of(net, Shown(each.image, relative(each.joints_xyz)))
        for each in (hands.content, hands.other)
    )
    z, elsewhere = (recombined(net, {"pose": pose}, each) for each in (rest, other))
    made = [pictures(net, codes) for codes in (z, rest, elsewhere)]
    return Synthesised(*made, pose=net.decode(z).xyz)


def baseline(
    name: str, training: PreparedDataset, bundle: Bundle, cells: int, hands: Asked
) -> Synthesised:
    """What knows less: see the module."""
    if name in ("render", "tag image"):
        seen = hands.truth if name == "render" else hands.content
        others = hands.other.image if name == "tag image" else seen.image
        return Synthesised(seen.image, hands.content.image, others)
    poses, images = memory(training, bundle, cells)
    if name == "mean image":
        mean = images.mean(dim=0, keepdim=True).expand(len(hands.truth), -1, -1, -1)
        return Synthesised(mean, mean, mean)
    nearest, own = (
        images[torch.cdist(pose.flatten(1), poses.flatten(1)).argmin(dim=1)]
        for pose in (hands.pose, relative(hands.content.joints_xyz))
    )
    return Synthesised(nearest, own, nearest)


_MEMORY: dict[tuple[Path, int], tuple[Tensor, Tensor]] = {}


def memory(training: PreparedDataset, bundle: Bundle, cells: int) -> tuple[Tensor, Tensor]:
    """(N, 21, 3) poses and (N, 3, cells, cells) images of the training set, looked through once."""
    key = training.root, cells
    if key not in _MEMORY:
        count = min(SAMPLES, len(training))
        crops = EvaluationCrops(
            Subset(training, list(range(count))), bundle.input_size, bundle.crop
        )
        seen = [
            (relative(b.joints_xyz), functional.adaptive_avg_pool2d(b.image, cells))
            for b in crops.batches()
        ]
        poses, images = zip(*seen, strict=True)
        _MEMORY[key] = torch.cat(poses), torch.cat(images)
    return _MEMORY[key]


@torch.no_grad()
def image_metrics(
    make: Callable[[Asked], Synthesised],
    test: PreparedDataset,
    bundle: Bundle,
    reader: Bundle,
    cells: int,
) -> dict[str, float]:
    """PSNR, SSIM, the pose that is read back, and what moves that should not.

    Args:
        make: `Asked` -> `Synthesised`.
        test: see `asked`.
        bundle: whose crops are looked at.
        reader: reads poses in images; its input is of the same crops.
        cells: side of decoded images.
    """
    found: dict[str, list[Tensor]] = {}
    for hands in asked(test, bundle):
        made: Synthesised = make(hands)
        fit = partial(functional.adaptive_avg_pool2d, output_size=cells)
        image, truth = fit(made.asked), fit(hands.truth.image)
        length = 1000 * reference_length(hands.truth.joints_xyz)[:, None]
        read, moved = (_read(reader, fit(each)) for each in (made.asked, made.other_content))
        outside = fit(torch.maximum(hands.truth.mask, hands.content.mask)[:, None]) < 1e-3
        change = 255 * (image - fit(made.own_pose)).abs().mean(dim=1, keepdim=True)
        values = {
            # Of each picture by itself; beyond 100 dB two are the same.
            "psnr_db": peak_signal_noise_ratio(
                image, truth, 1.0, reduction="none", dim=(1, 2, 3)
            ).clamp(max=100),
            "ssim": structural_similarity_index_measure(
                image, truth, reduction="none", data_range=1.0
            ),
            "reader_epe_mm": length * (read - hands.pose).norm(dim=-1),
            "pose_moves_mm": length * (read - moved).norm(dim=-1),
            "content_moves": change[outside],
        }
        if made.pose is not None:
            values["decoder_epe_mm"] = length * (made.pose - hands.pose).norm(dim=-1)
        for name, value in values.items():
            found.setdefault(name, []).append(value.flatten())
    return {name: float(torch.cat(values).mean()) for name, values in found.items()}


def _read(reader: Bundle, image: Tensor) -> Tensor:
    """(B, 21, 3) the pose that the reader sees in images of cells."""
    large = functional.interpolate(image, reader.input_size, mode="bilinear")
    pose: Tensor = reader.network(large).xyz
    return pose


# ---- the table ----


def images_of(work: Work) -> dict[str, float]:
    """Figures of a variant that synthesises images, or of a baseline."""
    data = work.options.data
    test, training = PreparedDataset(data / "groups-test"), PreparedDataset(data / "groups")
    reader = load_bundle(trained(READER, work))
    cells = int(yaml.safe_load(IMAGES.read_text())["model"]["init_args"]["networks"]["cells"])
    if work.name in BASELINES:
        make = partial(baseline, work.name, training, reader, cells)
        return image_metrics(make, test, reader, reader, cells)
    bundle = load_bundle(trained(work.name, work))
    return image_metrics(partial(by_network, bundle.network), test, bundle, reader, cells)


def main() -> None:
    parser = training_arguments(__doc__, "dvae", ROWS)
    parser.add_argument("--data", type=Path, default=Path("data/domains"), help="their folder")
    options = parser.parse_args()
    curves = options.out.with_suffix("")
    curves.mkdir(parents=True, exist_ok=True)
    for work in due(parser, options, {name: [name] for name in ROWS}):
        if work.name in (*SYNTHESIS, *BASELINES):
            add(work, work.name, images_of(work))
            continue
        bundle = load_bundle(trained(work.name, work))
        curve = curves / f"pck_{file_name(work.name)}.csv" if work.seed == 0 else None
        test = PreparedDataset(options.data / "source-test")
        add(work, work.name, pose_metrics(bundle, test, curve))


if __name__ == "__main__":
    main()
