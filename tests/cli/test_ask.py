"""What `flexllm ask` takes and gives beside plain text."""

from __future__ import annotations

import json
import re
import struct
import subprocess
import sys
import zlib

import pexpect
import pytest

HOSTILE = "\x1b[2J\x1b]52;c;YmFk\x07"


@pytest.fixture
def ask(cli, mock):
    """Ask the mock a question with options."""

    def call(*args: object, model: str = "echo", **options: object):
        return cli("ask", *args, "-m", model, "--base-url", mock.base_url, **options)

    return call


def png() -> bytes:
    """An image of one pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0\xff\0\0")) + chunk(b"IEND", b"")
    )


def test_text_files_go_before_the_question(ask, tmp_path):
    """Each with its name; a byte order mark is no text."""
    one, two = tmp_path / "one.py", tmp_path / "two.txt"
    one.write_text("print(1)\n")
    two.write_bytes(b"\xef\xbb\xbf\xe4\xbd\xa0\n")
    done = ask("What is this?", "-f", one, "-f", two)
    assert done.stdout == (
        '<file name="one.py">\nprint(1)\n</file>\n\n<file name="two.txt">\n你\n</file>\n\nWhat is this?\n'
    )
    assert ask("-f", one).stdout == '<file name="one.py">\nprint(1)\n</file>\n'


def test_an_image_becomes_a_part_of_the_message(tmp_path):
    """Known by its bytes, whatever it is called."""
    from flexllm_cli.attachments import user_message

    image, text = tmp_path / "image.txt", tmp_path / "note.md"
    image.write_bytes(png())
    text.write_text("a note")
    part, words = user_message("What is this?", [image, text])["content"]
    assert part["type"] == "image_url"
    assert part["image_url"]["url"].startswith("data:image/png;base64,")
    assert words == {"type": "text", "text": '<file name="note.md">\na note\n</file>\n\nWhat is this?'}


def test_an_image_is_sent(ask, mock, tmp_path):
    """And answered."""
    image = tmp_path / "image.png"
    image.write_bytes(png())
    done = ask("What is this?", "-f", image, model="m")
    assert done.returncode == 0, done.stderr
    assert mock.requests() == 1


@pytest.mark.parametrize("data", [b"\xff\xfe\x00\x01\x02", b"text\x00text"], ids=["no text", "binary"])
def test_files_that_are_nothing_known_are_refused(ask, mock, tmp_path, data):
    """Before anything is sent."""
    file = tmp_path / "file.bin"
    file.write_bytes(data)
    done = ask("Hello", "-f", file)
    assert done.returncode == 2
    assert "file.bin" in done.stderr
    assert mock.requests() == 0


def test_standard_input_that_is_no_text_is_refused(cli, mock):
    """With what to do instead."""
    done = subprocess.run(
        [sys.executable, "-m", "flexllm_cli", "ask", "-m", "m", "--base-url", mock.base_url],
        input=b"\x89PNG\xff\xfe", env={**cli.environment(), "PYTHONUTF8": "1"}, capture_output=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert b"--file" in done.stderr


def test_only_the_code_is_given_on_request(ask, mock):
    """The first block's content; where there is none, all of it, with a warning."""
    mock.post("/__mock__/faults", [{"answer": "Here:\n```python\nprint(1)\n```\nand\n```\nno\n```\n", "times": 1}])
    done = ask("code", "-x")
    assert (done.stdout, done.stderr) == ("print(1)\n", "")
    done = ask("no code", "-x")
    assert done.stdout == "no code\n"
    assert "no code block" in done.stderr


def test_an_answer_as_json(ask):
    """One object with the answer, usage and times."""
    answer = json.loads(ask("Hello", "--format", "json").stdout)
    assert answer["output"] == "Hello"
    assert answer["usage"]["completion_tokens"] > 0
    assert answer["finish_reason"] == "stop"
    assert answer["cost"] is None


def test_usage_is_said_beside_the_answer(ask):
    """On stderr."""
    done = ask("Hello", "--usage")
    assert done.stdout == "Hello\n"
    assert re.search(r"\d+ tokens in · \d+ out · cost unknown · first token \d", done.stderr)


def test_a_cut_answer_is_warned_of(ask):
    """The limit is named."""
    done = ask("one two three four five six seven eight nine ten", "--max-tokens", 3)
    assert done.returncode == 0
    assert "--max-tokens" in done.stderr


SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}},
    "required": ["name"],
    "additionalProperties": False,
}


def test_a_schema_is_asked_for_and_held_against_the_answer(ask, mock, tmp_path):
    """From a file or written out; an answer that breaks it is shown, and is a failure."""
    pytest.importorskip("jsonschema")
    file = tmp_path / "schema.json"
    file.write_text(json.dumps(SCHEMA))
    for value in (file, json.dumps(SCHEMA)):
        done = ask("Who?", "--schema", value, model="m")
        assert done.returncode == 0, done.stderr
        assert list(json.loads(done.stdout)) == ["name"]
    mock.post("/__mock__/faults", [{"answer": '{"name": 1}'}])
    done = ask("Who?", "--schema", file, model="m")
    assert done.returncode == 1
    assert done.stdout == '{"name": 1}\n'
    assert "--schema" in done.stderr


def test_an_answer_is_streamed_to_a_terminal(spawn, start_mock):
    """Its beginning is there long before its end."""
    slow = start_mock("--token-rate", "20")
    words = [f"word{number}" for number in range(30)]
    terminal = spawn("ask", " ".join(words), "-m", "echo", "--base-url", slow.base_url)
    terminal.expect("word0 ")
    assert terminal.isalive()
    assert "word29" not in terminal.before + terminal.after + terminal.buffer
    terminal.expect("word29\r\n")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0


def test_ctrl_c_ends_the_answer_and_the_program(spawn, start_mock):
    """With the exit code of the signal, and no traceback."""
    slow = start_mock("--token-rate", "5")
    terminal = spawn("ask", "one two three four five six", "-m", "echo", "--base-url", slow.base_url)
    terminal.expect("one two")
    terminal.sendintr()
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 130
    assert "Traceback" not in terminal.before


def test_a_very_long_hostile_line_is_shown_harmless(on_terminal, cli, start_mock):
    """Two hundred thousand characters with an escape sequence at the end of each thousand; piped they are exact."""
    mock = start_mock()
    answer = ("x" * 990 + HOSTILE) * 200
    mock.post("/__mock__/faults", [{"answer": answer}])
    shown, code = on_terminal("ask", "Hello", "-m", "m", "--base-url", mock.base_url)
    assert code == 0
    assert "\x1b" not in shown
    assert shown.count("\\x1b]52;c;YmFk\\x07") == 200
    assert cli("ask", "Hello", "-m", "m", "--base-url", mock.base_url).stdout == answer + "\n"


def test_half_a_character_does_not_end_the_program(on_terminal, mock):
    """A lone surrogate, which JSON can hold and no terminal can show."""
    mock.post("/__mock__/faults", [{"answer": "before \ud83d after"}])
    shown, code = on_terminal("ask", "Hello", "-m", "m", "--base-url", mock.base_url)
    assert code == 0
    assert shown == "before \\ud83d after\r\n"
