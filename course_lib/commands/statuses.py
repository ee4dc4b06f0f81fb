"""The exit statuses of ``course``; ``boundary`` says what each means."""

from __future__ import annotations

MENDED_BY_LEARNER = 2
OWN_FAULT = 70  # EX_SOFTWARE of sysexits.h
STOPPED = 130  # 128 + SIGINT
CLOSED_PIPE = 141  # 128 + SIGPIPE
