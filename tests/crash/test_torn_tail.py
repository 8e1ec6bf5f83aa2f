"""The output cut at any of its last bytes: the next run repairs it and is complete."""

from __future__ import annotations

import pytest

from flexllm import Batch, BatchSettings, LLMClient
from flexllm_batch.inputs.json_source import JsonLines

ROWS = 12
CUTS = 400


@pytest.fixture
def settings(files) -> BatchSettings:
    return BatchSettings(model="m", window=4, output=files.output)


async def test_any_cut_of_the_last_400_bytes_is_repaired(mock, files, settings):
    """Whatever was cut off, the result is complete and valid, and at most the torn row is asked again."""
    files.write_input([{"q": f"question {number}", "id": number} for number in range(ROWS)])
    async with LLMClient(model="m", base_url=mock.base_url) as client:

        async def run() -> None:
            batch = Batch(client.chat_model, JsonLines(files.input), settings)
            await batch.prepare()
            await batch.run()

        await run()
        whole, expected = files.output.read_bytes(), files.answers()
        assert len(whole) > CUTS
        for cut in range(1, CUTS + 1):
            files.output.write_bytes(whole[:-cut])
            torn = len(expected) - whole[:-cut].count(b"\n")
            asked = mock.requests()
            await run()
            assert files.answers() == expected, f"cut of {cut} bytes"
            assert mock.requests() - asked <= torn, f"cut of {cut} bytes"


@pytest.mark.parametrize("cut", [1, 2, 3, 40, 200, 333])
def test_the_command_repairs_a_cut_too(mock, cli, files, cut):
    """The command line does the same, and says that it cut a torn line off."""
    files.write_input([{"q": f"question {number}"} for number in range(ROWS)])
    command = ("batch", files.input, "-o", files.output, "-m", "m", "--base-url", mock.base_url)
    assert cli(*command).returncode == 0
    expected = files.answers()
    files.output.write_bytes(files.output.read_bytes()[:-cut])
    again = cli(*command)
    assert again.returncode == 0
    assert files.answers() == expected
    assert mock.requests() <= ROWS + 1
    if cut > 1:
        assert "torn" in again.stderr
