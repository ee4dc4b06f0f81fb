"""Each number of docs/negative_results.md is the one that its commit recorded, and each entry has all parts."""

from __future__ import annotations

import json
import re
import subprocess
from functools import cache

import pytest

from course_lib.storage.files import ROOT

TEXT = (ROOT / "docs" / "negative_results.md").read_text(encoding="utf-8")
NUMBER = r"-?[\d.]+"
QUOTED = re.compile(
    rf"`(?P<file>\w+\.json)@(?P<commit>[0-9a-f]{{7}}) (?P<key>[^`]+?) = (?P<value>{NUMBER})"
    rf"(?: \[(?P<low>{NUMBER}), (?P<high>{NUMBER})\])?`"
)
QUOTES = [match.groupdict() for match in QUOTED.finditer(TEXT.replace("\n", " "))]


@cache
def recorded(commit: str, file: str) -> dict:
    """A result as a commit recorded it."""
    command = ["git", "show", f"{commit}:benchmarks/results/{file}"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8", check=False)
    if result.returncode:
        pytest.skip("the history is not here (a download or a shallow clone)")
    return json.loads(result.stdout)


def value_of(result: dict, key: str) -> dict:
    """The figure named ``key``, or the field of a ledger's row, ``row/field``: a dict with value, low, high."""
    if "/" not in key:
        return result["figures"][key]
    name, field = key.split("/")
    (row,) = [row for row in result["ledger"]["rows"] if row["name"] == name]
    return row[field] if isinstance(row[field], dict) else {"value": row[field]}


@pytest.mark.parametrize("quote", QUOTES, ids=lambda quote: f"{quote['file']}-{quote['key']}".replace(" ", "_"))
def test_a_number_is_the_one_that_was_recorded(quote):
    figure = value_of(recorded(quote["commit"], quote["file"]), quote["key"])
    for name in ("value", "low", "high"):
        if quote[name] is not None:
            decimals = len(quote[name].partition(".")[2])
            assert quote[name] == f"{figure[name]:.{decimals}f}", name


def test_every_quoted_number_is_read_by_these_tests():
    assert len(QUOTES) == TEXT.count(".json@") > 40


def test_each_entry_is_dated_and_says_question_deed_finding_and_both_conclusions():
    entries = TEXT.split("\n## ")[1:]
    dates = [entry[:10] for entry in entries]
    assert dates == sorted(dates, reverse=True)
    for entry in entries:
        assert re.match(r"\d{4}-\d\d-\d\d: \S", entry)
        for part in ("Question", "Done", "Found", "Follows", "Does not follow"):
            assert f"**{part}" in entry, (entry.splitlines()[0], part)
