"""The image factory: any number of rendered, labelled hands as a prepared dataset.

Shard s holds the samples [s n, (s + 1) n). A sample is a pure function of (seed, index, config),
so that shards can be made by any number of processes, in any order and over several runs, and the
bytes are the same. Other drivers (several machines) call `make_shard` with the same `Job`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field, replace
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from queue import SimpleQueue
from typing import Any, get_args

import cv2
import numpy as np
import torch
from tqdm import tqdm

from auxhand.data.background import Backgrounds, composite
from auxhand.data.columns import Record, make_row
from auxhand.data.store import DESCRIPTION, SHARD_SIZE, claim, is_complete, shard_path, write_shard
from auxhand.files import locked, sweep
from auxhand.synth.cluster import check_cluster, on_cluster
from auxhand.synth.config import BackgroundConfig, FactorConfig
from auxhand.synth.distributions import GROUPS, sample_factors
from auxhand.synth.factors import Factors
from auxhand.synth.modalities import Renderer, render_hand
from auxhand.synth.sensor import photograph
from auxhand.synth.vary import vary

MAKER = "auxhand synth"
LARGEST = 4096
"""Side of the largest image, pixels: its samples take a few GB."""


@dataclass(frozen=True)
class Job:
    """What a dataset is made of; equal jobs give equal bytes.

    Attributes:
        count: number of samples.
        seed: of all randomness.
        size: side of the images, pixels.
        config: what the factors are drawn from.
        backgrounds: folder of photos; None for procedural backgrounds.
        shard_size: samples per file.
        renderer: see `render_hand`.
        cutouts: also keep the hand's RGBA, which training puts before new backgrounds; without it
            the pictures are used as they are, like real ones.
        vary: groups of factors (`synth.vary`); if there are any, `each` samples in a row differ in
            these alone, and share a `content`.
        each: samples of one content.

    Raises:
        ValueError: a number that is not positive (or a negative seed), images beyond `LARGEST`, an
            unknown renderer, no such group of factors.
    """

    count: int
    seed: int = 0
    size: int = 128
    config: FactorConfig = field(default_factory=FactorConfig)
    backgrounds: Path | None = None
    shard_size: int = SHARD_SIZE
    renderer: Renderer = "raster"
    cutouts: bool = True
    vary: tuple[str, ...] = ()
    each: int = 4

    def __post_init__(self) -> None:
        """Check the numbers and the renderer."""
        if self.renderer not in get_args(Renderer):
            raise ValueError(
                f"no renderer {self.renderer!r}; there are: {', '.join(get_args(Renderer))}"
            )
        for name, least in (
            ("count", 1),
            ("seed", 0),
            ("size", 16),
            ("shard_size", 1),
            ("each", 2),
        ):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if self.size > LARGEST:
            raise ValueError(f"size must be at most {LARGEST} pixels, got {self.size}")
        if unknown := sorted(set(self.vary) - set(GROUPS)):
            raise ValueError(f"no factor {unknown[0]} to vary; there are: {', '.join(GROUPS)}")

    def shards(self) -> int:
        """Number of shards."""
        return -(-self.count // self.shard_size)

    def indices(self, shard: int) -> range:
        """Samples of a shard."""
        return range(shard * self.shard_size, min((shard + 1) * self.shard_size, self.count))

    def factors(self, index: int) -> Factors:
        """What sample `index` is made of."""
        if not self.vary:
            return sample_factors(self.config, self.seed, index)
        first = index - index % self.each
        same = sample_factors(self.config, self.seed, first)
        return same if index == first else vary(same, self.vary, self.config, self.seed, index)

    def content(self, index: int) -> str | None:
        """The name that samples share of which nothing but `vary` differs."""
        return f"synth/{self.seed}/{index // self.each}" if self.vary else None

    def describe(self) -> dict[str, Any]:
        """What `dataset.json` says besides the format; all that the bytes depend on.

        Raises:
            FileNotFoundError, ValueError: see `Backgrounds`.
        """
        return {
            "count": self.count,
            "maker": MAKER,
            "version": version("auxhand"),
            "seed": self.seed,
            "size": self.size,
            "shard_size": self.shard_size,
            "renderer": self.renderer,
            "cutouts": self.cutouts,
            "vary": [*self.vary] or None,
            "each": self.each if self.vary else None,
            "config": asdict(self.config),
            "backgrounds": _fingerprint(_backgrounds(self.backgrounds, self.config.background)),
        }


@cache
def _backgrounds(folder: Path | None, config: BackgroundConfig) -> Backgrounds:
    """Backgrounds, loaded once per process."""
    return Backgrounds(folder, distractor_share=config.distractors, kinds=config.kinds)


def _fingerprint(backgrounds: Backgrounds) -> str | None:
    """Digest of the photos' pixels; None without photos."""
    if not backgrounds.photos:
        return None
    digest = hashlib.sha256()
    for photo in backgrounds.photos:
        digest.update(photo.tobytes())
    return digest.hexdigest()


