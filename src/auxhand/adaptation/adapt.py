"""`adapt`: from somebody's pictures to a model that fits them, or to the one that was there."""

from __future__ import annotations

import contextlib
import json
import math
import shutil
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from auxhand.adaptation import report
from auxhand.adaptation.crops import LEAST, find, images_of, split
from auxhand.adaptation.judge import Verdict, decide, measure, template_of
from auxhand.adaptation.kept import ship
from auxhand.adaptation.pictures import Pictures, digest, files_of
from auxhand.adaptation.plan import MethodName, Plan, plan, suitable
from auxhand.adaptation.start import Start, of_bundle, of_run
from auxhand.data.store import PreparedDataset, read_description
from auxhand.evaluation.report import commit
from auxhand.files import locked, writing
from auxhand.inference.bundle import (
    DEFAULT,
    DESCRIPTION,
    WEIGHTS,
    Bundle,
    load_bundle,
    save_bundle,
)
from auxhand.inference.estimator import HandPoseEstimator

if TYPE_CHECKING:
    from auxhand.adaptation.fit import KeepBest

WORK, SETTINGS, PLAN = "work", "settings.json", "plan.json"

LABELLED = "labelled"
"""In the work folder, the crops whose joints are known, see `crops.agreed`."""

START, BRANCHES = "start", "start.ckpt"
"""Copies of what is adapted, in the work folder: the bundle, and of a run the weights of all
branches."""

RENDERING = 0.15
"""Share of the time that rendering hands may take."""

TRAINING = 0.33
"""Share of the time that training gets, however long finding the hands took."""

LOOKED_AT = 100
"""Samples of a dataset that are asked for their labels."""


@dataclass(frozen=True)
class Settings:
    """What an adaptation is asked for; the same settings go on with it.

    Attributes:
        images: photos, videos, folders and patterns.
        model: a bundle's folder, or "default"; for SemiHand.
        synthetic: folder of a prepared dataset of labelled hands; None: hands are rendered.
        minutes: for all of it, on this machine.
        workers: processes that make the batches of either stream.
        seed: of all randomness.
        method: "semihand", or "dual_modality", which takes a network with a depth branch.
        start: for the latter, the folder or a checkpoint of a run of
            `auxhand.methods.dual_modality`.

    Raises:
        ValueError: a number out of its range; a method without what it starts from, or with what
            another one starts from.
    """

    images: tuple[str, ...]
    model: str = "default"
    synthetic: str | None = None
    minutes: float = 18.0
    workers: int = 1
    seed: int = 0
    method: MethodName = "semihand"
    start: str | None = None

    def __post_init__(self) -> None:
        if not 0 < self.minutes < math.inf:
            raise ValueError(f"minutes must be positive, not {self.minutes}")
        if self.workers < 0:
            raise ValueError(f"workers must be 0 or more, not {self.workers}")
        if not 0 <= self.seed < 1 << 32:
            raise ValueError(f"seed must lie between 0 and 4294967295, not {self.seed}")
        if self.method == "semihand" and self.start is not None:
            raise ValueError(
                "--start is for --method dual_modality; SemiHand starts from a bundle (--model)"
            )
        if self.method == "dual_modality" and self.start is None:
            raise ValueError(
                "--method dual_modality takes --start RUN, a run of the dual-modality network: a "
                "bundle, as the shipped one, has no depth branch (docs/methods/dual_modality.md)"
            )
        if self.method == "dual_modality" and self.model != DEFAULT:
            raise ValueError("--model is for --method semihand; give --start alone")


@dataclass(frozen=True)
class Outcome:
    """What has become of it.

    Attributes:
        better: the adapted model was kept, else the original weights.
        reasons: see `judge.Verdict`.
        pictures: counts of `crops.find`.
        unread: files of which nothing could be read.
        minutes: since this call began.
    """

    better: bool
    reasons: tuple[str, ...]
    pictures: dict[str, int]
    unread: tuple[str, ...]
    minutes: float


