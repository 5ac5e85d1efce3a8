"""Validates lines on standard input against the JSON Schema in the file named first (jsonschema, draft 2020-12).

With `strict` as second argument a field that the schema does not name is an error too, and so is a type. Prints how many
lines of each type were valid, as one JSON object, or says what is wrong with the first that is not and exits with 1.
"""

import json
import sys
from collections import Counter

from jsonschema import Draft202012Validator

schema = json.load(open(sys.argv[1]))
Draft202012Validator.check_schema(schema)
if "strict" in sys.argv[2:]:
    for definition in schema["$defs"].values():
        if "properties" in definition:
            definition["additionalProperties"] = False
    known = [branch["if"]["properties"]["type"]["const"] for branch in schema["allOf"]]
    schema["properties"]["type"]["enum"] = known
validator = Draft202012Validator(schema)


def no_nan(name):
    raise ValueError(f"{name} is not JSON")


def no_doubles(pairs):
    if len(dict(pairs)) != len(pairs):
        raise ValueError(f"a name occurs twice: {pairs}")
    return dict(pairs)


counts = Counter()
for number, line in enumerate(sys.stdin.buffer, 1):
    try:
        assert line.endswith(b"\n") and len(line) <= 32768, f"{len(line)} bytes"
        value = json.loads(line.decode("utf-8"), parse_constant=no_nan, object_pairs_hook=no_doubles)
        assert list(value)[0] == "type", "type does not come first"
        validator.validate(value)
    except Exception as error:
        sys.exit(f"line {number}: {error}\n{line[:2000]!r}")
    counts[value["type"]] += 1
print(json.dumps(counts))
