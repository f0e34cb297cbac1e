import json
import math

from ablab.config.plain_data import plain_data


def test_what_json_lacks_becomes_what_it_has():
    data = {1: (math.inf, [math.nan, -math.inf, 1.5]), "text": None, "yes": True, "none": {}}
    found = plain_data(data)
    assert found == {"1": [None, [None, None, 1.5]], "text": None, "yes": True, "none": {}}
    assert json.loads(json.dumps(found, allow_nan=False)) == found
