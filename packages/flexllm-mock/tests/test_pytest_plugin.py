"""The pytest plugin, in test runs of other projects."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys

import pytest

HEAD = """
import json, urllib.request
import pytest
from flexllm_mock import FaultRule

def ask(server, content="a"):
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": content}]}).encode()
    with urllib.request.urlopen(server.base_url + "/chat/completions", body) as response:
        return json.load(response)["choices"][0]["message"]["content"]
"""


@pytest.fixture
def run_tests(tmp_path):
    """Runs the tests of a text as another project does, and returns what pytest printed and its exit code."""

    def run(text, *options, conftest=""):
        (tmp_path / "test_it.py").write_text(HEAD + text)
        (tmp_path / "conftest.py").write_text(conftest)
        (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers\n")
        command = [sys.executable, "-m", "pytest", "-W", "error", "-p", "no:cacheprovider", *options, str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path)
        return done.stdout + done.stderr

    return run


def counts(printed):
    """How many tests passed, failed and so on."""
    return {what: int(number) for number, what in re.findall(r"(\d+) (passed|failed|error)", printed.splitlines()[-1])}


def test_marker_gives_options(run_tests):
    """Options and faults of the marker reach the server; a marker on the test wins over one on its class."""
    printed = run_tests("""
@pytest.mark.flexllm_mock(models=("a",), seed=1)
class TestThem:
    @pytest.mark.flexllm_mock(seed=2, faults=[FaultRule(answer="one", times=1), {"answer": "two"}])
    def test_both(self, flexllm_mock):
        assert (flexllm_mock.config.seed, flexllm_mock.config.models) == (2, ("a",))
        assert [ask(flexllm_mock) for _ in range(3)] == ["one", "two", "two"]

    def test_class_only(self, flexllm_mock):
        assert flexllm_mock.config.seed == 1

def test_none(flexllm_mock):
    assert flexllm_mock.config.seed == 0
""")
    assert counts(printed) == {"passed": 3}


def test_session_server_is_one_and_begins_anew(run_tests):
    """The session's server stays the same; faults and requests of one test are not there in the next."""
    printed = run_tests(
        """
urls = set()

@pytest.mark.parametrize("number", range(3))
def test_it(flexllm_mock_session, number):
    urls.add(flexllm_mock_session.url)
    assert len(urls) == 1
    assert flexllm_mock_session.stats().requests == 0
    assert ask(flexllm_mock_session) == "from the options"
    flexllm_mock_session.add_fault(FaultRule(answer="left behind"))
    assert ask(flexllm_mock_session) == "left behind"
    assert flexllm_mock_session.config.seed == 9
""",
        conftest="""
import pytest
from flexllm_mock import FaultRule

@pytest.fixture(scope="session")
def flexllm_mock_options():
    return {"seed": 9, "faults": [FaultRule(answer="from the options", times=1)]}
""",
    )
    assert counts(printed) == {"passed": 3}


def test_marker_asks_for_a_verdict(run_tests):
    """A test whose client misbehaves fails, not its teardown, and the message says what the client did."""
    printed = run_tests("""
@pytest.mark.flexllm_mock(verdict=True)
def test_bad(flexllm_mock):
    ask(flexllm_mock)
    ask(flexllm_mock)

@pytest.mark.flexllm_mock(verdict={"duplicates": 1})
def test_allowed(flexllm_mock):
    ask(flexllm_mock)
    ask(flexllm_mock)

@pytest.mark.flexllm_mock(verdict=True)
def test_session(flexllm_mock_session):
    ask(flexllm_mock_session)

@pytest.mark.flexllm_mock(verdict=True)
def test_that_fails_anyway(flexllm_mock):
    assert ask(flexllm_mock) == ask(flexllm_mock) == "its own reason"
""")
    assert counts(printed) == {"passed": 2, "failed": 2}
    assert "the mock server's verdict on the client: 1 failed" in printed
    assert "FAIL  duplicates: 1 requests" in printed
    assert "its own reason" in printed


WRONG_MARKERS = {
    "colour=1": "there is no option 'colour'; there are faults, host, port",
    "fautls=[]": "there is no option 'fautls'; did you mean 'faults'?",
    "fixtures=[{'mach': {}, 'answer': 'x'}]": "flexllm_mock: fixtures[0]: mach: unknown key 'mach'",
    "replay='nothing.jsonl'": "flexllm_mock: nothing.jsonl: No such file or directory",
    "log_file='no/folder/log.jsonl'": "No such file or directory: 'no/folder/log.jsonl'",
    "delay=-1": "delay must be a number of seconds",
    "faults=[{'status': 1}]": "status must be 200 to 599",
    "faults=5": "not iterable",
    "3": "give options as keywords, not 3",
    "verdict=5": "verdict must be True or a dict of limits by rule, not 5",
    "verdict={'x': 1}": "there is no rule 'x'",
}


def test_wrong_markers_are_said_in_a_line(run_tests):
    """A marker that makes no sense fails the test with a message, not with a traceback."""
    tests = [
        f"@pytest.mark.flexllm_mock({marker})\ndef test_{number}(flexllm_mock):\n    pass\n"
        for number, marker in enumerate(WRONG_MARKERS)
    ]
    printed = run_tests("".join(tests))
    assert sum(counts(printed).values()) == len(tests)
    assert "passed" not in counts(printed)
    for problem in WRONG_MARKERS.values():
        assert problem in printed
    for trace in ("Traceback", "pytest_plugin.py", "another exception"):
        assert trace not in printed


def test_verdict_without_a_server_is_an_error(run_tests):
    """A marker that asks for a verdict on a test without a server is not passed over."""
    printed = run_tests("@pytest.mark.flexllm_mock(verdict=True)\ndef test_it():\n    pass\n")
    assert counts(printed) == {"failed": 1}
    assert "uses no mock server" in printed


@pytest.mark.skipif(importlib.util.find_spec("xdist") is None, reason="pytest-xdist is not installed")
def test_works_under_xdist(run_tests):
    """Each worker has its own servers, and the tests see only what they did themselves."""
    printed = run_tests(
        """
@pytest.mark.parametrize("number", range(20))
def test_own(flexllm_mock, number):
    ask(flexllm_mock, str(number))
    assert flexllm_mock.stats().requests == 1

@pytest.mark.parametrize("number", range(20))
def test_shared(flexllm_mock_session, number):
    ask(flexllm_mock_session, str(number))
    assert flexllm_mock_session.stats().requests == 1
""",
        "-n",
        "2",
    )
    assert counts(printed) == {"passed": 40}
