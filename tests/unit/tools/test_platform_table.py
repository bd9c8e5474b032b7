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
"""The table of what was run where, and the result that it is made from."""

import csv
import io
import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[3]
TOOL = ROOT / 'tools' / 'platform-table'
RESULT = ROOT / 'tests' / 'last-full-run.json'
COLUMNS = ('Ceph, servers', 'Ceph, client', 'Nova', 'Tests')


def table(path):
    done = subprocess.run(
        [sys.executable, TOOL, path],
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


def lines(text):
    return list(csv.DictReader(io.StringIO(text)))


def line(text, *platform):
    (found,) = (
        line
        for line in lines(text)
        if tuple(line[column] for column in COLUMNS) == platform
    )
    return found


def result(tmp_path, *stages):
    path = tmp_path / 'result.json'
    path.write_text(json.dumps({'commit': '0123456789', 'stages': stages}))
    return path


def test_a_stage_is_a_line_with_its_outcome_and_commit(tmp_path):
    stage = {'name': 'ceph20', 'passed': 90, 'failed': 2}

    text = table(result(tmp_path, stage))

    found = line(text, '20.2', '16.2', '34', 'functional')
    assert (found['Passed'], found['Failed']) == ('90', '2')
    assert found['Commit'] == '0123456'


def test_a_stage_that_there_was_not_was_not_run(tmp_path):
    text = table(result(tmp_path))

    assert {line['Passed'] for line in lines(text)} == {'not run'}
    assert {line['Commit'] for line in lines(text)} == {''}


def test_the_documentations_table_is_of_the_last_result():
    written = ROOT / 'doc' / 'source' / 'platforms.csv'
    assert written.read_text() == table(RESULT)


def test_each_line_is_of_a_stage_that_is_run(tmp_path):
    scripts = [ROOT / 'tools' / name for name in ('stages.sh', 'test-all.sh')]
    run = {
        words[words.index('stage') + 1]
        for path in scripts
        for words in map(str.split, path.read_text().splitlines())
        if 'stage' in words[:-1] and '#' not in words
    }
    names = run & {
        'unit',
        'unit-eventlet',
        'nova31',
        'nova32',
        'nova33',
        'functional',
        'faults',
        'lives',
        'older',
        'debian13-unit',
        'debian13',
        'ceph20',
    }
    stages = [{'name': name, 'passed': 1, 'failed': 0} for name in names]

    text = table(result(tmp_path, *stages))

    assert {line['Passed'] for line in lines(text)} == {'1'}
