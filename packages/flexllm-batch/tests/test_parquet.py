"""Parquet files as inputs: nested columns, row groups, and files that are none."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest

from flexllm_batch.inputs.records import RowShape
from flexllm_batch.inputs.sources import open_source, read_records
from flexllm_core.errors import InputError

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


def write(path: Path, rows: list[dict[str, Any]], **options: Any) -> Path:
    parquet.write_table(pyarrow.Table.from_pylist(rows), path, **options)
    return path


def test_nested_messages_are_read_without_the_nulls_of_their_structs(tmp_path: Path) -> None:
    """A field that only some messages have is null in the others, and is not sent for them."""
    rows = [
        {"id": 1, "messages": [{"role": "system", "content": "be short"}, {"role": "user", "content": "hi"}]},
        {"id": 2, "messages": [{"role": "user", "content": "hi", "name": "ann"}]},
    ]
    schema = pyarrow.schema({"id": pyarrow.int64(), "messages": pyarrow.list_(pyarrow.struct(
        {"role": pyarrow.string(), "content": pyarrow.string(), "name": pyarrow.string()}))})  # fmt: skip
    parquet.write_table(pyarrow.Table.from_pylist(rows, schema), tmp_path / "in.parquet")
    records = list(read_records(open_source(tmp_path / "in.parquet"), RowShape()))
    assert [record.messages for record in records] == [row["messages"] for row in rows]
    assert [record.metadata for record in records] == [{"id": 1}, {"id": 2}]


def test_params_and_batch_bodies_may_be_structs(tmp_path: Path) -> None:
    """Rows with their own params, and OpenAI's batch lines, as nested columns."""
    path = write(tmp_path / "in.parquet", [{"q": "a", "params": {"temperature": 0.5}}, {"q": "b", "params": None}])
    first, second = read_records(open_source(path), RowShape())
    assert (first.params, second.params) == ({"temperature": 0.5}, {})
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 9}
    path = write(tmp_path / "batch.parquet", [{"custom_id": "a", "body": body}])
    (record,) = read_records(open_source(path), RowShape())
    assert (record.model, record.params, record.metadata) == ("m", {"max_tokens": 9}, {"custom_id": "a"})


async def test_metadata_of_any_type_stand_in_the_output(
    tmp_path: Path, make_model: Any, run_batch: Any, read_lines: Any
) -> None:
    """Dates, bytes and NaN are written as JSON, and a resume recognises the rows again."""
    row = {"q": "x", "day": datetime.date(2026, 1, 2), "score": float("nan"), "raw": b"abc"}
    source, output = write(tmp_path / "in.parquet", [row]), tmp_path / "out.jsonl"
    from flexllm_batch import Batch, BatchSettings

    model = make_model()
    for _ in range(2):
        batch = Batch(model, open_source(source), BatchSettings(model="m", output=output))
        await batch.prepare()
        await batch.run()
    (line,) = read_lines(output)
    assert line["metadata"] == {"day": "2026-01-02", "score": None, "raw": "abc"}
    assert len(model.asked) == 1


def test_many_row_groups_are_read_in_order(tmp_path: Path) -> None:
    """Rows of all groups, numbered through; no group is read before its turn."""
    path = write(tmp_path / "in.parquet", [{"q": str(number)} for number in range(1000)], row_group_size=100)
    assert parquet.ParquetFile(path).num_row_groups == 10
    records = list(read_records(open_source(path), RowShape()))
    assert [record.messages[0]["content"] for record in records] == [str(number) for number in range(1000)]
    assert [record.index for record in read_records(open_source(path), RowShape(), 3)] == [0, 1, 2]


@pytest.mark.parametrize("content", [b"", b"not parquet", b"PAR1" + b"\0" * 50 + b"PAR1"])
async def test_what_is_not_parquet_is_a_bad_row(
    tmp_path: Path, make_model: Any, run_batch: Any, content: bytes
) -> None:
    """The error names the file and says what was expected; nothing is sent."""
    path = tmp_path / "in.parquet"
    path.write_bytes(content)
    (record,) = read_records(open_source(path), RowShape())
    assert isinstance(record.error, InputError)
    assert "in.parquet, line 1: cannot be read as Parquet" in str(record.error)


def test_a_damaged_row_group_ends_in_an_error(tmp_path: Path) -> None:
    """Rows before the damage are read, the damage is the last row."""
    rows = [{"q": f"{number}" * 50} for number in range(1000)]
    path = write(tmp_path / "in.parquet", rows, row_group_size=500, compression="snappy", use_dictionary=False)
    start = parquet.ParquetFile(path).metadata.row_group(1).column(0).data_page_offset
    data = bytearray(path.read_bytes())
    data[start : start + 200] = b"\xff" * 200
    path.write_bytes(data)
    records = list(read_records(open_source(path), RowShape()))
    assert len(records) > 200
    assert all(record.error is None for record in records[:-1])
    assert "cannot be read as Parquet" in str(records[-1].error)
