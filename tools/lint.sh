#!/bin/bash
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

# Every linter over every file that git knows, and the type checker. Goes on
# to the next when one fails. Run by "tox -e pep8", which has the programs.

set -uo pipefail

cd "$(dirname "$(readlink -f "$0")")/.." || exit
failed=0

function lint {
    echo "lint: $*" | cut -c 1-79
    "$@" || failed=1
}

mapfile -t python < <(git grep --untracked -lI '^#!.*python')
mapfile -t bash < <(git grep --untracked -lIE \
    '^(#!.*\b(ba)?sh|# shellcheck shell=bash)$' ':!*.j2')
mapfile -t text < <(git ls-files --cached --others --exclude-standard \
    '*.rst' 'releasenotes/notes/*.yaml')
mapfile -t containers < <(git ls-files --cached --others --exclude-standard \
    '*Containerfile')

lint ruff check . "${python[@]}"
lint ruff format --check . "${python[@]}"
lint mypy
lint bashate "${bash[@]}"
lint shellcheck --external-sources "${bash[@]}"
lint hadolint "${containers[@]}"
lint doc8 "${text[@]}"
exit "$failed"
