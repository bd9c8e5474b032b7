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

"""What it costs a boot to be measured."""

import time

from nova_rbd_multistore import meter
from nova_rbd_multistore import metrics

#: What a boot asks Glance: the record, and the locations.
QUESTIONS = 2


def seconds_per_boot(boots: int = 10_000) -> float:
    """Tell the metrics all that a boot of a local image tells them.

    :param boots: of which the mean is taken
    """
    measured = metrics.Metrics('0', 'west')
    began = time.perf_counter()
    for _ in range(boots):
        with measured.time(meter.Step.TURN):
            measured.look(meter.Saw.WHOLE)
        with measured.time(meter.Step.FIND):
            for _ in range(QUESTIONS):
                measured.answer('http://127.0.0.1:9292', 'Good')
        with measured.time(meter.Step.CLONE):
            pass
        measured.boot('clone', good=True)
    return (time.perf_counter() - began) / boots
