# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""Questions that go round, in real threads."""

from concurrent import futures
import threading
import time

import pytest

from nova_rbd_multistore import beside
from nova_rbd_multistore import endpoints
from nova_rbd_multistore import exceptions
from nova_rbd_multistore import needs as need_values
from nova_rbd_multistore import rounds

A, B, C = URLS = ['http://a', 'http://b', 'http://c']

#: Seconds that a boot loses which meets one that hangs.
PATIENCE = 0.5


class Glances:
    """Three glance-apis as a question meets them.

    :ivar seconds: that an answer takes
    :ivar hanging: those that do not answer before the end
    :ivar failing: those that give no good answer
    :ivar asked: how often each was
    """

    needs = need_values.NOTHING

    def __init__(self):
        self.known = endpoints.Endpoints(30)
        self.means = rounds.Means(
            self.known,
            beside,
            time.monotonic,
            patience=PATIENCE,
            timeout=60.0,
        )
        self.seconds = 0.02
        self.hanging = set()
        self.failing = set()
        self.asked = []
        self.over = threading.Event()

    def answer(self, url):
        self.asked.append(url)
        if url in self.hanging:
            self.over.wait()
            raise rounds.NoAnswer('too late')
        time.sleep(self.seconds)
        if url in self.failing:
            self.known.failed(url)
            raise rounds.NoAnswer('not today')
        self.known.answered(url)
        return url

    def stores(self, url):
        raise AssertionError(url)

    def check_health(self, url):
        self.answer(url)
        self.known.note_healthy(url)

    def boot(self, _number=0):
        answer = rounds.Round(self.means, URLS, self).run()
        assert answer not in self.hanging | self.failing

    def boots(self, count=16):
        """How often so many boots at once met one that hangs."""
        self.asked.clear()
        with futures.ThreadPoolExecutor(count) as pool:
            list(pool.map(self.boot, range(count)))
        return sum(url in self.hanging for url in self.asked)


@pytest.fixture
def glances():
    made = Glances()
    yield made
    made.over.set()


@pytest.mark.parametrize('hanging', [{A}, {B}, {A, C}])
def test_of_16_boots_at_once_one_meets_each_that_hangs(glances, hanging):
    glances.hanging = hanging
    assert glances.boots() <= len(hanging)
    assert glances.boots() == 0


def test_the_same_where_all_have_answered_before(glances):
    for url in URLS:
        glances.known.note_healthy(url)
        glances.known.answered(url)
    time.sleep(2 * endpoints.FRESH)
    glances.hanging = {B}
    assert glances.boots() == 1
    assert glances.boots() == 0


def test_the_same_where_answers_are_slow(glances):
    for url in (A, B):
        glances.known.note_healthy(url)
        glances.known.answered(url)
    time.sleep(2 * endpoints.FRESH)
    glances.seconds = 0.7 * PATIENCE
    glances.hanging = {A}
    with futures.ThreadPoolExecutor(16) as pool:
        list(
            pool.map(
                lambda _: rounds.Round(glances.means, [A, B], glances).run(),
                range(16),
            )
        )
    assert glances.asked.count(A) == 1


@pytest.mark.parametrize('are_known', [True, False])
@pytest.mark.parametrize('slowness', [1.2, 1.8, 2.6])
def test_the_same_where_the_other_is_slower_than_its_patience(
    glances, slowness, are_known, caplog
):
    if are_known:
        for url in (A, B):
            glances.known.note_healthy(url)
            glances.known.answered(url)
        time.sleep(2 * endpoints.FRESH)
    glances.seconds = slowness * PATIENCE
    glances.hanging = {A}

    def boot(_number):
        began = time.monotonic()
        rounds.Round(glances.means, [A, B], glances).run()
        return time.monotonic() - began

    with futures.ThreadPoolExecutor(16) as pool:
        took = list(pool.map(boot, range(16)))

    # While nobody knows which of them hangs; then an answer.
    assert max(took) < PATIENCE + glances.seconds + 0.9 * PATIENCE
    said = [line for line in caplog.text.splitlines() if 'no answer' in line]
    assert sum(f'{A} failed' in line for line in said) == 1


def test_the_same_where_another_fails_at_once(glances):
    for url in URLS:
        glances.known.note_healthy(url)
    glances.hanging, glances.failing = {A}, {B}
    assert glances.boots() <= 1


def test_one_that_answers_others_meanwhile_is_slow_and_does_not_hang(glances):
    for url in URLS:
        glances.known.note_healthy(url)
        glances.known.answered(url)
    glances.hanging = set(URLS) - {C}
    glances.known.failed(C)
    ended = threading.Event()

    def answer_others():
        while not ended.wait(PATIENCE / 50):
            glances.known.answered(A)

    with futures.ThreadPoolExecutor(1) as others:
        others.submit(answer_others)
        assert rounds.Round(glances.means, [A, C], glances).run() == C
        ended.set()
    assert glances.known.rank(A) is endpoints.Rank.GOOD
    assert glances.known.take([A, B], futures.Future(), 0.0) == A


def test_all_have_answers_while_one_after_the_other_hangs(glances):
    for url in URLS:
        glances.hanging = {url}
        glances.boots()
        glances.over.set()
        glances.over = threading.Event()
        for each in URLS:
            glances.known.answered(each)


def test_where_all_fail_all_boots_hear_of_it_soon(glances):
    glances.failing = set(URLS)

    def boot(_number):
        with pytest.raises(exceptions.GlanceUnavailable):
            glances.boot()

    began = time.monotonic()
    with futures.ThreadPoolExecutor(16) as pool:
        list(pool.map(boot, range(16)))
    assert time.monotonic() - began < 20


def test_what_nobody_expects_leaves_nobody_waiting(glances):
    def answer(url):
        raise RuntimeError(url)

    glances.answer = answer
    for url in URLS:
        glances.known.note_healthy(url)
    with futures.ThreadPoolExecutor(8) as pool:
        ends = [pool.submit(glances.boot) for _ in range(8)]
        for end in ends:
            with pytest.raises(RuntimeError):
                end.result(30)
    assert glances.known.awaited(URLS) == []


def test_of_16_requests_at_once_one_asks_for_the_health_that_hangs(glances):
    """Each question would take a thread of that glance-api."""
    glances.needs = need_values.Needs(store='west')
    for url in URLS:
        glances.known.learn_stores(url, frozenset({'west'}))
    glances.stores = glances.known.stores
    # The one that answered last is asked first.
    for url in (B, C, A):
        glances.known.answered(url)
    glances.hanging = {A}
    glances.answer, answer = (lambda url: url), glances.answer
    glances.check_health = answer

    with futures.ThreadPoolExecutor(16) as pool:
        made = list(pool.map(lambda _: glances.boot(), range(16)))

    assert len(made) == 16
    assert glances.asked.count(A) == 1
