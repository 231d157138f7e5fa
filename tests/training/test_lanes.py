from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import pytest
import torch

from acclimate.backbones.kinds import GENERATIVE
from acclimate.training.lanes import Lanes

CPU = torch.device("cpu")


@pytest.fixture(params=[1, 3])
def count(request):
    """Threads of torch, set back in the end."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_each_thread_has_one_core_and_the_others_keep_theirs(count):
    with Lanes(CPU) as lanes:
        assert torch.get_num_threads() == count
        together = threading.Barrier(count)

        def look():
            together.wait(10)  # as many work side by side as torch may use threads
            return threading.get_ident(), torch.get_num_threads()

        found = [future.result() for future in [lanes.submit(look) for _ in range(count)]]
        assert len({thread for thread, _ in found}) == lanes.count == count
        assert {number for _, number in found} == {1}
        later = []
        thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        assert later == [count]
    assert torch.get_num_threads() == count


def test_as_many_batches_as_keep_all_threads_busy(count):
    with Lanes(CPU) as lanes:
        for size in (1, 3, 8, 32, 1000):
            number = lanes.batches(size)
            assert number >= 2
            assert (number - 1) * size >= count * lanes.piece > (number - 2) * size


def test_what_waits_when_they_are_left_is_never_begun():
    begun = []

    def work(number):
        begun.append(number)
        time.sleep(0.05)

    with Lanes(CPU) as lanes:
        waiting = [lanes.submit(work, number) for number in range(20 * lanes.count)]
        waiting[0].result()
    assert len(begun) < len(waiting)
    assert sum(future.cancelled() for future in waiting) == len(waiting) - len(begun)


def test_what_fails_says_so():
    with Lanes(CPU) as lanes, pytest.raises(ZeroDivisionError):
        lanes.submit(lambda: 1 / 0).result()


def test_a_single_thread_has_all_cores(count):
    with Lanes(CPU, 1) as lanes:
        assert lanes.submit(torch.get_num_threads).result() == count
        assert lanes.count == 1


def test_a_generative_model_which_looks_at_one_batch_at_a_time_has_one_thread(count, tiny):
    with Lanes.of(tiny) as several, Lanes.of(SimpleNamespace(device=CPU, kind=GENERATIVE)) as one:
        assert (several.count, one.count) == (count, 1)
