"""Whatever clients send: one clear line, and the server goes on."""

from __future__ import annotations

import struct
import threading
import time
import zlib

import numpy as np
import pytest

from acclimate.serving import Limits
from acclimate.serving.protocol import PunctualProtocol
from acclimate.serving.upload import Upload
from tests.helpers.dicom import dicom
from tests.helpers.serving import png, refused, rest, serving
from tests.helpers.waiting import HANG, wait_until

SMALL = Limits(max_body_mb=0.5, max_pixels=10_000, max_files=4, max_queue=8, max_requests=6, upload_seconds=0.6)
HEAD = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
PART = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'


@pytest.fixture(scope="module")
def strict(model):
    with serving({"animals": model}, SMALL) as client:
        yield client


@pytest.fixture(autouse=True)
def still_serving(strict):
    """After each of them it answers as before, and holds nothing."""
    yield
    assert strict.post("/predict", [("good.png", png())]).status_code == 200
    wait_until(lambda: strict.app.inside == 0, "end of the requests")
    assert strict.app.held == 0


class HeldUp:
    """Work that lasts until it is told to go on."""

    most = 32

    def __init__(self):
        self.go_on = threading.Event()

    def begin(self, images):
        pass

    def finish(self, images, begun):
        assert self.go_on.wait(HANG)
        return [None] * len(images)


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def bomb(width, height):
    """A PNG of black pixels, far smaller than they are."""
    rows = zlib.compressobj(9)
    packed = b"".join(rows.compress(bytes(width + 1)) for _ in range(height)) + rows.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def tiff(width, height):
    """The head of a TIFF of floats, without its pixels."""
    content = struct.pack("<2sHI", b"II", 42, 8)
    tags = [(256, width), (257, height), (258, 64), (259, 1), (262, 1), (273, 8), (277, 1), (278, height), (339, 3)]
    content += struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return content + bytes(4)


@pytest.mark.parametrize(
    ("content", "status", "said"),
    [
        (bomb(8000, 8000), 413, "8000 x 8000 pixels, more than the 10,000 that are opened"),
        (bomb(2**31 - 1, 1)[:60], 413, "2147483647 x 1 pixels"),
        (tiff(5000, 5000), 413, "5000 x 5000 pixels"),
        (dicom(np.zeros((200, 200), np.uint16)), 413, "200 x 200 pixels"),
        (b"1.2.840.10008.1.2.1.99".rjust(400, b"x"), 422, "deflated as a whole"),
        (b"some text", 422, "it is not an image of a known format"),
        (b"", 422, "the file is empty"),
        (png(90, 90)[:2000], 422, "truncated"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 422, "drawing"),
        (b"/etc/passwd", 422, "it is not an image of a known format"),
        (b"\x80\x04\x95csystem", 422, "it is not an image of a known format"),
    ],
    ids=["bomb", "long", "tiff", "dicom", "deflated", "text", "empty", "truncated", "svg", "path", "pickle"],
)
def test_bad_images_are_refused_from_their_header(strict, content, status, said):
    line = refused(strict.post("/predict", [("a.png", content)]), status)
    assert "'a.png'" in line
    assert said in line
    refused(strict.post("/explain", [("a.png", content)]), status)


def test_what_lies_on_the_server_is_not_looked_for(strict, files):
    """Neither a name nor a content that is a path says whether there is such a file."""
    there, gone = str(files[0]), str(files[0]) + "x"
    for name, content in ((there, b""), ("a.png", there.encode())):
        lines = [
            refused(strict.post(path, [(name.replace(there, one), content.replace(there.encode(), one.encode()))]), 422)
            for one in (there, gone)
            for path in ("/predict", "/explain")
        ]
        assert len({line.replace(gone, there) for line in lines}) == 1


def test_bodies_are_bounded(strict):
    line = "a request has at most 0.5 MB"
    assert line in refused(strict.post("/predict", [("a.png", bytes(600_000))]), 413)
    connection = strict.raw(HEAD + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n")  # of unknown length
    part = b"%x\r\n%b\r\n" % (len(PART), PART)
    connection.sendall(part + b"".join(b"10000\r\n%b\r\n" % bytes(2**16) for _ in range(10)) + b"0\r\n\r\n")
    assert line.encode() in rest(connection)


def test_a_body_that_is_announced_too_large_is_not_waited_for(strict):
    said = rest(strict.raw(HEAD + b"Expect: 100-continue\r\nContent-Length: 999999999\r\n\r\n"))
    assert said.startswith(b"HTTP/1.1 413 ")
    assert b"100 Continue" not in said


def test_files_are_counted(strict):
    assert "more than 4 files" in refused(strict.post("/predict", [("a.png", png())] * 5), 413)
    tiny = [(f"{number}.png", b"") for number in range(3000)]
    assert "more than 4 files" in refused(strict.post("/predict", tiny), 413)


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("application/json", b"{}", 415),
        ("", b"", 415),
        ("multipart/form-data", b"x", 400),
        ("multipart/form-data; boundary=x", b"nothing of the kind", 400),
        ("multipart/form-data; boundary=x", b"", 422),
        ("multipart/form-data; boundary=x", PART.replace(b'"files"', b'"others"') + b"1\r\n--x--\r\n", 422),
        ("multipart/form-data; boundary=x", PART.replace(b"; name", b"; game") + b"1\r\n--x--\r\n", 400),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="files"\r\n\r\nA\r\n--x--',
            422,
        ),
        ("image/png", png(), 415),
    ],
)
def test_other_bodies_are_refused(strict, kind, body, status):
    import requests

    headers = {"Content-Type": kind} if kind else {}
    refused(requests.post(strict.url + "/predict", data=body, headers=headers, timeout=60), status)


