"""The page `auxhand.app`, served by a real server, with a stand-in for what answers."""

import asyncio
import json
import os
import socket
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("gradio")
import gradio_client
import httpx
from clips import write

from auxhand import app
from auxhand.app import Answer, Closed, serving
from auxhand.inference.video import Video


class Desk:
    """Answers every file with its size; keeps what it was asked, and whether it was left."""

    def __init__(self):
        self.asked, self.open, self.left = [], threading.Event(), threading.Event()
        self.open.set()

    def __call__(self, asked):
        self.asked.append(asked)
        assert self.open.wait(60)
        text = asked.file.read_bytes()
        if text == b"bad":
            raise ValueError(f"{asked.file.name}: <b>no</b> photo")
        if text == b"endless":
            self._follow(asked)
        if asked.file.suffix == ".mp4":
            for frame in Video(asked.file):
                asked.watch(frame)
        made = asked.folder / "made.png"
        Image.fromarray(np.full((8, 8, 3), 200, np.uint8)).save(made)
        rows = [["right 0", "wrist", 1.0, 2.0, None, None, None, 0.5]]
        return Answer("1 hand", {"bytes": len(text)}, made, None, rows, [made])

    def _follow(self, asked):
        frame = app.Frame(np.zeros((8, 8, 3), np.uint8), 0.0, 0)
        try:
            while not self.left.wait(0.01):
                asked.watch(frame)
        except Closed:
            self.left.set()
            raise


@pytest.fixture(scope="module")
def served():
    desk = Desk()
    with serving(desk, ["default", "other"]) as url:
        yield desk, url


@pytest.fixture
def desk(served):
    desk = served[0]
    desk.asked.clear()
    desk.left.clear()
    return desk


@pytest.fixture(scope="module")
def client(served):
    return gradio_client.Client(served[1], verbose=False)


def ask(client, path, hands="2", model="default"):
    return client.predict(gradio_client.handle_file(str(path)), hands, model, api_name="/predict")


@pytest.fixture
def photo(tmp_path):
    Image.fromarray(np.zeros((9, 12, 3), np.uint8)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_a_question_and_its_answer(client, desk, photo):
    said, picture, film, view, joints, numbers, files = ask(client, photo, "all", "other")
    (asked,) = desk.asked
    assert (asked.file.name, asked.hands, asked.model) == ("photo.png", None, "other")
    assert said == "**1 hand**"
    assert np.asarray(Image.open(picture["value"])).shape == (8, 8, 3)
    assert (film["visible"], view) == (False, None)
    assert joints["headers"] == list(app.COLUMNS)
    assert joints["data"] == [["right 0", "wrist", 1, 2, None, None, None, 0.5]]
    assert numbers == {"bytes": photo.stat().st_size}
    assert [Path(name).name for name in files["value"]] == ["made.png"]
    ask(client, photo, "1")
    assert desk.asked[1].hands == 1


@pytest.mark.parametrize(("hands", "model"), [("7", "default"), ("1", "/etc")])
def test_other_choices_are_refused(client, desk, photo, hands, model):
    with pytest.raises(gradio_client.exceptions.AppError, match="not in the list"):
        ask(client, photo, hands, model)
    assert not desk.asked


def test_what_cannot_be_answered_costs_one_line(client, desk, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"bad")
    with pytest.raises(gradio_client.exceptions.AppError) as caught:
        ask(client, bad)
    assert str(caught.value) == "bad.jpg: &lt;b&gt;no&lt;/b&gt; photo"
    assert not desk.asked[0].folder.exists()


def test_a_clip_that_is_none_is_named_without_where_it_lies(client, desk, tmp_path):
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"bad")
    with pytest.raises(gradio_client.exceptions.AppError) as caught:
        ask(client, bad)
    assert str(caught.value) == "bad.mp4: no video that can be read"
    assert not desk.asked


def look_through(clip):
    app._checked(clip)
    for frame in Video(clip):
        app._check_frame(clip, frame)


@pytest.mark.parametrize(
    ("limit", "value", "says"),
    [
        ("MAX_SECONDS", 0.3, "at most 0 seconds and 3600 frames is answered here"),
        ("MAX_FRAMES", 5, "at most 60 seconds and 5 frames"),
        ("MAX_PIXELS", 6000, "frames of 96 x 64 pixels"),
        ("MAX_BYTES", 100, "clip.mp4: more than the maximum allowed size of 200 MB"),
    ],
)
def test_clips_have_limits(tmp_path, monkeypatch, limit, value, says):
    clip = write(tmp_path / "clip.mp4", [(20, 30)] * 10)
    monkeypatch.setattr(app, limit, value)
    with pytest.raises(ValueError, match=says):
        look_through(clip)


