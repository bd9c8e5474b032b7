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

"""What the benchmarks' tests take of the fixtures; the lab must be up."""

from tests.fixtures.handles import private_files as private_files
from tests.fixtures.handles import process_list as process_list
from tests.fixtures.handles import supervisor as supervisor
from tests.fixtures.handles import where as where
