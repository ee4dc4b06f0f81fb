"""Write README's generated parts and its picture from the recorded files, or check that they are up to date.

python scripts/readme.py            write
python scripts/readme.py --check    write nothing; exit status 1 if README differs from the files
"""

from __future__ import annotations

import argparse
import sys

from course_lib.errors import CourseError
from course_lib.publishing import readme


def main(arguments: list[str] | None = None) -> int:
    """Write or check; returns the exit status: 0 well, 1 something differs or is missing."""
    parser = argparse.ArgumentParser(description="Write README's generated parts from the recorded files.")
    parser.add_argument("--check", action="store_true", help="write nothing, only say what differs")
    options = parser.parse_args(arguments)
    try:
        if not options.check:
            readme.write()
        found = readme.problems()
    except (CourseError, ValueError) as error:
        found = [str(error)]
    for problem in found:
        print(f"README: {problem}; write it again: python scripts/readme.py", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
