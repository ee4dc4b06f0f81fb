"""The doctor's report: as text, as HTML in a notebook, as JSON in a file."""

from __future__ import annotations

import html
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from course_lib.errors import CourseError
from course_lib.quantization.doctor.answers import Answers, Flips
from course_lib.quantization.doctor.finding import Finding
from course_lib.quantization.doctor.layers import LayerRow
from course_lib.storage.files import atomic_path

FORMAT = 1


@dataclass(frozen=True)
class Report:
    """What was found in two models.

    Args:
        reference: its name.
        suspect: its name.
        images: on which answers were compared.
        looked_at: of these, on which layers were compared.
        logits_db: signal to noise of the suspect's logits, in dB.
        answers: which flipped.
        layers: of both, in the order of execution; none if they could not be matched.
        findings: the gravest first.
        unmatched: why layers could not be compared; "" if they were.
    """

    reference: str
    suspect: str
    images: int
    looked_at: int
    logits_db: float
    answers: Answers
    layers: tuple[LayerRow, ...]
    findings: tuple[Finding, ...]
    unmatched: str

    @property
    def healthy(self) -> bool:
        """Whether no finding is more than a note."""
        return all(found.severity == "note" for found in self.findings)

    @property
    def first_broken(self) -> str | None:
        """The first layer that is wrong although what it reads is right; None if there is none."""
        return next((row.name for row in self.layers if row.broken), None)

    def __str__(self) -> str:
        return "\n".join([*self._summary(), "", *self._findings(), *self._table()])

    def _summary(self) -> list[str]:
        answers = self.answers
        lines = [
            f"{self.suspect} beside {self.reference}, {self.images} images",
            f"answers: {answers.all}, agreement {answers.all.agreement:.2%}; logits {self.logits_db:.1f} dB",
        ]
        if answers.reference_accuracy is not None and answers.suspect_accuracy is not None:
            lines.append(f"right:   {answers.reference_accuracy:.2%} before, {answers.suspect_accuracy:.2%} now")
        for name, parts in (("classes", answers.by_class), ("slices", answers.by_slice)):
            worst = sorted((p for p in parts.items() if p[1].flipped), key=lambda p: -p[1].flipped)[:3]
            if worst:
                told = ", ".join(f"{key} ({flips.flipped} of {flips.images})" for key, flips in worst)
                lines.append(f"{name} with most flips: {told}")
        if self.unmatched:
            lines.append(f"layers:  not compared: {self.unmatched}")
        else:
            lines.append(f"first layer that breaks, alone: {self.first_broken or 'none'}")
        return lines

    def _findings(self) -> list[str]:
        lines = [f"{number}. {found}" for number, found in enumerate(self.findings, 1)]
        return [*lines, ""] if lines else ["nothing found", ""]

    def _table(self) -> list[str]:
        if not self.layers:
            return []
        width = max(len(row.name) for row in self.layers)
        lines = [f"{'layer':{width}}  alone dB  together dB  weights dB   bits  range used  clipped  dead"]
        for row in self.layers:
            weights = "" if row.weight_db is None else f"{row.weight_db:.1f}"
            bits = "" if row.weight_bits is None else f"{row.weight_bits:.1f}"
            used = "float" if row.ends is None else f"{row.used:.0%}"
            lines.append(
                f"{row.name:{width}}  {row.alone_db:8.1f}  {row.together_db:11.1f}  {weights:>10}  {bits:>5}"
                f"  {used:>10}  {row.clipped_low + row.clipped_high:7.2%}  {row.dead or '':>4}"
            )
        return lines

    def _repr_html_(self) -> str:
        lines = "".join(f"<p>{html.escape(line)}</p>" for line in self._summary())
        found = "".join(
            f"<li><b>{html.escape(one.severity)}: {html.escape(one.kind)}</b> {html.escape(one.where)}<br>"
            f"{html.escape(one.evidence)}<br><i>{html.escape(one.mend)}</i></li>"
            for one in self.findings
        )
        table = html.escape("\n".join(self._table()))
        return f"<div>{lines}<ol>{found}</ol><pre>{table}</pre></div>"

    def save(self, path: str | Path) -> Path:
        """Write the report as JSON. Raises: CourseError: the folder cannot be written."""
        with atomic_path(path) as part:
            part.write_text(json.dumps({"format": FORMAT, **asdict(self)}, indent=1), encoding="utf-8")
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> Report:
        """Read a report. Raises: CourseError: the file is missing or holds no report."""
        try:
            found = json.loads(Path(path).read_text(encoding="utf-8"))
            if found.pop("format") != FORMAT:
                raise ValueError("another format")
            answers = found["answers"]
            answers["all"] = Flips(**answers["all"])
            for key in ("by_class", "by_slice"):
                answers[key] = {name: Flips(**flips) for name, flips in answers[key].items()}
            answers["changes"] = tuple(tuple(change) for change in answers["changes"])
            found["answers"] = Answers(**answers)
            found["layers"] = tuple(
                LayerRow(**{**row, "ends": row["ends"] and tuple(row["ends"])}) for row in found["layers"]
            )
            found["findings"] = tuple(Finding(**one) for one in found["findings"])
            return cls(**found)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise CourseError(
                f"no report of the doctor ({error})", path=path, mend="diagnose and save again"
            ) from error
