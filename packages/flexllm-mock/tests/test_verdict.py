"""The verdict: each rule with a client that breaks it and one that does not, in virtual time."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexllm_mock import FaultMatch, FaultRule, MockApp, MockConfig
from flexllm_mock.app import CONNECTION_STATE
from flexllm_mock.verdict.conduct import Conduct, Example
from flexllm_mock.verdict.verdict import RULES, checked_limits, judge, limit_from_text, only

TOO_MANY = {"status": 429, "headers": {"retry-after": "2"}}
STRICT = {"shared_pause_ignored": 0, "requests": 4, "connections": 1, "peak_concurrency": 2, "rate_peak": 4}


@dataclass(eq=False)
class Connection:
    """One connection of a client; the server may close it."""

    closed: asyncio.Event = field(default_factory=asyncio.Event)

    def close(self):
        self.closed.set()

    abort = close


class Client:
    """Sends requests to an application in this process, and takes the status of the answer for the whole of it."""

    def __init__(self, app, key="sk-one"):
        self.app, self.key = app, key
        self.connection = Connection()

    async def ask(self, content="Hello", *, connection=None, query=b"", path="/v1/chat/completions", **options):
        connection = connection or self.connection
        body = {"model": "mock", "messages": [{"role": "user", "content": content}], **options}
        unread = [{"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}]
        sent = []

        async def receive():
            if unread:
                return unread.pop()
            await connection.closed.wait()
            return {"type": "http.disconnect"}

        async def send(message):
            sent.append(message)

        headers = [(b"authorization", b"Bearer " + self.key.encode())]
        state = {CONNECTION_STATE: connection}
        scope = {"type": "http", "method": "POST", "path": path, "query_string": query}
        await self.app({**scope, "headers": headers, "state": state}, receive, send)
        if connection.closed.is_set():
            self.connection = Connection()
        return sent[0]["status"] if sent else None

    async def ask_until_answered(self, content="Hello", *, pause, tries=20, **options):
        for attempt in range(tries):
            if await self.ask(content, **options) == 200:
                return
            await asyncio.sleep(pause(attempt))


async def asks_twice(client):
    await client.ask("a")
    await client.ask("a")


async def asks_each_once(client):
    for content in "abc":
        await client.ask(content)


async def asks_again_while_it_waits(client):
    async with asyncio.TaskGroup() as group:
        group.create_task(client.ask("a"))
        await asyncio.sleep(0.5)
        group.create_task(client.ask("a", connection=Connection()))


async def gives_up_and_asks_again(client):
    first = asyncio.create_task(client.ask("a", connection=(left := Connection())))
    await asyncio.sleep(0.5)
    second = asyncio.create_task(client.ask("a"))  # is seen before the end of the connection that was given up
    await asyncio.sleep(0.1)
    left.close()
    await asyncio.gather(first, second)


async def retries_forever(client):
    await client.ask_until_answered(pause=lambda _: 1.5)


async def retries_seldom(client):
    await client.ask_until_answered(pause=lambda _: 1.5, tries=4)


async def retries_at_once(client):
    await client.ask_until_answered(pause=lambda _: 0.01, tries=8)


async def backs_off(client):
    await client.ask_until_answered(pause=lambda attempt: 0.2 * 2**attempt, tries=8)


async def comes_too_early(client):
    await client.ask_until_answered(pause=lambda _: 1)


async def waits_as_told(client):
    await client.ask_until_answered(pause=lambda _: 2)


async def goes_on_with_others(client):
    await client.ask("a")
    await asyncio.sleep(1)
    await client.ask("b", connection=Connection())
    await asyncio.sleep(1)
    await client.ask("a")


async def pauses_altogether(client):
    async with asyncio.TaskGroup() as group:
        group.create_task(client.ask("a"))
        await asyncio.sleep(0.1)  # was on its way when the other was refused
        group.create_task(client.ask("b"))
    await Client(client.app, "sk-two").ask("c", connection=client.connection)
    await asyncio.sleep(2)
    await client.ask("a")


async def takes_what_came(client):
    await client.ask("a", stream=True)


async def asks_for_the_whole(client):
    for _ in range(2):
        await client.ask("a", stream=True)
        await asyncio.sleep(1)


async def puts_its_key_into_the_url(client):
    await client.ask("a", query=b"key=sk-one")


async def connects_each_time(client):
    for content in "abc":
        await client.ask(content, connection=Connection())


async def asks_five(client):
    for number in range(5):
        await client.ask(str(number))


async def asks_five_at_a_time(client):
    await asyncio.gather(*(client.ask(str(number)) for number in range(5)))


async def asks_two_at_a_time(client):
    for pair in ("ab", "cd"):
        await asyncio.gather(*(client.ask(content) for content in pair))


async def asks_slowly(client):
    for number in range(4):
        await client.ask(str(number))
        await asyncio.sleep(1.1)


UNKIND = [FaultRule(status=500)]
TELLS = [FaultRule(**TOO_MANY, times=1)]
TELLS_A = [FaultRule(**TOO_MANY, times=1, match=FaultMatch(contains='"a"'))]
CUTS = [FaultRule(disconnect="mid_body", times=1)]

CASES = [
    ("requests", asks_five, asks_each_once, {}),
    ("duplicates", asks_twice, asks_each_once, {}),
    ("duplicates", asks_again_while_it_waits, gives_up_and_asks_again, {"delay": 2}),
    ("retries_per_failure", retries_forever, retries_seldom, {"faults": UNKIND}),
    ("retry_after_ignored", comes_too_early, waits_as_told, {"faults": TELLS}),
    ("shared_pause_ignored", goes_on_with_others, pauses_altogether, {"faults": TELLS_A}),
    ("retry_storm", retries_at_once, backs_off, {"faults": UNKIND}),
    ("truncated_accepted", takes_what_came, asks_for_the_whole, {"faults": CUTS}),
    ("key_in_url", puts_its_key_into_the_url, asks_each_once, {}),
    ("connections", connects_each_time, asks_each_once, {}),
    ("peak_concurrency", asks_five_at_a_time, asks_two_at_a_time, {"delay": 1}),
    ("rate_peak", asks_five, asks_slowly, {}),
]


def act(run_virtual, behave, *, faults=(), **options):
    """Let a client meet a fresh server, and return what the server saw."""

    async def meet():
        app = MockApp(MockConfig(**options), faults)
        await behave(Client(app))
        return app.log.facts()

    return run_virtual(meet())[0]


@pytest.mark.parametrize(
    ("rule", "breaks", "keeps", "options"), CASES, ids=lambda each: getattr(each, "__name__", None)
)
def test_each_rule_has_a_client_that_breaks_it_and_one_that_keeps_it(run_virtual, rule, breaks, keeps, options):
    """The first fails by this rule, and the second does not."""
    limits = {rule: STRICT[rule]} if rule in STRICT else {}
    bad = judge(act(run_virtual, breaks, **options), limits)
    good = judge(act(run_virtual, keeps, **options), limits)
    assert [each.rule for each in bad.failed] == [rule]
    assert not bad[rule].passed
    assert bad[rule].count > bad[rule].limit
    with pytest.raises(AssertionError, match=rule):
        bad.check()
    assert good.failed == ()
    good.check()


def test_every_rule_is_tried():
    """The cases name each rule."""
    assert {case[0] for case in CASES} == {rule.name for rule in RULES}


def test_examples_name_the_requests(run_virtual):
    """A rule that failed shows the numbers of the requests that broke it, and by how much."""
    early = judge(act(run_virtual, comes_too_early, faults=TELLS))["retry_after_ignored"]
    assert [(each.ordinal, each.note) for each in early.examples] == [
        (2, "came 1.000 s before the time it had been told")
    ]
    cut = judge(act(run_virtual, takes_what_came, faults=CUTS))["truncated_accepted"]
    assert [each.ordinal for each in cut.examples] == [1]
    burst = judge(act(run_virtual, retries_at_once, faults=UNKIND))["retry_storm"]
    assert burst.examples == (Example(8, "retry 7 of its content within 0.060 s"),)


def test_retries_that_were_told_are_no_storm(run_virtual):
    """Who comes as soon as the server has told to come does as it should."""
    told = [FaultRule(status=503, headers={"retry-after-ms": "10"})]
    facts = act(run_virtual, lambda client: client.ask_until_answered(pause=lambda _: 0.01, tries=9), faults=told)
    assert (facts.retries, facts.retry_burst, facts.retry_after_ignored) == (8, 0, 0)


def test_retry_after_counts_from_the_answer(run_virtual):
    """The wait begins when the answer has been sent, not when the request came."""
    told = [FaultRule(status=429, headers={"retry-after": "2"}, delay=3, times=1)]
    assert act(run_virtual, comes_too_early, faults=told).retry_after_ignored == 1
    assert act(run_virtual, waits_as_told, faults=told).retry_after_ignored == 0


def test_pause_that_is_told_again_begins_anew(run_virtual):
    """Others that come while the second refusal is on its way could not know of it."""

    async def comes_in_time_with_others(client):
        await client.ask("a")
        await asyncio.sleep(1.99)
        await client.ask("a")
        await client.ask("b", connection=Connection())

    told = [FaultRule(**TOO_MANY, times=2, match=FaultMatch(contains='"a"'))]
    facts = act(run_virtual, comes_in_time_with_others, faults=told)
    assert (facts.retry_after_ignored, facts.shared_pause_ignored) == (0, 0)


def test_answer_that_a_fault_has_spoilt_may_be_asked_for_again(run_virtual):
    """A 200 that makes no sense is a failure: asking again is a retry and no duplicate, and need not be."""
    spoilt = [FaultRule(raw_body='{"choices": [', times=1)]
    facts = act(run_virtual, asks_twice, faults=spoilt)
    assert (facts.duplicates, facts.failed, facts.retries) == (0, 1, 1)
    assert judge(act(run_virtual, takes_what_came, faults=spoilt)).passed


def test_client_that_saw_the_cut_may_give_up(run_virtual):
    """Who has asked again after a cut has seen it, however that ended; who never did seems to have taken the rest."""
    always = [FaultRule(disconnect="mid_body")]
    assert act(run_virtual, asks_twice, faults=always).truncated_accepted == 0
    facts = act(run_virtual, asks_each_once, faults=always)
    assert (facts.cut, facts.truncated_accepted) == (3, 3)
    before = [FaultRule(disconnect="before")]
    assert act(run_virtual, asks_each_once, faults=before).cut == 0


def test_many_that_ask_while_the_first_waits(run_virtual):
    """All but the first are duplicates, before and after the answer."""
    seen = []

    async def crowd(client):
        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(client.ask("a", connection=Connection()))
            await asyncio.sleep(0.5)
            seen.append(client.app.log.facts().duplicates)

    facts = act(run_virtual, crowd, delay=2)
    assert (seen, facts.duplicates, facts.retries) == ([3], 3, 0)
    assert len(facts.examples["duplicates"]) == 3


def test_counting_tokens_is_no_duplicate(run_virtual):
    """Only requests for answers are compared: counting the tokens of a prompt first is no reason for blame."""

    async def counts_first(client):
        options = {"path": "/v1/messages/count_tokens", "max_tokens": 5}
        for _ in range(2):
            await client.ask("a", **options)

    assert act(run_virtual, counts_first).duplicates == 0


def test_examples_have_an_end(run_virtual):
    """Five are kept of each rule; all are counted."""

    async def repeats(client):
        for _ in range(30):
            await client.ask("a")

    result = judge(act(run_virtual, repeats))["duplicates"]
    assert (result.count, len(result.examples)) == (29, 5)


@settings(deadline=None)
@given(st.lists(st.integers(0, 256), max_size=60).map(sorted))
def test_busiest_second_is_found_wherever_it_lies(ticks):
    """The rate peak is the largest number of arrivals in any second, its end not included."""
    conduct = Conduct()
    for at in ticks:
        conduct.arrived(at / 64)
    windows = [sum(start <= at < start + 64 for at in ticks) for start in ticks]
    facts = conduct.facts(requests=len(ticks), key_in_url=0, connections=1, peak_concurrency=1)
    assert facts.rate_peak == max(windows, default=0)


def test_report_has_a_line_per_rule(run_virtual):
    """The text shows what failed, what passed, and what is only reported."""
    lines = str(judge(act(run_virtual, asks_twice), {"rate_peak": 100})).splitlines()
    assert len(lines) == len(RULES) + 1
    assert lines[0] == "      requests: 2 requests, of 1 different contents"
    assert lines[1].startswith("FAIL  duplicates: 1 requests whose content")
    assert lines[1].endswith("(limit 0)")
    assert lines[2] == "        request 2: its content had been answered already"
    assert lines[-1] == "ok    rate_peak: 2 requests in the busiest second (limit 100)"


def test_check_takes_other_limits(run_virtual):
    """Limits of a check replace those of the verdict; None lets a rule be."""
    verdict = judge(act(run_virtual, asks_twice), {"requests": 1})
    verdict.check(duplicates=None, requests=2)
    verdict.check(duplicates=1, requests=None)
    with pytest.raises(
        AssertionError, match=r"2 failed\nFAIL  requests: 2 (.*\n)*FAIL  duplicates: 1 (.*\n)+ +request 2"
    ):
        verdict.check()
    with pytest.raises(AssertionError, match="1 failed"):
        verdict.check(duplicates=None)


@pytest.mark.parametrize(
    ("limits", "problem"),
    [
        ({"duplicate": 0}, "there is no rule 'duplicate'; did you mean duplicates?"),
        ({"nonsense": 0}, "there is no rule 'nonsense'; there are requests, duplicates"),
        ({"requests": -1}, "the limit of requests must be a whole number of 0 or more, or None, not -1"),
        ({"requests": 1.5}, "not 1.5"),
        ({"requests": True}, "not True"),
    ],
)
def test_wrong_limits_are_named(limits, problem):
    """A rule that does not exist or a limit that is no count is an error that says so."""
    with pytest.raises(ValueError, match=problem.replace("(", r"\(")):
        checked_limits(limits)


def test_limits_from_text():
    """`RULE` alone has its usual limit or 0."""
    assert limit_from_text("duplicates=3") == ("duplicates", 3)
    assert limit_from_text("retry_storm") == ("retry_storm", 5)
    assert limit_from_text("shared_pause_ignored") == ("shared_pause_ignored", 0)
    assert limit_from_text("duplicates=none") == ("duplicates", None)
    for wrong in ("duplicates=", "duplicates=-1", "duplicates=x", "duplicates=\u0663", "x", ""):
        with pytest.raises(ValueError, match=r"whole number|no rule"):
            limit_from_text(wrong)


def test_only_the_rules_named_can_fail(run_virtual):
    """`only` lets all others be."""
    facts = act(run_virtual, asks_twice)
    assert judge(facts, only({"requests": 2})).passed
    assert [each.rule for each in judge(facts, only({"requests": 1})).failed] == ["requests"]


def test_server_gives_its_verdict(serve):
    """The server object judges what came over the wire, with other limits if asked; a reset begins anew."""
    client = serve()
    client.chat("a")
    assert client.server.verdict().passed
    client.chat("a")
    assert [each.rule for each in client.server.verdict().failed] == ["duplicates"]
    assert client.server.verdict(duplicates=1).passed
    assert client.server.verdict()["connections"].count == 2
    with pytest.raises(ValueError, match="no rule 'x'"):
        client.server.verdict(x=1)
    with pytest.raises(KeyError, match="no rule 'x'"):
        _ = client.server.verdict()["x"]
    client.server.reset()
    client.server.verdict(requests=0, connections=0).check()


def test_control_gives_the_verdict(serve):
    """The endpoint says passed or failed, the count, the limit and examples for each rule; limits go into the query."""
    client = serve()
    client.chat("a")
    client.chat("a")
    seen = client.get("/__mock__/verdict").json
    assert seen["passed"] is False
    assert [rule["rule"] for rule in seen["rules"]] == [rule.name for rule in RULES]
    duplicates = seen["rules"][1]
    assert {name: duplicates[name] for name in ("passed", "count", "limit")} == {
        "passed": False,
        "count": 1,
        "limit": 0,
    }
    assert duplicates["examples"] == [{"ordinal": 2, "note": "its content had been answered already"}]
    assert client.get("/__mock__/verdict?duplicates=none").json["passed"] is True
    assert client.get("/__mock__/verdict?duplicates=1&requests=1").json["passed"] is False
    wrong = client.get("/__mock__/verdict?duplicate=1")
    assert (wrong.status, wrong.error["message"]) == (400, "there is no rule 'duplicate'; did you mean duplicates?")


def test_control_connections_are_not_the_clients(client):
    """Looking at the server from outside does not count as connections of the client."""
    for _ in range(3):
        client.get("/__mock__/stats")
    client.chat()
    assert client.server.verdict()["connections"].count == 1


def test_request_that_a_reset_overtook_is_forgotten(serve, chat_bytes):
    """What was begun before a reset says nothing about the client afterwards."""
    client = serve(delay=0.2)
    with client.connect() as connection:
        connection.sendall(chat_bytes())
        while not client.server.stats().in_flight:
            pass
        client.server.reset()
        assert connection.recv(100)
    client.server.verdict(requests=0).check()
