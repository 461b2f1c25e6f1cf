"""`auxhand app`: its answers are those of `auxhand predict`; driven in a browser."""

import json
import shutil
import socket
import sys
from pathlib import Path

import pytest
from clips import Bright, write
from PIL import Image
from pyarrow import parquet as pq

import auxhand
from auxhand.cli import app
from auxhand.cli.main import main
from auxhand.inference.estimator import HandPoseEstimator

pytest.importorskip("gradio")
pytest.importorskip("pygltflib")
import httpx

from auxhand.app import Question, serving

PHOTO = Path(auxhand.__file__).parent / "assets" / "photos" / "seven.jpg"
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


@pytest.fixture
def ask(tmp_path):
    """ask(file, estimator, hands): the answer, in the folder "asked"."""
    folder = tmp_path / "asked"
    folder.mkdir()
    args = app.parser().parse_args([])

    def asked(file, estimator, hands=2, watch=lambda frame: None):
        question = Question(file, hands, "default", folder, watch)
        return app.answer({"default": estimator}, question, args)

    return asked


def test_a_photo_is_answered_as_by_predict(ask, tmp_path, monkeypatch):
    answer = ask(PHOTO, HandPoseEstimator.load())
    monkeypatch.chdir(PHOTO.parent)
    assert main(["predict", PHOTO.name, "--hands", "2", "--out", str(tmp_path / "out")]) == 0
    said = json.loads((tmp_path / "out" / "seven.json").read_text())
    assert answer.numbers == said
    assert answer.said.startswith("right hand")
    names = ["seven.json", "seven_overlay.png", "seven_3d.png"]
    assert [path.name for path in answer.files] == [*names, "seven.glb"]
    for name in names:
        same = (tmp_path / "out" / name).read_bytes()
        assert (tmp_path / "asked" / name).read_bytes() == same
    assert answer.view.read_bytes()[:4] == b"glTF"
    assert len(answer.joints) == 21
    hand, name, u, v, *xyz, confidence = answer.joints[8]
    joint = said["hand"]["joints"]["index_tip"]
    assert (hand, name, confidence) == ("right 0", "index_tip", joint["confidence"])
    assert ([u, v], xyz) == (joint["uv_px"], joint["camera_m"])


def test_a_clip_is_answered_as_by_predict(ask, tmp_path, monkeypatch):
    monkeypatch.setattr(HandPoseEstimator, "load", lambda *arguments: Bright())
    clip = write(tmp_path / "clip.mp4", [(20 + 2 * i, 30) for i in range(6)] + [None] * 2)
    seen = []
    answer = ask(clip, Bright(), 1, seen.append)
    monkeypatch.chdir(tmp_path)
    assert main(["predict", "clip.mp4", "--out", "out"]) == 0
    assert answer.numbers == json.loads((tmp_path / "out" / "clip.json").read_text())
    assert answer.said == "6 of 8 frames show a hand, 1 in all"
    assert [frame.number for frame in seen] == list(range(8))
    assert answer.overlay.name == "clip_overlay.mp4"
    tables = [pq.read_table(tmp_path / name / "clip.parquet") for name in ("asked", "out")]
    assert tables[0].equals(tables[1])
    assert {path.suffix for path in answer.files} == {".json", ".mp4", ".parquet", ".csv", ".glb"}


@pytest.mark.parametrize("hands", [1, 2, None])
def test_hands_at_most(ask, tmp_path, hands):
    Image.new("RGB", (96, 64), "white").save(tmp_path / "light.png")
    assert len(ask(tmp_path / "light.png", Bright(), hands).numbers["hands"]) == 1


def test_an_animation_is_a_clip(ask, tmp_path):
    frames = [Image.new("RGB", (96, 64), colour) for colour in ("white", "black", "navy")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=100)
    answer = ask(tmp_path / "a.gif", Bright())
    assert answer.said == "1 of 3 frames show a hand, 1 in all"


