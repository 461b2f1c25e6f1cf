"""A page in the browser that finds hands in photos and clips (extra `app`, docs/app.md).

It is served to this machine alone. What it is asked about comes as files, which are named by the
server and removed; what is said about them comes from whoever serves the page.
"""

from __future__ import annotations

import contextlib
import html
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import gradio as gr
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import PlainTextResponse

from auxhand.data.image import VIDEOS, printable
from auxhand.inference.video import Frame, Video

HOST: Final = "127.0.0.1"
MAX_BYTES: Final = 200_000_000
"""Of an uploaded file."""
MAX_SECONDS: Final = 60.0
MAX_FRAMES: Final = 3600
MAX_PIXELS: Final = 3840 * 2160
"""Of a clip's frame."""
MAX_WAITING: Final = 32
"""Questions that wait while one is answered; further ones are refused."""
KEPT_SECONDS: Final = 3600
"""How long files are kept that were uploaded or answered."""

COLUMNS: Final = (
    *("hand", "joint", "u [px]", "v [px]"),
    *("x [m]", "y [m]", "z [m]", "confidence"),
)
"""Of the table of joints: pixels of the photo; metres from the camera (x right, y down, z away)."""

_POLICY = "default-src 'self' 'unsafe-inline' 'unsafe-eval' blob: data:; frame-ancestors 'none'"
"""What browsers may load for the page: what this server gives, and nothing of another host."""

_AROUND = 100_000
"""Bytes about the file in the body of an upload, at most."""
_TOO_LARGE = f"more than the maximum allowed size of {MAX_BYTES // 1_000_000} MB"
_EVERY = 300
"""Seconds between two looks for files that are too old."""


class Closed(Exception):
    """The page that asked is no longer open."""


@dataclass(frozen=True)
class Question:
    """What somebody asks of the page.

    Attributes:
        file: a photo or clip, of whoever.
        hands: to find at most; None: all.
        model: one of those that the page offers.
        folder: an empty one for the answer's files.
        watch: is to be told of each frame of a clip before it is looked at; it raises ValueError at
            a clip that is too large, and `Closed` where nobody waits for the answer any more.
    """

    file: Path
    hands: int | None
    model: str
    folder: Path
    watch: Callable[[Frame], None]


@dataclass(frozen=True)
class Answer:
    """What is shown.

    Attributes:
        said: what was found, in a few words.
        numbers: the JSON.
        overlay: the photo (.png) or clip (.mp4) with its hands; None: no hand was found.
        view: the hands in 3D (.glb), if there are any.
        joints: rows of `COLUMNS`.
        files: to be downloaded.
    """

    said: str
    numbers: dict[str, Any]
    overlay: Path | None = None
    view: Path | None = None
    joints: list[list[Any]] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)


@contextlib.contextmanager
def serving(
    answer: Callable[[Question], Answer],
    models: Sequence[str],
    examples: Sequence[Path] = (),
    port: int | None = None,
) -> Iterator[str]:
    """Inside, the page is served to this machine.

    Args:
        answer: answers one question at a time; ValueError says in one line why it cannot.
        models: the names among which the page lets choose, the first one at first.
        examples: photos that the page offers.
        port: to listen at; None: the first free one from 7860 on.

    Yields:
        the page's address.

    Raises:
        ValueError: the port is taken.
    """
    with tempfile.TemporaryDirectory(prefix="auxhand-app-") as name, _environment(name):
        folder = Path(name)
        page = _Page(answer, folder).blocks(models, _copied(examples, folder))
        page.queue(max_size=MAX_WAITING, default_concurrency_limit=1, api_open=False)
        try:
            _, url, _ = page.launch(
                server_name=HOST,
                server_port=port,
                share=False,
                inline=False,
                prevent_thread_lock=True,
                quiet=True,
                allowed_paths=[],
                max_file_size=MAX_BYTES,
                enable_monitoring=False,
                ssr_mode=False,
                mcp_server=False,
                footer_links=[],
                theme=_theme(),
                css=_CSS,
                app_kwargs={"middleware": [Middleware(_Guard)]},
            )
        except OSError as error:
            where = port or "7860 to 7959"
            raise ValueError(f"port {where} of {HOST} is taken: name another by --port") from error
        try:
            yield url
        finally:
            page.close(verbose=False)


@contextlib.contextmanager
def _environment(folder: str) -> Iterator[None]:
    """Inside, gradio keeps its files in the folder and tells nobody that it runs."""
    ours = {"GRADIO_TEMP_DIR": folder, "GRADIO_ANALYTICS_ENABLED": "False"}
    before = {name: os.environ.get(name) for name in ours}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _copied(photos: Sequence[Path], folder: Path) -> list[Path]:
    """The photos in a folder whose files gradio may show."""
    examples = folder / "examples"
    examples.mkdir()
    return [Path(shutil.copy(photo, examples)) for photo in photos]


