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

"""What is a library is typed, and what is a test is not."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[2] / 'tests'
TESTS = sorted([*ROOT.rglob('test_*.py'), *ROOT.rglob('conftest.py')])


def annotations(source):
    """Lines with an annotation, but of a class: its fields may need one."""
    tree = ast.parse(source)
    of_classes = {
        node
        for owner in ast.walk(tree)
        if isinstance(owner, ast.ClassDef)
        for node in owner.body
    }
    found = set()
    for node in ast.walk(tree):
        match node:
            case ast.AnnAssign() if node not in of_classes:
                found.add(node.lineno)
            case ast.arg(annotation=ast.expr() as annotation):
                found.add(annotation.lineno)
            case ast.FunctionDef(returns=ast.expr() as annotation):
                found.add(annotation.lineno)
    return found


def test_no_test_is_annotated():
    lines = {path: annotations(path.read_text()) for path in TESTS}
    assert {path: found for path, found in lines.items() if found} == {}


@pytest.mark.parametrize(
    'line',
    [
        'def test(name: str): pass',
        'def test(*names: str): pass',
        'def test(*, name: str): pass',
        'def test() -> None: pass',
        'names: list[str] = []',
        'names: list[str]',
        'class Names:\n    def get(self) -> str: pass',
    ],
)
def test_an_annotation_is_found(line):
    assert annotations(line)


def test_a_field_of_a_class_is_none():
    assert not annotations('class Names:\n    first: str')