def test_no_hand_is_an_answer_too(ask, tmp_path):
    Image.new("RGB", (64, 64)).save(tmp_path / "dark.png")
    answer = ask(tmp_path / "dark.png", Bright())
    assert (answer.said, answer.overlay, answer.view, answer.joints) == (
        "no hand found",
        None,
        None,
        [],
    )
    assert answer.numbers["hands"] == []


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("a.jpg", b"nothing", "a.jpg: not a JPEG, PNG, WebP, GIF or HEIC image"),
        ("a.mp4", b"nothing", "a.mp4: no video that can be read"),
        ("a.jpg", PHOTO.read_bytes()[:5000], "a.jpg: a truncated JPEG: copy it anew"),
    ],
)
def test_what_is_wrong_is_said_without_the_folder(ask, tmp_path, name, data, says):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match=f"^{says}$"):
        ask(tmp_path / name, Bright())
    assert not list((tmp_path / "asked").iterdir())


def test_the_command_serves_until_it_is_interrupted(monkeypatch, capsys):
    status = []

    def wait():
        url = capsys.readouterr().out.split()[0]
        status.append(httpx.get(url).status_code)
        raise KeyboardInterrupt

    monkeypatch.setattr(HandPoseEstimator, "load", lambda *arguments: Bright())
    monkeypatch.setattr(app, "_wait", wait)
    assert main(["app", "--model", "one", "--model", "two"]) == 0
    assert status == [200]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--port", "0"], "--port must lie between 1 and 65535"),
        (["--threshold", "2"], "--threshold must lie between 0 and 1"),
        (["--model", "nowhere"], "nowhere"),
        (["--port", "{taken}"], "is taken: name another by --port"),
    ],
)
def test_mistakes_cost_one_line(capsys, arguments, says):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main(["app", *(argument.format(taken=port) for argument in arguments)]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("module", ["gradio", "pygltflib"])
def test_a_missing_extra_is_one_line(monkeypatch, capsys, module):
    monkeypatch.delitem(sys.modules, "auxhand.app", raising=False)
    monkeypatch.setitem(sys.modules, module, None)
    assert main(["app"]) == 2
    error = capsys.readouterr().err
    assert error == f"auxhand app: error: {module} is not installed: pip install 'auxhand[app]'\n"


@pytest.fixture
def chromium():
    """A page of a headless browser."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed (on Debian: apt install chromium)")
    # Without a screen and a graphics card; no sandbox, for those who test as root.
    options = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=options)
        page = browser.new_page(viewport={"width": 1280, "height": 1100})
        page.set_default_timeout(120_000)
        yield page
        browser.close()


@pytest.mark.slow
def test_in_a_browser(chromium, tmp_path, monkeypatch):
    page, asked = chromium, []
    estimators = {"default": HandPoseEstimator.load()}
    args = app.parser().parse_args([])
    page.on("request", lambda request: asked.append(httpx.URL(request.url)))
    (tmp_path / "<i>bad.jpg").write_bytes(b"nothing")
    clip = write(tmp_path / "clip.mp4", [(20, 30)] * 4)
    with serving(lambda q: app.answer(estimators, q, args), ["default"], [PHOTO]) as url:
        page.goto(url)
        page.get_by_role("button", name="Thumbnail 1").click()
        page.get_by_text("right hand (side estimated").wait_for()
        page.get_by_text("index_tip").first.wait_for()
        page.locator("canvas").wait_for()
        overlay = page.locator("img[src*=seven_overlay]")
        # The page may show the picture before it is loaded.
        loaded = "image => image.decode().then(() => image.naturalWidth)"
        assert overlay.evaluate(loaded) == Image.open(PHOTO).width
        page.get_by_text("seven_3d").wait_for()
        _upload(page, clip)
        page.get_by_text("of 4 frames show a hand").wait_for()
        film = page.locator("video[src*=clip_overlay]")
        film.wait_for()
        assert film.evaluate("film => film.error") is None
        _upload(page, tmp_path / "<i>bad.jpg")
        message = page.get_by_test_id("toast-body")
        message.wait_for()
        assert "not a JPEG, PNG, WebP, GIF or HEIC image" in message.inner_text()
        page.get_by_text("Not answered.").wait_for()
        film.wait_for(state="hidden")
    assert {place.host for place in asked if place.scheme.startswith("http")} == {"127.0.0.1"}


def _upload(page, file):
    page.get_by_label("Clear").first.click()
    page.set_input_files("input[type=file]", str(file))