class _Guard:
    """Refuses what a browser of this machine would not send, and lets pages ask no other host.

    Bodies are counted while they come, since not all of them say how long they are; of an upload
    that breaks off nothing is kept. Other names of this host than its own are those under which a
    foreign page asks that has taken its address.
    """

    def __init__(self, app: Any) -> None:
        self.app = TrustedHostMiddleware(app, allowed_hosts=[HOST, "localhost"])

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = Headers(scope=scope) if scope["type"] == "http" else Headers()
        in_parts = headers.get("content-type", "").startswith("multipart/")
        taken = 0

        async def received() -> Any:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            # At a `MultiPartException`, and at no other, gradio removes what it has written.
            if in_parts and message["type"] == "http.disconnect":
                raise MultiPartException("the upload broke off")
            if taken > MAX_BYTES + _AROUND:
                raise (
                    MultiPartException(_TOO_LARGE) if in_parts else HTTPException(413, _TOO_LARGE)
                )
            return message

        async def sent(message: Any) -> None:
            if message["type"] == "http.response.start":
                answer = MutableHeaders(scope=message)
                answer["Content-Security-Policy"] = _POLICY
                if message["status"] == 413:
                    answer["Connection"] = "close"  # rather than listen to the rest
            await send(message)

        if scope["type"] == "http":
            said = headers.get("content-length", "0")
            if said.isdecimal() and int(said) > MAX_BYTES + _AROUND:
                await PlainTextResponse(_TOO_LARGE, 413)(scope, receive, sent)
                return
        await self.app(scope, received, sent)


def _theme() -> Any:
    """With the fonts that the browser has."""
    plain = ["ui-sans-serif", "system-ui", "sans-serif"]
    mono = ["ui-monospace", "monospace"]
    return gr.themes.Default(primary_hue="teal", font=plain, font_mono=mono)


_BEGIN = "Choose a photo or a clip, or click on an example."
_HEIGHT = 420
"""Pixels of the pictures."""
_FROM_CAMERA = 90, 85, None
"""Degrees about the upright axis and from it, whence the 3D view shows the hands at first: nearly
from where the camera was; as far away as shows them all."""
_CSS = "footer {display: none !important}"


class _Page:
    """The page: its parts, and what they do.

    Args:
        answer: see `serving`.
        folder: where answers are written.
    """

    def __init__(self, answer: Callable[[Question], Answer], folder: Path) -> None:
        self.answer, self.folder = answer, folder
        self.waiting: dict[str, threading.Event] = {}
        """Of each page whose question is being answered: whether it has been closed."""

    def blocks(self, models: Sequence[str], examples: Sequence[Path]) -> gr.Blocks:
        """The page of gradio."""
        with gr.Blocks(
            title="AuxHand", analytics_enabled=False, delete_cache=(_EVERY, KEPT_SECONDS)
        ) as page:
            gr.Markdown(
                "# AuxHand\n3D pose of the hands in a photo or clip. Nothing leaves this machine."
            )
            with gr.Row():
                with gr.Column(scale=2, min_width=300):
                    file, again, options = _questions(models, examples)
                with gr.Column(scale=5, min_width=400):
                    shown = _answers()
            asked = gr.on(
                [file.change, again.click, *(option.input for option in options)],
                self.respond,
                [file, *options],
                shown,
                concurrency_limit=1,
                api_name="predict",
            )
            # What is said of the file before does not stay beside the message.
            asked.failure(
                lambda: _shown(Answer("Not answered.", {})),
                None,
                shown,
                api_visibility="private",
                show_progress="hidden",
            )
            page.unload(self.left)
        return page

    def respond(
        self,
        file: str | None,
        hands: str,
        model: str,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  by which gradio knows that it is asked for
    ) -> list[Any]:
        """What is shown of a file.

        Raises:
            gr.Error: it cannot be answered.
        """
        if file is None:
            return _shown(Answer(_BEGIN, {}))
        session = str(request.session_hash)
        closed = self.waiting.setdefault(session, threading.Event())
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        try:
            path = Path(file)
            seconds = _checked(path)

            def watch(frame: Frame) -> None:
                if closed.is_set():
                    raise Closed
                _check_frame(path, frame)
                if seconds:
                    progress(min(frame.time / seconds, 1.0), desc="following the hands")

            count = None if hands == "all" else int(hands)
            return _shown(self.answer(Question(path, count, model, folder, watch)))
        except ValueError as error:
            shutil.rmtree(folder, ignore_errors=True)
            # gradio shows a message as HTML, and names of files are anybody's; where they lie here
            # is nobody's business.
            message = html.escape(str(error).replace(printable(path), path.name))
            raise gr.Error(message, duration=None, print_exception=False) from error
        except Closed:
            shutil.rmtree(folder, ignore_errors=True)
            return _shown(Answer("", {}))
        finally:
            self.waiting.pop(session, None)

    def left(self, request: gr.Request) -> None:
        """A page has been closed."""
        if closed := self.waiting.get(str(request.session_hash)):
            closed.set()