def test_a_clip_that_lies_about_its_length_is_cut_short(tmp_path, monkeypatch):
    clip = write(tmp_path / "clip.mp4", [(20, 30)] * 10)
    monkeypatch.setattr(app, "MAX_SECONDS", 0.22)
    frames = iter(Video(clip))
    for _ in range(5):
        app._check_frame(clip, next(frames))
    with pytest.raises(ValueError, match="this one has more"):
        app._check_frame(clip, next(frames))


class Visitor:
    """A browser's session, as gradio's protocol has it."""

    def __init__(self, http, session):
        self.http, self.session = http, session
        self.number = http.question

    async def ask(self, data, name="photo.png"):
        """Upload and ask; the response to the question."""
        up = await self.http.post("/gradio_api/upload", files={"files": (name, data)})
        return await self.join({"path": up.json()[0], "meta": {"_type": "gradio.FileData"}})

    async def join(self, file):
        asked = {"data": [file, "2", "default"], "fn_index": self.number}
        return await self.http.post(
            "/gradio_api/queue/join", json=asked | {"session_hash": self.session}
        )

    async def answer(self):
        """The last message about the question."""
        async with self.http.stream(
            "GET", "/gradio_api/queue/data", params={"session_hash": self.session}
        ) as stream:
            async for line in stream.aiter_lines():
                message = json.loads(line.removeprefix("data: ")) if line else {}
                if message.get("msg") == "process_completed":
                    return message
        return {}


def visit(url, story):
    """The outcome of `story(http)`."""

    async def told():
        # A connection each: the server may close one that is kept just when it is used again.
        limits = httpx.Limits(max_keepalive_connections=0)
        async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as http:
            parts = (await http.get("/config")).json()["dependencies"]
            http.question = next(part["id"] for part in parts if part["api_name"] == "predict")
            return await story(http)

    return asyncio.run(told())


@pytest.mark.slow
def test_a_hundred_questions_at_once(served, desk, photo):
    data = photo.read_bytes()

    async def story(http):
        visitors = [Visitor(http, f"many{n}") for n in range(100)]
        desk.open.clear()
        try:
            joined = await asyncio.gather(*(visitor.ask(data) for visitor in visitors))
        finally:
            desk.open.set()
        waiting = [v for v, said in zip(visitors, joined, strict=True) if said.status_code == 200]
        answers = await asyncio.gather(*(visitor.answer() for visitor in waiting))
        later = Visitor(http, "later")
        return joined, answers, await later.ask(data), await later.answer()

    joined, answers, _, later = visit(served[1], story)
    refused = [said for said in joined if said.status_code != 200]
    # One is being answered, `MAX_WAITING` wait.
    assert len(answers) in (app.MAX_WAITING, app.MAX_WAITING + 1)
    assert all(answer["success"] for answer in answers)
    assert {said.status_code for said in refused} == {503}
    assert "full" in refused[0].text
    assert later["success"]


def test_a_closed_page_is_not_worked_for(served, desk, photo):
    async def story(http):
        visitor = Visitor(http, "leaving")
        async with http.stream("GET", "/gradio_api/heartbeat/leaving") as beat:
            lines = beat.aiter_lines()
            await anext(lines)
            assert (await visitor.ask(b"endless", "clip.bin")).status_code == 200
            listening = asyncio.create_task(visitor.answer())
            while not desk.asked:
                await asyncio.sleep(0.01)
            listening.cancel()
        left = await asyncio.to_thread(desk.left.wait, 30)
        desk.left.set()
        other = Visitor(http, "staying")
        await other.ask(photo.read_bytes())
        return left, await other.answer()

    left, other = visit(served[1], story)
    assert left
    assert other["success"]
    assert not desk.asked[0].folder.exists()


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "../../../../../../etc/passwd",
        "..%2F..%2F..%2F..%2F..%2Fetc%2Fpasswd",
        "{tmp}/../../etc/passwd",
        str(Path(app.__file__)),
    ],
)
def test_no_other_file_is_given_away(served, desk, client, photo, name):
    ask(client, photo)
    name = name.format(tmp=desk.asked[0].folder)
    answer = httpx.get(f"{served[1]}gradio_api/file={name}")
    assert answer.status_code in (403, 404)

    async def story(http):
        visitor = Visitor(http, "thief")
        await visitor.join({"path": name, "meta": {"_type": "gradio.FileData"}})
        return await visitor.answer()

    assert not visit(served[1], story)["success"]
    assert len(desk.asked) == 1