@pytest.mark.parametrize("asked", [{"coverage": 0}, {"coverage": "nan"}, {"known": 1}, {"run": "x"}, {"format": "xml"}])
def test_wrong_parameters_are_refused(strict, asked):
    refused(strict.post("/predict", [("a.png", png())], **asked), 404 if "run" in asked else 422)


def test_slow_senders_are_cut_off(strict):
    started = time.monotonic()
    said = rest(strict.raw(HEAD + b"Content-Length: 1000\r\n\r\n" + PART))
    assert said.startswith(b"HTTP/1.1 408 ")
    assert b"has not arrived within 0.6 s" in said
    assert time.monotonic() - started >= 0.6


def test_heads_that_do_not_come_end_the_connection(strict, monkeypatch):
    monkeypatch.setattr(PunctualProtocol, "head_seconds", 0.2)
    for begun in (b"", b"GET / HTTP/1.1\r\nHost:", b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\nGET /hea"):
        said = rest(strict.raw(begun))
        assert said.count(b"HTTP/1.1 200") == begun.count(b"\r\n\r\n")


def test_no_head_is_endless(strict):
    assert b"HTTP/1.1 400" in rest(strict.raw(b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 10_000))


def test_too_many_requests_at_once_are_sent_away(strict):
    slow = [strict.raw(HEAD + b"Content-Length: 1000\r\n\r\n") for _ in range(SMALL.max_requests)]
    wait_until(lambda: strict.app.inside == SMALL.max_requests, "slow requests")
    answer = strict.get("/runs")
    assert "6 requests are served already" in refused(answer, 503)
    assert answer.headers["retry-after"] == "1"
    assert all(rest(connection).startswith(b"HTTP/1.1 408") for connection in slow)


def test_bodies_of_all_together_are_bounded(strict, monkeypatch):
    monkeypatch.setattr(type(SMALL), "held", property(lambda self: 1000))
    assert "other requests hold" in refused(strict.post("/predict", [("a.png", bytes(5000))]), 503)


def test_a_full_queue_says_when_to_come_again(strict):
    (run,) = strict.app.app.state.service.runs.values()
    held = HeldUp()
    waiting = run.thread.submit(held, [Upload(f"{number}.png", b"") for number in range(SMALL.max_queue)])
    try:
        answer = strict.post("/predict", [("a.png", png())])
        assert "8 images wait already" in refused(answer, 503)
        assert int(answer.headers["retry-after"]) >= 1
        assert strict.count("waiting_images") == 8
    finally:
        held.go_on.set()
    assert waiting.result() == [None] * 8


def test_an_answer_that_takes_too_long_is_given_up(model):
    with serving({"animals": model}, Limits(max_seconds=0.2)) as client:
        (run,) = client.app.app.state.service.runs.values()
        held = HeldUp()
        run.thread.submit(held, [Upload("a.png", b"")])
        try:
            assert "no answer within 0.2 s" in refused(client.post("/predict", [("a.png", png())]), 503)
        finally:
            held.go_on.set()
        wait_until(lambda: run.thread.waiting == 0, "end of the work")
        assert client.count("images_total") == 0  # what nobody waits for is not done


def test_pages_from_elsewhere_and_foreign_names_are_refused(model):
    with serving({"animals": model}, hosts={"localhost", "127.0.0.1", "proxy.example"}) as client:
        refused(client.get("/runs", Host="evil.example"), 403)
        refused(client.get("/runs", Origin="http://evil.example"), 403)
        refused(client.get("/runs", Origin="null"), 403)
        assert client.get("/runs", Host="proxy.example:8000").status_code == 200
        assert client.get("/runs", Origin="https://proxy.example").status_code == 200
        refused(client.get("/runs", Origin="http://localhost:1"), 403)  # another server of this machine
        assert client.get("/runs", Origin=client.url).status_code == 200


def test_a_token_is_asked_for(model):
    with serving({"animals": model}, token="s3cret") as client:
        assert client.get("/runs").status_code == 200
        assert client.get("/runs", Authorization="bearer s3cret").status_code == 200
        for shown in ("", "Bearer", "Bearer s3cre", "Bearer s3cretx", "Basic s3cret", "Bearer s\u00e9cret"):
            answer = client.get("/runs", Authorization=shown)
            assert "asks for a token" in refused(answer, 401)
            assert answer.headers["www-authenticate"] == "Bearer"
        client.headers = {}
        for path in ("/runs", "/metrics", "/openapi.json", "/nothing"):
            refused(client.get(path), 401)
        refused(client.post("/predict", [("a.png", png())]), 401)
        assert client.get("/").status_code == client.get("/health").status_code == 200