def make_sample(job: Job, index: int) -> Record:
    """Sample `index` as a row of a prepared dataset."""
    row = render_factors(
        job.factors(index),
        job.size,
        _backgrounds(job.backgrounds, job.config.background),
        job.renderer,
        index=index,
        source=f"synth/{job.seed}/{index}",
    )
    row["content"] = job.content(index)
    return row if job.cutouts else {**row, "rgba": None}


def render_factors(
    factors: Factors,
    size: int,
    backgrounds: Backgrounds,
    renderer: Renderer = "raster",
    *,
    index: int = 0,
    source: str = "",
) -> Record:
    """Render one hand with all its labels as a row of a prepared dataset."""
    hand = render_hand(factors, size, renderer)
    labels, rendering = hand.labels, hand.rendering
    background = backgrounds.sample(np.random.default_rng(factors.background), size)
    image = photograph(composite(rendering.rgba, background), factors.sensor)
    return make_row(
        index,
        image=(image * 255 + 0.5).astype(np.uint8),
        rgba=rendering.rgba,
        depth=rendering.depth,
        mask=hand.mask,
        parts=hand.parts,
        K=labels.K,
        side=labels.side,
        joints_uv=labels.joints_uv,
        joints_xyz=labels.joints_xyz,
        joint_valid=np.ones(len(labels.joints_uv), bool),
        joint_visible=hand.joint_visible,
        presence=1.0,
        source=source,
        factors=factors.to_dict(),
    )


def make_shard(job: Job, out: Path, shard: int, stop: Any = None) -> int:
    """Make and write one shard; returns its number of samples.

    Args:
        job: the dataset.
        out: its folder.
        shard: number of the shard.
        stop: an event that ends the work early (nothing is written then); returns 0.
    """
    rows = []
    for index in job.indices(shard):
        if stop is not None and stop.is_set():
            return 0
        rows.append(make_sample(job, index))
    write_shard(shard_path(out, shard), rows)
    return len(rows)


def generate(
    out: str | Path,
    job: Job,
    workers: int = 2,
    progress: bool = True,
    share: tuple[int, int] = (0, 1),
    cluster: str | None = None,
) -> Path:
    """Make a dataset, or what an interrupted run has left to be made of it.

    Args:
        out: folder of the dataset; made if it is not there.
        job: what to make.
        workers: processes; for 1, or where one file is to be made, this one. The result does not
            depend on it.
        progress: show a progress bar.
        share: (i, n): make the shards i, i + n, i + 2 n, ... alone, so that n machines that share
            `out`, or copy their shards together, make the dataset.
        cluster: address of a Ray cluster (`ray.init`) whose machines see `out` and the backgrounds
            and make the shards instead; "local" starts one of `workers` processes here.

    Returns:
        The folder.

    Raises:
        ValueError: `out` is a file or holds another dataset, another process makes this share of
            it, a background cannot be read, no such share, no such form of address, a Ray session
            that is open already.
        ModuleNotFoundError: Ray or the path tracer is asked for and not installed.
        ConnectionError: no cluster at the address.
        OSError: `out` cannot be written to, a worker process was killed.
    """
    if not 0 <= share[0] < share[1]:
        last = max(share[1], 1) - 1
        raise ValueError(
            f"no share {share[0]}/{share[1]}: shares are i/n with 0 <= i < n, here "
            f"0/{last + 1} to {last}/{last + 1}"
        )
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    out = Path(out)
    # Fails before anything is written.
    if cluster is not None:
        check_cluster(cluster)
    render_hand(job.factors(0), job.size, job.renderer)
    description = json.loads(json.dumps(job.describe()))
    try:
        claim(out, description)
        with locked(out, f".share-{share[0]}-of-{share[1]}.lock"):
            _make_missing(out, job, workers, progress, share, cluster)
    except OSError as error:
        if isinstance(error, FileNotFoundError | ConnectionError):
            raise
        reason = f"cannot write {out}" if error.errno else f"{out} is not finished"
        raise OSError(
            f"{reason}: {error.strerror or error}; every shard that is there is complete, and the "
            "same command makes the others"
        ) from error
    return out


