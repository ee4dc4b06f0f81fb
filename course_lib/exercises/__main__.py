"""``python -m course_lib.exercises [CHAPTER …]``: prove every exercise; exit status 1 if a claim fails."""

from __future__ import annotations

import argparse
import sys

from course_lib.exercises.engine.proof import CLAIMS, prove
from course_lib.exercises.engine.registry import chapter, chapters


def main(arguments: list[str]) -> int:
    """Print one line an exercise, and what failed under it."""
    parser = argparse.ArgumentParser(prog="python -m course_lib.exercises", description="Prove every exercise.")
    parser.add_argument("chapters", nargs="*", type=int, metavar="CHAPTER", help="such as 4; all without")
    wanted = [f"{number:02d}" for number in parser.parse_args(arguments).chapters] or chapters()
    unknown = sorted(set(wanted) - set(chapters()))
    if unknown:
        print(f"no exercises for chapter {', '.join(unknown)}; there are: {', '.join(chapters())}", file=sys.stderr)
        return 2
    failed = total = 0
    for exercise in (exercise for number in wanted for exercise in chapter(number)[1]):
        wrong = {claim: text for claim, text in prove(exercise) if text}
        total, failed = total + 1, failed + bool(wrong)
        state = "FAILED" if wrong else "ok"
        print(
            f"{exercise.id:6} {exercise.title:50.50} {exercise.points:2d} points  {len(exercise.mistakes)} mistakes  "
            f"{len(CLAIMS) - len(wrong)} of {len(CLAIMS)} claims  {state}"
        )
        for claim, text in wrong.items():
            print(f"       {claim}: {text}")
    print(f"{total - failed} of {total} exercises proved")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
