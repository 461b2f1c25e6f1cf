"""The photos and videos of one `auxhand predict`, one after another or on a Ray cluster."""

from __future__ import annotations

import contextlib
import json
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from auxhand.cli.main import describe
from auxhand.cli.results import OF_PHOTO, OF_VIDEO, TABLE, TEXT, check_free, remove_results
from auxhand.data.drawn import FILM, NUMBERS, OVERLAY, VIEW
from auxhand.data.image import VIDEOS, is_animated, printable

if TYPE_CHECKING:
    from auxhand.inference.estimator import HandPoseEstimator


class Answer(NamedTuple):
    """What became of a photo or video.

    Attributes:
        kind: what it was, or that it could not be answered.
        hands: how many were found.
        said: one line about it.
    """

    kind: Literal["photo", "video", "failed"]
    hands: int
    said: str


@dataclass(frozen=True)
class Work:
    """What is to be predicted; it can travel to other processes, which see the same folders.

    Attributes:
        paths: the photos and videos.
        stems: where the results of each go, without their suffixes.
        box: see `photo.predict_photo`.
        args: of the command.
        folder: that relative paths start from.
    """

    paths: list[Path]
    stems: list[Path]
    box: tuple[float, float, float, float] | None
    args: Namespace
    folder: Path = field(default_factory=Path.cwd)

    @cached_property
    def estimator(self) -> HandPoseEstimator:
        """Loaded when it is first used.

        Raises:
            FileNotFoundError, ValueError: see `HandPoseEstimator.load`.
        """
        from auxhand.inference.estimator import HandPoseEstimator

        return HandPoseEstimator.load(self.args.model, self.args.device)

    def answer(self, number: int) -> Answer:
        """Predict one photo or video and write its results; where that fails there are none, no
        older ones."""
        path = self.paths[number]
        try:
            if self.args.resume and (before := self._before(number)):
                return before
            return self._predicted(number)
        except (OSError, ValueError, MemoryError) as error:
            return Answer("failed", 0, about(path, error))

    def answer_elsewhere(self, number: int) -> Answer:
        """As `answer`, in a process that was started in whatever folder."""
        with contextlib.chdir(self.folder):
            return self.answer(number)

    def _is_video(self, number: int) -> bool:
        path = self.paths[number]
        return path.suffix.lower() in VIDEOS or (self.args.video and is_animated(path))

    def _before(self, number: int) -> Answer | None:
        """The answer that an earlier run wrote, if it is complete, the same model's, and newer than
        the picture and the model."""
        from auxhand.inference.bundle import DESCRIPTION, bundle_folder

        kind: Literal["photo", "video"] = "video" if self._is_video(number) else "photo"
        path, stem = self.paths[number], self.stems[number]
        numbers = stem.with_name(stem.name + NUMBERS)
        try:
            said = json.loads(numbers.read_bytes())
            if (said[kind], said["model"]) != (printable(path), self.args.model):
                return None
            hands = said["hands"] if kind == "video" else len(said["hands"])
            beside = _beside(said["hands"], self.args.csv)
            written = numbers.stat().st_mtime_ns
            sources = path, bundle_folder(self.args.model) / DESCRIPTION
            if any(source.stat().st_mtime_ns > written for source in sources):
                return None
            if not all(stem.with_name(stem.name + suffix).is_file() for suffix in beside):
                return None
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return Answer(kind, int(hands), f"{printable(path)}: its results are there")

    def _predicted(self, number: int) -> Answer:
        path, stem = self.paths[number], self.stems[number]
        video = self._is_video(number)
        suffixes = OF_VIDEO if video else OF_PHOTO
        check_free(stem, suffixes)
        try:
            hands, said = self._video(path, stem) if video else self._photo(path, stem)
        except BaseException:
            remove_results(stem, suffixes)
            raise
        return Answer("video" if video else "photo", hands, f"{printable(path)}: {said}")

    def _photo(self, path: Path, stem: Path) -> tuple[int, str]:
        from auxhand.cli.photo import predict_photo, summary, write_results

        photo, predictions = predict_photo(self.estimator, path, self.box, self.args)
        write_results(stem, path, photo, predictions, self.args)
        first = "first frame of an animation (--video reads all): " if photo.animated else ""
        return len(predictions), first + summary(predictions)

    def _video(self, path: Path, stem: Path) -> tuple[int, str]:
        """See `clip.predict_clip`.

        Raises:
            ValueError: a box or side was given, which are those of one photo's hand.
        """
        from auxhand.cli.clip import predict_clip

        if self.args.box is not None or self.args.side != "auto":
            raise ValueError(
                f"{path}: --box and --side are for photos; a video's hands are followed"
            )
        return predict_clip(self.estimator, path, stem, self.args)


def _beside(hands: list[dict[str, Any]] | int, csv: bool) -> list[str]:
    """Suffixes of the files that belong to a JSON that tells of these hands of a photo, or of so
    many of a video.

    Raises:
        KeyError, TypeError: no such hands.
    """
    if isinstance(hands, int):
        return [FILM, TABLE, TEXT] if csv else [FILM, TABLE]
    drawn = {OVERLAY: "uv_px", VIEW: "relative_m"}
    return [
        suffix
        for suffix, key in drawn.items()
        if any(joint[key] is not None for hand in hands for joint in hand["joints"].values())
    ]


def answers(work: Work) -> Iterator[Answer]:
    """All answers: in order, or in that in which a cluster's machines finish them.

    Raises:
        ModuleNotFoundError, ConnectionError, OSError: see `synth.cluster.on_cluster`.
    """
    numbers = list(range(len(work.paths)))
    if work.args.cluster is None:
        return map(work.answer, numbers)
    from auxhand.synth.cluster import on_cluster

    # The copy is without the estimator, which each process loads for itself.
    elsewhere = replace(work).answer_elsewhere
    return on_cluster(elsewhere, numbers, work.args.cluster, work.args.workers)


def about(path: Path, error: Exception) -> str:
    """What went wrong with a photo, which is named."""
    if isinstance(error, MemoryError):
        return f"{printable(path)}: too large for the memory; scale it down first"
    if isinstance(error, OSError) and error.filename is None:
        return f"{printable(path)}: {error.strerror or error}"
    return describe(error)
