"""The course at a glance: its parts and chapters, the question each chapter answers, and which of them are written.

The plan stands here once; the map in chapter 00 and README's chapter table are drawn from it. What a written chapter
says about itself (title, what you will be able to do, minutes) is read from its text twin, so that it cannot differ.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from course_lib.errors import CourseError
from course_lib.storage.files import ROOT

TWINS = ROOT / "notebooks" / "text"


@dataclass(frozen=True)
class Chapter:
    """One planned chapter.

    Args:
        number: two digits, "00" to "25".
        topic: what its file is called after the number, in lower case with underscores.
        question: what the chapter answers, one sentence.
    """

    number: str
    topic: str
    question: str

    @property
    def name(self) -> str:
        """The file's name without its suffix, such as "01_measuring"."""
        return f"{self.number}_{self.topic}"


@dataclass(frozen=True)
class Page:
    """What a written chapter's first cell says.

    Args:
        chapter: its place in the plan.
        title: without the number and what follows a colon.
        promise: the first thing that the reader will be able to do.
        minutes: to read it and do its exercises, > 0.
    """

    chapter: Chapter
    title: str
    promise: str
    minutes: int


_PLAN = """
Measure
00 start_here What can compression buy me?
01 measuring What does “faster” and “smaller” mean?
02 the_teacher What does a good baseline look like?
03 efficient_architectures Could I have started smaller?
Distil
04 kl_and_cross_entropy What does a distribution know that a label does not?
05 distilling_logits How does a student learn from a teacher?
06 distilling_features Can the student learn how the teacher sees?
Prune
07 magnitude_pruning Which weights does the network not need?
08 channel_pruning How do I remove work, not just zeros?
09 how_much_where How much can each layer give?
Quantize
10 affine_quantization How do 8 bits stand for a real number?
11 integer_arithmetic How does a chip compute with only integers?
12 post_training_quantization How do I choose ranges without training?
13 quantization_aware_training What if quantizing after training is not enough?
14 codebooks_and_low_rank How small can it get on disk?
Run fast
15 fusion_and_graphs Where does time go between the layers?
16 deploy_cpu How do I ship it on a CPU?
17 deploy_jetson How do I ship it on a Jetson?
18 parallelism What if it does not fit one device?
Put it together
19 the_pipeline In which order?
20 trust Is it still safe?
21 seeing_more Beyond classification?
22 closed_loop Does it still drive?
23 transformers And attention?
24 myths_and_bugs What does the web get wrong?
25 capstone Can I hit a budget?
"""


def _parts() -> dict[str, tuple[Chapter, ...]]:
    parts: dict[str, tuple[Chapter, ...]] = {}
    for block in re.split(r"\n(?=\D)", _PLAN.strip()):
        part, *lines = block.splitlines()
        parts[part] = tuple(Chapter(*line.split(" ", 2)) for line in lines)
    return parts


PARTS: dict[str, tuple[Chapter, ...]] = _parts()
"""Part → its chapters, in the order in which they build on one another."""

CHAPTERS: tuple[Chapter, ...] = tuple(chapter for chapters in PARTS.values() for chapter in chapters)


def written(folder: str | Path = TWINS) -> tuple[Page, ...]:
    """The chapters whose text twin lies in ``folder``, in order.

    Raises: CourseError: a twin belongs to no planned chapter, or its first cell lacks title, promise or minutes.
    """
    planned, pages = {chapter.name: chapter for chapter in CHAPTERS}, []
    for path in sorted(Path(folder).glob("[0-9][0-9]_*.py")):
        if path.stem not in planned:
            raise CourseError(
                "belongs to no planned chapter", path=path, mend="see course_lib/publishing/curriculum.py"
            )
        pages.append(_page(planned[path.stem], path))
    return tuple(pages)


def _page(chapter: Chapter, path: Path) -> Page:
    text = path.read_text(encoding="utf-8")
    title = re.search(r"^# # (?:\d\d\W+)?(.+)$", text, re.MULTILINE)
    minutes = re.search(r"(\d+) min", text)
    promise = re.search(r"[Yy]ou will be able to\W*?(?:\n#)*\s*[-*]?\s*(\w.+)", text)
    if not (title and minutes and promise):
        raise CourseError("the header lacks a title, “You will be able to” or the minutes", path=path, mend="add them")
    return Page(chapter, title[1].split(":")[0].strip(), _clause(promise[1]), int(minutes[1]))


def _clause(text: str) -> str:
    """The first promise without closing marks."""
    return re.split(r"[;.]\s*$|; ", text.strip())[0].rstrip(".;,:")