def adapt(settings: Settings, out: Path, progress: bool = True) -> Outcome:
    """Fit a model to pictures without labels, or go on where an earlier call was interrupted.

    `out` becomes a bundle: at once of the original weights, then of the best network so far. Beside
    it lie `report.html`, `report.json` and `work`, which may be deleted.

    Args:
        settings: what to do.
        out: a folder that is not there, is empty, or holds an adaptation of the same settings.
        progress: show progress bars.

    Raises:
        FileNotFoundError: pictures, model or dataset that are not there.
        ValueError: too few usable crops, a folder of other things, a model that cannot be adapted,
            a dataset without labels.
        FloatingPointError: the loss is no longer finite; the best so far is kept.
        KeyboardInterrupt: interrupted; the best so far is kept, and the same call goes on.
    """
    started = time.monotonic()
    files = files_of(settings.images)
    start = of_bundle(settings.model) if settings.start is None else of_run(Path(settings.start))
    estimator = HandPoseEstimator.load(start.model)
    estimator.thorough = True  # by how far its looks differ it is known what is a label
    if settings.synthetic is not None:
        _check_labelled(Path(settings.synthetic), settings.method)
    _claim(out, {**json.loads(json.dumps(asdict(settings))), "files": digest(files)})
    work = out / WORK
    with locked(work):
        if (out / report.NUMBERS).is_file():
            return _finished(out)
        bundle = _original(start, work)
        if not (out / DESCRIPTION).is_file():
            ship(bundle, bundle.network, out, {})
        pictures = Pictures(files)
        counts = find(pictures, estimator, work / "found", progress)
        train, held = split(work / "found", work / "train", work / "held", work / LABELLED)
        if train + held < LEAST:
            _forget(out)
            raise ValueError(_too_few(train + held, counts, pictures.unread))
        source = _synthetic(settings, bundle.input_size, work, progress)
        return _fit(settings, out, bundle, source, (counts, pictures.unread), started)


def _check_labelled(root: Path, method: MethodName) -> None:
    """Check, before hands are looked for, that a dataset has what a method learns from: L_sup poses
    in 2D and 3D, L_s masks and depth maps too.

    Raises:
        FileNotFoundError, ValueError: no dataset, or one whose first hands have none of these.
    """
    names = ["joints_uv", "joints_xyz"]
    names += ["mask", "depth"] if method == "dual_modality" else []
    dataset = PreparedDataset(root)
    first = range(min(len(dataset), LOOKED_AT))
    rows = (dataset.row(index) for index in first)
    if not any(all(row[name] is not None for name in names) for row in rows):
        raise ValueError(
            f"{root}: none of the first {len(first)} samples has {', '.join(names)}, which "
            "adaptation learns from: take a dataset of `auxhand synth`, or leave --synthetic out"
        )


def _claim(out: Path, wanted: dict[str, Any]) -> None:
    """Make the folder, or find that it holds what is wanted.

    Raises:
        ValueError: it does not.
    """
    told = out / WORK / SETTINGS
    if told.is_file():
        found = _told(told, out)
        other = [name for name, value in wanted.items() if found.get(name) != value]
        if other:
            raise ValueError(
                f"{out} holds an adaptation with other {', '.join(other)}: name another folder, or "
                "delete this one"
            )
        return
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} is not empty and holds no adaptation: name another folder")
    told.parent.mkdir(parents=True, exist_ok=True)
    with writing(told) as temporary:
        temporary.write_text(json.dumps(wanted, indent=2))


