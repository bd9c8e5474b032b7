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

import pytest

from lab import errors
from lab.demo import checklist
from lab.demo import progress


def test_nothing_checked_is_nothing_shown():
    assert not checklist.Checklist().held


def test_all_checks_held():
    checks = checklist.Checklist()
    checks.add('Water is wet', True, 'felt it')
    assert checks.held
    assert str(checks) == (
        '[ ok ] Water is wet\n       felt it\n\nAll of it holds (1 checks).'
    )


def test_broken_check_is_named_at_the_end():
    checks = checklist.Checklist()
    checks.add('Water is wet', True, 'felt it')
    checks.add('Fire is cold', False, '900 C')
    assert not checks.held
    assert str(checks).endswith(
        '1 of 2 checks do not hold:\n  Fire is cold: 900 C'
    )


def test_clock_measures_each_store():
    clock = progress.Clock()
    clock.note(frozenset({'east'}), 1.0)
    clock.note(frozenset({'east', 'west'}), 3.0)
    clock.note(frozenset({'west'}), 6.0)
    clock.note(frozenset(), 7.0)
    assert clock.seconds('east') == 2.0
    assert clock.seconds('west') == 3.0
    assert clock.seconds('file') is None


@pytest.mark.parametrize(
    ('record', 'shown'),
    [
        ({'stores': 'west,file'}, 'in file, west'),
        ({'stores': 'file', 'os_glance_importing_to_stores': ''}, 'in file'),
        (
            {'stores': 'file', 'os_glance_importing_to_stores': 'east,west'},
            'in file; being copied to east, west',
        ),
        ({}, 'in no store'),
    ],
)
def test_stores_of_a_record(record, shown):
    assert str(progress.Stores.from_record(record)) == shown


def test_ticker_is_silent_about_what_stays(capsys):
    ticker = progress.Ticker()
    ticker.show(0.0, 'demo-east', 'BUILD')
    ticker.show(0.5, 'demo-east', 'BUILD')
    ticker.show(2.0, 'demo-east', 'ACTIVE')
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines] == [
        ['0.0', 's', 'demo-east', 'BUILD'],
        ['2.0', 's', 'demo-east', 'ACTIVE'],
    ]


def test_waiting_ends():
    with pytest.raises(errors.ServiceFailed, match='the boot took longer'):
        list(progress.within(0.0, 'the boot'))
