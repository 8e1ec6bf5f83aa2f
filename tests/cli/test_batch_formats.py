"""Inputs and outputs of `flexllm batch` in every format, through the command."""

from __future__ import annotations

import csv
import gzip
import json

import pytest
from openai.types.chat import ChatCompletion

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

ROWS = [{"prompt": f"question {number}", "id": str(number)} for number in range(30)]


def as_jsonl(path):
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))


def as_gzip(path):
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in ROWS).encode()))


def as_table(delimiter):
    def write(path):
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, ["prompt", "id"], delimiter=delimiter)
            writer.writeheader()
            writer.writerows(ROWS)

    return write


def as_parquet(path):
    parquet.write_table(pyarrow.Table.from_pylist(ROWS), path, row_group_size=7)


def as_openai_batch(path):
    path.write_text("".join(
        json.dumps({"custom_id": row["id"], "method": "POST", "url": "/v1/chat/completions",
                    "body": {"model": "m", "messages": [{"role": "user", "content": row["prompt"]}]}}) + "\n"
        for row in ROWS
    ))  # fmt: skip


@pytest.mark.parametrize(
    ("name", "write", "field"),
    [
        ("in.jsonl", as_jsonl, "id"),
        ("in.jsonl.gz", as_gzip, "id"),
        ("in.csv", as_table(","), "id"),
        ("in.tsv", as_table("\t"), "id"),
        ("in.parquet", as_parquet, "id"),
        ("batch.jsonl", as_openai_batch, "custom_id"),
    ],
)
def test_every_input_format_is_answered_and_resumed(cli, files, mock, tmp_path, name, write, field):
    """The same rows in each format; a second run asks nothing."""
    write(tmp_path / name)
    command = ("batch", tmp_path / name, "-o", files.output, "-m", "m", "--base-url", mock.base_url)
    assert cli(*command).returncode == 0
    lines = files.lines()
    assert [line["metadata"] for line in lines] == [{field: row["id"]} for row in ROWS]
    assert [line["input"][0]["content"] for line in lines] == [row["prompt"] for row in ROWS]
    assert cli(*command).returncode == 0
    assert mock.requests() == len(ROWS)


def test_openai_lines_out_are_what_openais_library_reads(cli, files, mock):
    """OpenAI batch in, OpenAI batch out: custom ids kept, bodies that its own types accept."""
    as_openai_batch(files.input)
    command = ("batch", files.input, "-o", files.output, "-m", "m", "--base-url", mock.base_url,
               "--output-format", "openai")  # fmt: skip
    assert cli(*command).returncode == 0
    lines = files.lines()
    assert [line["custom_id"] for line in lines] == [row["id"] for row in ROWS]
    for line in lines:
        body = ChatCompletion.model_validate(line["response"]["body"], strict=True)
        assert body.choices[0].message.content
        assert body.usage is not None
        assert body.usage.total_tokens == body.usage.prompt_tokens + body.usage.completion_tokens
    before = files.output.read_bytes()
    assert cli(*command).returncode == 0
    assert files.output.read_bytes() == before
    assert mock.requests() == len(ROWS)


def test_a_manifest_tells_what_was_run(cli, files, mock):
    """Beside the output, without the key; not with --no-manifest."""
    files.write_input(ROWS)
    manifest = files.output.with_name("out.jsonl.run.json")
    key = "sk-abcdefghijklmnopqrstuvwxyz"
    system = f"my key is {key}"
    command = ("batch", files.input, "-o", files.output, "-m", "m", "--base-url", mock.base_url, "-s", system)
    environment = {"FLEXLLM_API_KEY": key}
    assert cli(*command, "--no-manifest", env=environment).returncode == 0
    assert not manifest.exists()
    assert cli(*command, "-t", "0", env=environment).returncode == 5
    assert not manifest.exists()
    assert cli(*command, env=environment).returncode == 0
    text = manifest.read_text()
    assert key not in text
    (found,) = json.loads(text)["runs"]
    assert (found["outcome"], found["resumed"], found["model"]) == ("complete", 30, "m")
    assert found["endpoints"][0]["base_url"] == mock.base_url
    assert found["inputs"][0]["path"] == str(files.input)
