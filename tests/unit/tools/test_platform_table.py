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
import re
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[3]
TOOL = ROOT / 'tools' / 'platform-table'
RESULT = ROOT / 'tests' / 'last-full-run.json'
COLUMNS = ('Ceph, servers', 'Ceph, client', 'Nova', 'Tests')


def make_table(path):
    return subprocess.run(
        [sys.executable, TOOL, path],
        check=False,
        capture_output=True,
        text=True,
    )


def table(path):
    done = make_table(path)
    assert done.returncode == 0, done.stderr
    return done.stdout


def git(*words):
    return subprocess.run(
        ['git', *words],  # noqa: S607
        check=True,
        capture_output=True,
        cwd=ROOT,
        text=True,
    ).stdout.strip()


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
    path.write_text(json.dumps({'stages': stages}))
    return path


def stage(name, passed=1, failed=0, commit='0123456789'):
    return {
        'name': name,
        'passed': passed,
        'failed': failed,
        'commit': commit,
    }


def test_a_stage_is_a_line_with_its_outcome_and_commit(tmp_path):
    text = table(result(tmp_path, stage('ceph20-client', passed=90, failed=2)))

    found = line(text, '20.2', '20.2', '34', 'functional, what asks Ceph')
    assert (found['Passed'], found['Failed']) == ('90', '2')
    assert found['Commit'] == '0123456'


@pytest.mark.parametrize(
    ('platform', 'python'),
    [
        (('20.2', '16.2', '34', "functional, the OSDs' class rbd"), '3.11'),
        (('18.2', '18.2', '34', 'functional'), '3.13'),
        # Its bindings are those of its own Python.
        (('20.2', '20.2', '34', 'functional, what asks Ceph'), '3.14'),
        (('20.2', '16.2, 20.2', '34', 'functional, cephx keys'), '3.11, 3.14'),
    ],
)
def test_a_line_has_the_python_of_its_client(tmp_path, platform, python):
    assert line(table(result(tmp_path)), *platform)['Python'] == python


@pytest.mark.parametrize(
    ('name', 'librbd', 'python', 'said'),
    [
        ('unit', '16.2.15+ds-0+deb12u1', '3.11.2', ''),
        ('unit', '', '', ''),
        ('ceph20-client', '16.2.15+ds-0+deb12u1', '3.11.2', ''),
        ('unit', '18.2.7+ds-1', '3.11.2', 'librbd 18.2.7+ds-1, not 16.2'),
        ('unit', '16.2.15', '3.13.5', 'python 3.13.5, not 3.11'),
        ('debian13-unit', '16.2.15', '3.13.5', 'librbd 16.2.15, not 18.2'),
        ('ceph20-client', '18.2.7', '3.11.2', 'librbd 18.2.7, not 16.2'),
    ],
)
def test_a_stage_that_ran_elsewhere_is_refused(
    tmp_path, name, librbd, python, said
):
    ran = {**stage(name), 'librbd': librbd, 'python': python}
    done = make_table(result(tmp_path, ran))

    assert done.returncode == (1 if said else 0)
    assert said in done.stderr


def test_a_stage_that_there_was_not_was_not_run(tmp_path):
    text = table(result(tmp_path))

    assert {line['Passed'] for line in lines(text)} == {'not run'}
    assert {line['Commit'] for line in lines(text)} == {''}


def test_the_documentations_table_is_of_the_last_results():
    written = ROOT / 'doc' / 'source' / 'platforms.csv'
    assert written.read_text() == table(RESULT)


def test_each_result_is_of_a_commit_of_this_history():
    if not (ROOT / '.git').exists() or not shutil.which('git'):
        pytest.skip('there is no history here')
    if git('rev-parse', '--is-shallow-repository') == 'true':
        pytest.skip('there is a part of the history only')
    written = json.loads(RESULT.read_text())
    results = [written, *written['stages']]
    history = set(git('rev-list', 'HEAD').split())
    assert {each['commit'] for each in results} <= history


SCRIPTS = [ROOT / 'tools' / name for name in ('stages.sh', 'test-all.sh')]


def inner_stages():
    """Those of tools/test.sh, as they are called where it is a stage."""
    text = SCRIPTS[0].read_text()
    parts = ('install_stage', 'basic_stages')
    bodies = [
        text.partition(f'function {part} {{')[2].partition('\n}')[0]
        for part in parts
    ]
    return {
        f'debian13-{words[words.index("stage") + 1]}'
        for body in bodies
        for words in map(str.split, body.splitlines())
        if 'stage' in words and '#' not in words
    }


def stages_that_are_run():
    return {
        words[words.index('stage') + 1]
        for path in SCRIPTS
        for words in map(str.split, path.read_text().splitlines())
        if 'stage' in words[:-1] and not {'#', 'function'} & set(words)
    }


def test_each_part_is_told_and_has_its_stages():
    text = SCRIPTS[1].read_text()
    told = re.findall(r'^# (\w+)  +\w', text, flags=re.MULTILINE)
    parts = re.search(r'parts=\((.*)\)', text)[1].split()
    assert sorted(told) == sorted(parts)
    everything = ''.join(path.read_text() for path in SCRIPTS)
    for part in parts:
        assert f'function {part}_stages {{' in everything


def test_all_stages_but_the_last_are_planned():
    words = SCRIPTS[-1].read_text().partition('--planned "')[2]
    planned = words.partition('"')[0].split()
    assert sorted(planned) == sorted(stages_that_are_run() - {'down'})


def test_each_line_is_of_a_stage_that_is_run(tmp_path):
    stages = [stage(name) for name in stages_that_are_run() | inner_stages()]

    text = table(result(tmp_path, *stages))

    assert {line['Passed'] for line in lines(text)} == {'1'}
