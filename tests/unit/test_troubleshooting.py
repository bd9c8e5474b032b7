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

"""Each message that an operator may find has its entry, and no other."""

import ast
import inspect
import pathlib
import re

import pytest

import nova_rbd_multistore
from nova_rbd_multistore import exceptions

ROOT = pathlib.Path(__file__).parents[2]
PAGE = ROOT / 'doc' / 'source' / 'troubleshooting.rst'
SOURCES = pathlib.Path(inspect.getfile(nova_rbd_multistore)).parent

#: A title of the page and what stands below, to the next title.
SECTION = re.compile(
    r'^(?P<title>\S.*)\n(?P<mark>[=-])(?P=mark)+\n'
    r'(?P<body>(?:(?!^\S.*\n[=-]{4,}\n).*\n)*)',
    re.MULTILINE,
)


def sections():
    return {
        found['title']: ' '.join(found['body'].split())
        for found in SECTION.finditer(PAGE.read_text())
    }


def shown(message):
    """A message as the page has it: what differs is in angle brackets."""
    return re.sub(r'%\((\w+)\)s', r'<\1>', message)


def causes():
    """The messages of the exceptions that have one of their own."""
    return {
        name: shown(found.msg_fmt)
        for name, found in vars(exceptions).items()
        if inspect.isclass(found) and 'msg_fmt' in vars(found)
    }


def log_messages():
    """What WARNINGs and ERRORs say; ``<>`` stands for what differs."""
    for path in SOURCES.glob('*.py'):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(
                    func=ast.Attribute(attr='warning' | 'error'),
                    args=[ast.Constant(value=str(message)), *_],
                ):
                    yield re.sub(r'%\S*[sdf]', '<>', message)


def entries_of_the_log():
    """The titles of the page's part on the log, as log messages have it."""
    titles = list(sections())
    begin = titles.index('Warnings and errors in the log') + 1
    end = titles.index('nova-compute does not start')
    return {re.sub(r'<\w+>', '<>', title) for title in titles[begin:end]}


def test_the_exceptions_with_a_message_are_found():
    assert len(causes()) >= 19


def test_the_warnings_and_errors_are_found():
    assert len(list(log_messages())) >= 14


@pytest.mark.parametrize('name', causes())
def test_each_exception_has_an_entry_with_its_message(name):
    assert causes()[name] in sections()[name]


@pytest.mark.parametrize('name', causes())
def test_each_entry_has_a_cause_and_what_to_do(name):
    assert re.search(r'\bCause\b', sections()[name])
    assert re.search(r'\bDo\b|Cause and what to do', sections()[name])


def test_each_entry_of_an_exception_is_of_one_that_there_is():
    entries = {
        title for title in sections() if re.fullmatch(r'[A-Z]\w+', title)
    }
    assert entries == set(causes())


@pytest.mark.parametrize('message', log_messages())
def test_each_warning_and_error_has_an_entry(message):
    assert any(entry in message for entry in entries_of_the_log())


@pytest.mark.parametrize('entry', sorted(entries_of_the_log()))
def test_each_entry_of_the_log_is_of_a_message_that_there_is(entry):
    assert any(entry in message for message in log_messages())
