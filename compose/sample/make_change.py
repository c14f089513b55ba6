"""Write `sample_service/change.py`, the change that the next release of the sample app makes.

    python make_change.py FAULT
"""

import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from sample_service import faults

HERE = Path(__file__).parent
CHANGE = HERE / "sample_service" / "change.py"

HEADER = '''"""The change this release makes. Written by tools/sample-release, and not part of the source."""

FAULT = {fault!r}
NOTE = {note!r}
'''

# Looks like a simplification, runs without complaint, and counts peers that never answered.
BROKEN_CODE = '''

def count_answered(answers: list[dict]) -> int:
    """How many peers answered."""
    return len(answers)
'''


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print(__doc__.strip(), file=sys.stderr)
        return 2
    fault = arguments[0]
    try:
        faults.parse(fault)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    note = f"{fault}, made {datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
    text = HEADER.format(fault=fault, note=note) + (BROKEN_CODE if fault == "fails-tests" else "")
    unfinished = CHANGE.with_suffix(".unfinished")
    unfinished.write_text(text)
    os.replace(unfinished, CHANGE)
    print(f"change: {note}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