def _questions(models: Sequence[str], examples: Sequence[Path]) -> tuple[Any, Any, list[Any]]:
    """What is asked: the file; a button to ask again; how many hands, which model."""
    with gr.Tabs():
        with gr.Tab("Photo or clip"):
            file = gr.File(show_label=False, height=150)
        with gr.Tab("Webcam"):
            camera = gr.Image(
                label="Webcam",
                sources=["webcam"],
                type="filepath",
                image_mode=None,
                # A mirrored picture shows the other hand.
                webcam_options=gr.WebcamOptions(mirror=False),
            )
            camera.input(lambda taken: taken, camera, file, api_visibility="private")
    if examples:
        _gallery([str(path) for path in examples], file)
    hands = gr.Radio(["1", "2", "all"], value="2", label="Hands at most")
    model = gr.Dropdown(list(models), value=models[0], label="Model", visible=len(models) > 1)
    return file, gr.Button("Find hands", variant="primary"), [hands, model]


def _gallery(examples: list[str], file: Any) -> None:
    """Pictures of which one that is clicked becomes the file."""
    gallery = gr.Gallery(
        examples,
        show_label=False,
        columns=3,
        height=120,
        allow_preview=False,
        interactive=False,
        buttons=[],
    )

    def chosen(choice: gr.SelectData) -> str:
        return examples[int(choice.index)]

    gallery.select(chosen, None, file, api_visibility="private", show_progress="hidden")


def _answers() -> list[Any]:
    """What is shown, in the order of `_shown`."""
    said = gr.Markdown(_BEGIN)
    with gr.Row():
        photo = gr.Image(label="Hands", height=_HEIGHT, interactive=False, buttons=["fullscreen"])
        film = gr.Video(
            label="Hands", height=_HEIGHT, interactive=False, visible=False, autoplay=True
        )
        view = gr.Model3D(
            label="3D: drag, scroll",
            height=_HEIGHT,
            interactive=False,
            camera_position=_FROM_CAMERA,
        )
    with gr.Accordion("Joints", open=True, visible=False) as table:
        joints = gr.Dataframe(headers=list(COLUMNS), interactive=False, show_label=False)
    with gr.Accordion("JSON", open=False, visible=False) as text:
        numbers = gr.JSON(show_label=False)
    files = gr.Files(label="Files", interactive=False, visible=False)
    return [said, photo, film, view, table, joints, text, numbers, files]


def _shown(answer: Answer) -> list[Any]:
    """An answer in the parts of `_answers`."""
    picture = None if answer.overlay is None else str(answer.overlay)
    is_film = answer.overlay is not None and answer.overlay.suffix == ".mp4"
    return [
        f"**{answer.said}**",
        gr.Image(None if is_film else picture, visible=not is_film),
        gr.Video(picture if is_film else None, visible=is_film),
        None if answer.view is None else str(answer.view),
        gr.Accordion(visible=bool(answer.joints)),
        answer.joints,
        gr.Accordion(visible=bool(answer.numbers)),
        answer.numbers,
        gr.Files([str(path) for path in answer.files], visible=bool(answer.files)),
    ]


def _checked(path: Path) -> float:
    """Seconds that a file says it takes, 0 of a photo.

    Raises:
        ValueError: a clip that is too long or too large, or is none.
    """
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path.name}: {_TOO_LARGE}")
    if path.suffix.lower() not in VIDEOS:
        return 0.0
    video = Video(path)
    if video.seconds > MAX_SECONDS:
        raise ValueError(_too_long(path, f"{video.seconds:.0f} seconds"))
    _check_size(path, video.width, video.height)
    return video.seconds


def _check_frame(path: Path, frame: Frame) -> None:
    """As `_checked`, of what the clip really is.

    Raises:
        ValueError: it is too long or too large.
    """
    if frame.time > MAX_SECONDS or frame.number >= MAX_FRAMES:
        raise ValueError(_too_long(path, "more"))
    _check_size(path, frame.pixels.shape[1], frame.pixels.shape[0])


def _too_long(path: Path, how_long: str) -> str:
    return (
        f"{path.name}: a clip of at most {MAX_SECONDS:.0f} seconds and {MAX_FRAMES} frames is "
        f"answered here, and this one has {how_long}; cut it, or use `auxhand predict`"
    )


def _check_size(path: Path, width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ValueError(
            f"{path.name}: frames of {width} x {height} pixels; at most {MAX_PIXELS / 1e6:.1f} "
            "million are answered here: scale the clip down, or use `auxhand predict`"
        )
