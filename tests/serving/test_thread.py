"""The thread of a model: what runs together, in which order, and what becomes of orders at the end."""

from __future__ import annotations

import threading

import pytest

from acclimate.serving.gauges import Gauges
from acclimate.serving.thread import Busy, ModelThread
from acclimate.serving.upload import Upload
from tests.helpers.waiting import HANG


class Doubling:
    """Doubles names; keeps the batches that it was given, and can be held up or made to fail."""

    def __init__(self, most=4):
        self.most, self.batches, self.go_on, self.fails = most, [], threading.Event(), False
        self.begun = threading.Event()
        self.go_on.set()

    def begin(self, images):
        self.begun.set()
        return [image.name * 2 for image in images]

    def finish(self, images, begun):
        assert self.go_on.wait(HANG)
        self.batches.append([image.name for image in images])
        if self.fails:
            raise RuntimeError("it fails")
        return begun


@pytest.fixture
def thread():
    made = ModelThread("model", most_waiting=20, most_pixels=100, gauges=Gauges(), patience=0.0)
    yield made
    if made.alive:
        made.close()


def uploads(names, pixels=1):
    return [Upload(name, b"", pixels) for name in names]


def results(*futures):
    return ["".join(future.result(HANG)) for future in futures]


def test_orders_of_one_work_run_together_and_get_their_own_results(thread):
    work, other = Doubling(), Doubling()
    futures = [thread.submit(work, uploads(names)) for names in ("a", "bc")]
    futures.append(thread.submit(other, uploads("x")))
    futures.append(thread.submit(work, uploads("defgh")))
    thread.start()
    assert results(*futures) == ["aa", "bbcc", "xx", "ddeeffgghh"]
    assert work.batches == [["a", "b", "c", "d"], ["e", "f", "g", "h"]]
    assert other.batches == [["x"]]
    assert thread.waiting == 0


def test_large_images_run_alone(thread):
    work = Doubling()
    big = [Upload("a", b"", 60), Upload("b", b"", 40), Upload("c", b"", 1), Upload("d", b"", 500), Upload("e", b"", 1)]
    future = thread.submit(work, big)
    thread.start()
    assert results(future) == ["aabbccddee"]
    assert work.batches == [["a", "b"], ["c"], ["d"], ["e"]]


def test_an_idle_thread_waits_for_others_and_no_longer(thread):
    thread.patience = HANG
    work = Doubling(most=2)
    thread.start()
    one = thread.submit(work, uploads("a"))
    two = thread.submit(work, uploads("b"))
    assert results(one, two) == ["aa", "bb"]
    assert work.batches == [["a", "b"]]
    thread.patience = 0.0
    assert results(thread.submit(work, uploads("c"))) == ["cc"]


def test_the_next_batch_is_begun_while_one_is_finished(thread):
    work, other = Doubling(), Doubling()
    work.go_on.clear()
    first = thread.submit(work, uploads("a"))
    second = thread.submit(other, uploads("b"))
    thread.start()
    assert other.begun.wait(HANG)  # while the first is held up
    assert not first.done()
    work.go_on.set()
    assert results(first, second) == ["aa", "bb"]


def test_a_full_queue_takes_no_more(thread):
    work = Doubling()
    thread.submit(work, uploads("a" * 18))
    with pytest.raises(Busy) as busy:
        thread.submit(work, uploads("bbb"))
    assert (busy.value.waiting, busy.value.seconds) == (18, 1)
    fits = thread.submit(work, uploads("bb"))
    thread.pace = 0.5
    with pytest.raises(Busy) as busy:
        thread.submit(work, uploads("c"))
    assert busy.value.seconds == 10
    thread.start()
    assert results(fits) == ["bbbb"]


def test_what_nobody_waits_for_is_left_out(thread):
    work = Doubling()
    gone, kept = thread.submit(work, uploads("abc")), thread.submit(work, uploads("d"))
    assert gone.cancel()
    thread.start()
    assert results(kept) == ["dd"]
    assert work.batches == [["d"]]
    assert thread.waiting == 0


def test_a_failure_is_that_of_its_orders_alone(thread, caplog):
    bad, good = Doubling(), Doubling()
    bad.fails = True
    failing = [thread.submit(bad, uploads("abcdefghij")), thread.submit(bad, uploads("k"))]
    other = thread.submit(good, uploads("x"))
    thread.start()
    for future in failing:
        with pytest.raises(RuntimeError, match="it fails"):
            future.result(HANG)
    assert results(other) == ["xx"]
    assert bad.batches == [[*"abcd"], [*"efgh"], ["k"]]  # of an order that has failed, what has begun is the last
    assert "RuntimeError: it fails" in caplog.text
    assert thread.waiting == 0


def test_what_has_begun_is_finished_at_the_end(thread):
    work = Doubling()
    work.go_on.clear()
    thread.start()
    future = thread.submit(work, uploads("abcdefgh"))
    assert work.begun.wait(HANG)
    closing = threading.Thread(target=thread.close)
    closing.start()
    work.go_on.set()
    closing.join(HANG)
    assert results(future) == ["aabbccddeeffgghh"]
    assert not thread.alive
    with pytest.raises(Busy):
        thread.submit(work, uploads("z"))
