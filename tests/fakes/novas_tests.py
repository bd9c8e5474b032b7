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

"""What becomes of Nova's own tests, which are run on our classes."""

import unittest

import pytest


def tell(result: unittest.TestResult) -> None:
    """Have pytest end its test as Nova's has ended."""
    if result.skipped:
        _, reason = result.skipped[0]
        pytest.skip(reason)
    if not result.wasSuccessful():
        _, traceback = (result.failures + result.errors)[0]
        pytest.fail(traceback, pytrace=False)