def _make_missing(
    out: Path, job: Job, workers: int, progress: bool, share: tuple[int, int], cluster: str | None
) -> None:
    """Make the shards of a share that are not there yet; see `generate`."""
    mine = range(share[0], job.shards(), share[1])
    sweep(out, {DESCRIPTION, *(shard_path(out, shard).name for shard in mine)})
    missing = [s for s in mine if not is_complete(out, s, len(job.indices(s)))]
    total, left = (sum(len(job.indices(s)) for s in shards) for shards in (mine, missing))
    bar = tqdm(total=total, initial=total - left, unit="hand", disable=not progress)
    with bar, _single_threaded():
        if cluster is not None:
            absolute = replace(job, backgrounds=job.backgrounds and job.backgrounds.resolve())
            work = partial(_work_on_cluster, absolute, out.resolve())
            made = on_cluster(work, missing, cluster, workers)
        elif min(workers, len(missing)) <= 1:  # processes take seconds to start
            made = (make_shard(job, out, shard) for shard in missing)
        else:
            made = _in_parallel(job, out, missing, workers)
        for samples in made:
            bar.update(samples)


def _in_parallel(job: Job, out: Path, shards: list[int], workers: int) -> Iterator[int]:
    """Make shards in processes of their own; an exception in one of them ends all and is raised."""
    # A server process that has run nothing yet is forked: unlike fork it copies no threads and
    # locks, unlike spawn it imports PyTorch once.
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    if "forkserver" in methods:
        context.set_forkserver_preload([__name__])
    stop = context.Event()
    pool = ProcessPoolExecutor(min(workers, len(shards)), context, _start_worker, (stop,))
    try:
        # Not `concurrent.futures.wait`: interrupted there, futures can stay locked for good.
        finished: SimpleQueue[Future[int]] = SimpleQueue()
        for shard in shards:
            pool.submit(_work, job, out, shard).add_done_callback(finished.put)
        for _ in shards:
            yield finished.get().result()
    except BrokenProcessPool as error:
        raise OSError("a worker process was killed (out of memory?): use fewer workers") from error
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


_stop: Any = None
"""In a worker process: the event that ends its work early."""


def _start_worker(stop: Any) -> None:
    global _stop
    _stop = stop
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # Ctrl-C reaches the whole process group; the parent tells its workers to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _use_one_thread()


def _end_with_parent() -> None:
    """End this process when its parent is gone, which, killed, could not tell it to stop."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _work(job: Job, out: Path, shard: int) -> int:
    return make_shard(job, out, shard, _stop)


def _work_on_cluster(job: Job, out: Path, shard: int) -> int:
    _use_one_thread()
    return make_shard(job, out, shard)


def _use_one_thread() -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


@contextlib.contextmanager
def _single_threaded() -> Iterator[None]:
    """One thread per process, here and in processes that are started meanwhile.

    Workers are the parallelism, and the number of threads must not decide the last bits.
    """
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    threads = torch.get_num_threads(), cv2.getNumThreads()
    os.environ.update(dict.fromkeys(names, "1"))
    _use_one_thread()
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value
        torch.set_num_threads(threads[0])
        cv2.setNumThreads(threads[1])