def _forget(out: Path) -> None:
    """Leave nothing behind."""
    shutil.rmtree(out / WORK, ignore_errors=True)
    for name in (DESCRIPTION, WEIGHTS):
        (out / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        out.rmdir()


def _too_few(usable: int, counts: Counter[str], unread: list[str]) -> str:
    lost = ", ".join(f"{n} {name}" for name, n in counts.items() if name != "kept" and n)
    more = f"; {unread[0]}" if unread else ""
    return (
        f"{usable} usable crops of hands are too few (at least {LEAST}): {lost}{more}; give more "
        "photos, or a longer video"
    )


def _synthetic(settings: Settings, size: int, work: Path, progress: bool) -> Path:
    """The labelled hands."""
    if settings.synthetic is not None:
        return Path(settings.synthetic)
    from auxhand.adaptation.hands import ROOM, count_for, render  # the renderer

    side, file = round(ROOM * size), work / "hands.json"
    if not file.is_file():
        count = count_for(60 * settings.minutes * RENDERING, side, settings.seed)
        with writing(file) as temporary:
            temporary.write_text(json.dumps({"count": count}))
    count = _told(file, work.parent)["count"]
    return render(work / "hands", count, side, settings.seed, progress)


def _fit(
    settings: Settings,
    out: Path,
    bundle: Bundle,
    source: Path,
    seen: tuple[Counter[str], list[str]],
    started: float,
) -> Outcome:
    """Train, judge, report."""
    # Only here: what trains takes seconds to import, which finding hands need not wait for.
    from auxhand.adaptation.fit import (
        KeepBest,
        configuration,
        dual_modality,
        known_batches,
        prepared,
        semihand,
        trained,
    )

    work = out / WORK
    network = suitable(bundle.network)
    crops = bundle.input_size, bundle.fraction
    template = template_of(PreparedDataset(source))
    images = images_of(work / "held", *crops)
    count = len(PreparedDataset(work / "train"))
    length = _plan(settings, work, bundle, (count, len(images)), started)
    begin = work / (START if settings.start is None else BRANCHES)
    folders = {"start": begin, "run": work / "run", "source": source, "target": work / "train"}
    if settings.method == "semihand":
        labelled = [work / LABELLED] if read_description(work / LABELLED)["count"] else []
        method = semihand(bundle, folders, template, labelled)
    else:
        method = dual_modality(bundle, folders)
    told = configuration(bundle, folders, length, method, settings.workers, settings.seed)
    run = prepared(told, work / "adapt.yaml")
    known = known_batches(run)
    before = measure(network, images, template, known)
    deadline = _deadline(settings.minutes, started)
    keep = KeepBest(bundle, images, template, known, before, out, deadline)
    provenance = {"commit": commit(), "adapted_from": settings.start or settings.model}
    trained(run, keep, provenance)
    return _judged(settings, out, images, template, keep, seen, started)


def _original(start: Start, work: Path) -> Bundle:
    """The bundle that is adapted; a copy of it is kept, which training starts from."""
    copy, bundle = work / START, start.bundle
    if not copy.is_dir():
        if start.checkpoint is not None:
            with writing(work / BRANCHES) as temporary:
                torch.save(start.checkpoint, temporary)
        save_bundle(
            copy,
            bundle.network,
            bundle.input_size,
            bundle.metadata,
            bundle.crop,
            bundle.presence_threshold,
        )
    return load_bundle(copy)


def _deadline(minutes: float, started: float) -> float:
    """`time.monotonic()` at which a training that begins now ends, see `TRAINING`."""
    return max(started + 60 * minutes, time.monotonic() + TRAINING * 60 * minutes)


def _plan(
    settings: Settings, work: Path, bundle: Bundle, crops: tuple[int, int], started: float
) -> Plan:
    """The training's length: made once, then kept."""
    file = work / PLAN
    if not file.is_file():
        left = _deadline(settings.minutes, started) - time.monotonic()
        held = crops[1] + 40
        network, size = suitable(bundle.network), bundle.input_size
        length = plan(network, size, crops[0], held, 0.9 * left, settings.method)
        with writing(file) as temporary:
            temporary.write_text(json.dumps(asdict(length)))
    return Plan(**_told(file, work.parent))


def _judged(
    settings: Settings,
    out: Path,
    images: Tensor,
    template: Tensor,
    keep: KeepBest,
    seen: tuple[Counter[str], list[str]],
    started: float,
) -> Outcome:
    """The report, of the best network or, where none was better, of the last one."""
    kept = keep.best is not None
    folder = out if kept else out / WORK / "run" / "bundle"
    after = measure(load_bundle(folder).network, images, template, keep.known)
    verdict = decide(keep.before, after)
    verdict = Verdict(kept, verdict.reasons, verdict.score)
    counts, unread = seen
    minutes = (time.monotonic() - started) / 60
    told = {
        "pictures": dict(counts),
        "unread": unread,
        "crops": len(PreparedDataset(out / WORK / "train")),
        "labelled": read_description(out / WORK / LABELLED)["count"],
        "held_out": len(images),
        "minutes": minutes,
        "epochs": keep.history,
        "settings": asdict(settings),
    }
    report.write(out, images, keep.before, after, verdict, told)
    return Outcome(kept, verdict.reasons, dict(counts), tuple(unread), minutes)


def _finished(out: Path) -> Outcome:
    """What an earlier call has reported."""
    told = _told(out / report.NUMBERS, out)
    try:
        _ = load_bundle(out).network
        names = ("better", "reasons", "pictures", "unread", "minutes")
        better, reasons, pictures, unread, minutes = (told[name] for name in names)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"{out} was finished, but something of it is gone ({error}): delete it to adapt anew"
        ) from error
    return Outcome(better, tuple(reasons), pictures, tuple(unread), minutes)


def _told(file: Path, out: Path) -> dict[str, Any]:
    """What an earlier call has written of itself.

    Raises:
        ValueError: a damaged file.
    """
    try:
        told = json.loads(file.read_bytes())
    except ValueError:
        told = None
    if not isinstance(told, dict):
        raise ValueError(f"{file} is damaged: delete {out} to adapt anew")
    return told
