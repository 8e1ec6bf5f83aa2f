"""The JSONL inputs of the commands, and the check of their outputs."""

from __future__ import annotations

import json
from pathlib import Path

from workers.job import prompt, user_message


class WrongAnswersError(Exception):
    """A run that did not answer every row once."""


def input_file(folder: Path, rows: int) -> Path:
    """A JSONL file of so many rows in `folder`; made on the first call."""
    path = folder / f"in-{rows}.jsonl"
    if not path.exists():
        with path.open("w", encoding="utf-8") as file:
            for index in range(rows):
                row = {"id": f"row-{index:08d}", "messages": user_message(prompt(index))}
                file.write(json.dumps(row) + "\n")
    return path


def check_output(path: Path, rows: int) -> None:
    """Check that an output file has one good line for each row.

    Raises:
        WrongAnswersError: It has not.
    """
    seen = bytearray(rows)
    with path.open("rb") as file:
        for line in file:
            row = json.loads(line)
            if row["status"] != "success" or not row["output"]:
                raise WrongAnswersError(f"row {row['index']} has no answer: {line[:300]!r}")
            seen[row["index"]] += 1
    wrong = rows - seen.count(1)
    if wrong:
        raise WrongAnswersError(f"{wrong} of {rows} rows are not in the output exactly once")


def check_count(printed: str, rows: int) -> None:
    """Check what a worker has printed: how many rows it has answered.

    Raises:
        WrongAnswersError: Not all of them.
    """
    last = printed.strip().rpartition("\n")[2]
    if last != str(rows):
        raise WrongAnswersError(f"{last!r} of {rows} rows were answered")
