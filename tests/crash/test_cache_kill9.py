"""A process that writes into the cache, killed with SIGKILL again and again: what is found is always right."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import subprocess
import sys

from flexllm_batch.cache.config import ResponseCacheConfig
from flexllm_batch.cache.store import ResponseStore

KILLS = int(os.environ.get("FLEXLLM_CACHE_KILLS", "8"))
KEYS = 400

WRITER = """
import asyncio, itertools, random, sys, time
from flexllm_batch.cache.config import ResponseCacheConfig
from flexllm_batch.cache.entry import encode_entry
from flexllm_batch.cache.store import ResponseStore
from flexllm_core.results import ChatCompletionResult

async def main():
    store = ResponseStore(ResponseCacheConfig(cache_dir=sys.argv[1]))
    print("ready", flush=True)
    for count in itertools.count():
        number = random.randrange(int(sys.argv[2]))
        key = b"%016d" % number
        text = f"answer {number} " * random.randrange(1, 2000)
        store.put(key, encode_entry(key, ChatCompletionResult(text, finish_reason="stop"), time.time()))
        if count % 20 == 0:
            await store.flush()

asyncio.run(main())
"""


async def found(folder):
    """What is found under each key, by number."""
    store = ResponseStore(ResponseCacheConfig(cache_dir=folder))
    entries = await asyncio.gather(*(store.look_up((b"%016d" % number,)) for number in range(KEYS)))
    assert store.off is None
    await store.aclose()
    return {number: entry.result.content for number, entry in enumerate(entries) if entry is not None}


async def test_kills_while_writing_leave_a_database_that_opens(tmp_path):
    """After each kill the database is whole, and every answer in it is the answer to its key."""
    folder = tmp_path / "cache"
    moments = random.Random(7)
    answers = {}
    for _ in range(KILLS):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(folder), str(KEYS)], stdout=subprocess.PIPE)
        process.stdout.readline()
        await asyncio.sleep(moments.uniform(0.005, 0.08))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        answers = await found(folder)
        for number, text in answers.items():
            assert text.startswith(f"answer {number} ")
            assert text.replace(f"answer {number} ", "") == ""
        with sqlite3.connect(folder / "cache.db") as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.close()
    assert not list(folder.glob("*.corrupt-*"))
    assert len(answers) > 10