def test_a_file_cannot_choose_where_it_lies(served, desk):
    async def story(http):
        visitor = Visitor(http, "climber")
        await visitor.ask(b"x", "../../../evil.png")
        return await visitor.answer()

    assert visit(served[1], story)["success"]
    (asked,) = desk.asked
    assert asked.folder.parent in asked.file.parents
    assert asked.file.name.endswith("evil.png")


class Endless:
    """The body of an upload that says as long as anybody listens, and counts what it said."""

    def __init__(self, head):
        self.head, self.sent = head, 0

    def __iter__(self):
        yield self.head
        while self.sent < 1 << 30:
            self.sent += 1 << 16
            yield bytes(1 << 16)


PART = b'--x\r\nContent-Disposition: form-data; name="files"'


@pytest.mark.parametrize(
    "head",
    [
        PART + b'; filename="a.png"\r\nContent-Type: image/png\r\n\r\n',
        PART + b"\r\n\r\n",  # a field, which would be kept in memory
    ],
)
def test_a_gigabyte_is_refused_while_it_comes(served, desk, monkeypatch, head):
    monkeypatch.setattr(app, "MAX_BYTES", 1_000_000)
    kept = Path(os.environ["GRADIO_TEMP_DIR"])
    before = {path for path in kept.rglob("*") if path.is_file()}
    body = Endless(head)
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    try:
        said = httpx.post(f"{served[1]}gradio_api/upload", content=body, headers=kind)
        assert said.status_code == 413
    except httpx.NetworkError:  # the server hung up while we were still talking
        pass
    assert body.sent < 50_000_000
    assert {path for path in kept.rglob("*") if path.is_file()} == before


def test_a_gigabyte_that_says_so_is_refused_at_once(served):
    with socket.create_connection((app.HOST, httpx.URL(served[1]).port), 10) as talk:
        talk.sendall(
            b"POST /gradio_api/upload HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1073741824\r\n"
            b"Content-Type: multipart/form-data; boundary=x\r\n\r\n"
        )
        said = talk.recv(4096)
    assert said.startswith(b"HTTP/1.1 413")


def test_of_an_upload_that_breaks_off_nothing_is_kept(served, desk, caplog):
    kept = Path(os.environ["GRADIO_TEMP_DIR"])
    before = {path for path in kept.rglob("*") if path.is_file()}

    def came(begun):
        """Whether, at last, files of the upload lie there, or none do."""
        for _ in range(1000):
            if ({path for path in kept.rglob("*") if path.is_file()} != before) == begun:
                return True
            time.sleep(0.01)
        return False

    head = (
        b"POST /gradio_api/upload HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000\r\n"
        b"Content-Type: multipart/form-data; boundary=x\r\n\r\n"
    )
    with socket.create_connection((app.HOST, httpx.URL(served[1]).port), 10) as talk:
        talk.sendall(head + PART + b'; filename="a.png"\r\n\r\n' + bytes(100_000))
        assert came(begun=True)
    assert came(begun=False)
    assert not [record for record in caplog.records if record.exc_info]


def test_only_this_machine_is_served(served):
    url = httpx.URL(served[1])
    assert (url.host, url.scheme) == ("127.0.0.1", "http")
    assert httpx.get(url, headers={"Host": "foreign.example"}).status_code == 400
    answer = httpx.get(url, headers={"Origin": "http://foreign.example"})
    assert "access-control-allow-origin" not in answer.headers
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    # Whoever listens at all addresses listens at this one too.
    with pytest.raises(OSError), socket.create_connection(("127.0.0.2", url.port), 5):
        pass


def test_files_go_with_the_page(photo):
    desk = Desk()
    with serving(desk, ["default"]) as url:
        ask(gradio_client.Client(url, verbose=False), photo)
        folder = desk.asked[0].folder
        assert (folder / "made.png").exists()
    assert not folder.parent.exists()
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)


def test_a_port_that_is_taken(served):
    with (
        pytest.raises(ValueError, match="is taken: name another by --port"),
        serving(Desk(), ["default"], port=httpx.URL(served[1]).port),
    ):
        pass
