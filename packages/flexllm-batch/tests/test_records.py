"""How a row becomes a record: which format it has is decided for each row on its own."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexllm_batch.inputs.records import USER_KEYS, Record, RowShape, read_record
from flexllm_core.errors import InputError

DETECT = RowShape()
USER = {"role": "user", "content": "hi"}


def read(row: Any, shape: RowShape = DETECT) -> Record:
    return read_record(0, row, shape)


def test_openai_chat_rows_are_used_as_they_are() -> None:
    """`messages` are the messages, unknown keys of a message included."""
    messages: list[dict[str, Any]] = [{"role": "system", "content": "s"}, {**USER, "name": "n", "x-own": [1]}]
    assert read({"messages": messages, "id": 7}) == Record(0, messages, {"id": 7})


def test_messages_may_be_a_text() -> None:
    """A text in place of messages is one user message."""
    assert read({"messages": "hi"}).messages == [USER]


@pytest.mark.parametrize(
    ("row", "content"),
    [
        ({"instruction": "Add", "input": "1 and 2"}, "Add\n\n1 and 2"),
        ({"instruction": "Add", "input": ""}, "Add"),
        ({"instruction": "Add", "input": None}, "Add"),
        ({"instruction": "Add"}, "Add"),
    ],
)
def test_alpaca_rows_join_instruction_and_input(row: dict[str, Any], content: str) -> None:
    """The user message is the instruction, with the input after a blank line where there is one."""
    record = read({**row, "system": "s", "output": "3"})
    assert record.messages == [{"role": "system", "content": "s"}, {"role": "user", "content": content}]
    assert (record.kind, record.metadata) == ("alpaca", {"output": "3"})


@pytest.mark.parametrize("key", USER_KEYS)
def test_simple_rows_have_one_of_five_names(key: str) -> None:
    """Each of the five names is the user's text, and `system` is the system prompt."""
    assert read({key: "hi", "system": "s"}).messages == [{"role": "system", "content": "s"}, USER]
    assert read({key: "hi"}) == Record(0, [USER], kind="simple")


def test_the_first_name_of_the_order_wins() -> None:
    """messages before instruction before q, question, prompt, input, user; the others are metadata."""
    row: dict[str, Any] = {key: key for key in reversed(("messages", "instruction", *USER_KEYS))}
    for key in ("messages", "instruction", "q", "question", "prompt", "user"):
        record = read(row)
        expected = "instruction\n\ninput" if key == "instruction" else key
        assert record.messages == [{"role": "user", "content": expected}]
        del row[key]
        if key == "instruction":
            del row["input"]
        assert record.metadata == row


def test_a_column_without_a_value_is_not_a_prompt() -> None:
    """Tables give every row every column: a null beside a prompt does not decide the format."""
    assert read({"messages": None, "instruction": None, "q": "hi", "system": None}).messages == [USER]


def test_a_text_may_be_a_list_of_parts() -> None:
    """A multimodal content in a simple row is passed on."""
    parts = [{"type": "text", "text": "hi"}, {"type": "image_url", "image_url": {"url": "https://x/y.png"}}]
    assert read({"q": parts}).messages == [{"role": "user", "content": parts}]


def test_named_fields_skip_the_detection() -> None:
    """With -uf and -sf the named fields are used, whatever else the row has."""
    row = {"messages": [USER], "text": "hi", "sys_prompt": "s", "system": "kept"}
    record = read(row, RowShape("text", "sys_prompt"))
    assert record.messages == [{"role": "system", "content": "s"}, USER]
    assert record.metadata == {"messages": [USER], "system": "kept"}
    assert record.kind == "custom"


def test_a_user_field_alone_takes_the_usual_system_field() -> None:
    """-uf without -sf: `system` is the system prompt."""
    assert read({"text": "hi", "system": "s"}, RowShape("text")).messages[0] == {"role": "system", "content": "s"}


def test_a_system_field_alone_takes_the_usual_user_fields() -> None:
    """-sf without -uf: the user's text is found by its usual names."""
    assert read({"question": "hi", "who": "s"}, RowShape(system_field="who")).messages == [
        {"role": "system", "content": "s"},
        USER,
    ]


def test_a_missing_field_is_named() -> None:
    """A row without the field of -uf says which one and what it has."""
    with pytest.raises(InputError, match=r"no field 'text'; it has a, b"):
        read({"b": 1, "a": 2}, RowShape("text"))


@pytest.mark.parametrize("role", ["system", "developer"])
def test_the_global_system_prompt_wins(role: str) -> None:
    """-s replaces the row's own system prompt, in every format."""
    system = {"role": "system", "content": "mine"}
    shape = RowShape(system="mine")
    assert read({"messages": [{"role": role, "content": "theirs"}, USER]}, shape).messages == [system, USER]
    assert read({"q": "hi", "system": "theirs"}, shape).messages == [system, USER]
    assert read({"instruction": "hi"}, shape).messages == [system, USER]


def test_an_empty_global_system_prompt_is_none() -> None:
    """-s "" (an unset shell variable) does not send an empty system message."""
    assert read({"q": "hi"}, RowShape(system="")).messages == [USER]


def test_params_of_a_row_are_taken_out_of_it() -> None:
    """`params` are the row's own params, in their one form, and a model of its own."""
    record = read({"q": "hi", "params": {"temperature": 1, "max_tokens": 5, "model": "other"}, "id": 1})
    assert record.params == {"temperature": 1.0, "max_tokens": 5}
    assert type(record.params["temperature"]) is float
    assert (record.model, record.metadata) == ("other", {"id": 1})


def test_params_that_are_no_mapping_are_metadata() -> None:
    """A field that only happens to be called params is kept as it is."""
    assert read({"q": "hi", "params": "a text"}).metadata == {"params": "a text"}


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"temprature": 1}, "did you mean 'temperature'"),
        ({"thinking": "sometimes"}, "thinking is 'sometimes'"),
        ({"model": 5}, r"params\.model: expected a text, found a number"),
        ({"extra_headers": {"authorization": "x"}}, "extra_headers are the caller's"),
        ({"extra_body": [1]}, "extra_body: expected a mapping"),
    ],
)
def test_unusable_params_make_a_bad_row(params: dict[str, Any], message: str) -> None:
    """A typo in a row's params, or one that rows may not set, is said before anything is sent."""
    with pytest.raises(InputError, match=message):
        read({"q": "hi", "params": params})


def test_openai_batch_lines_are_read() -> None:
    """`body` is the request, what is not one of our params goes into extra_body, `custom_id` is metadata."""
    row = {
        "custom_id": "r1",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {
            "model": "gpt-x",
            "messages": [USER],
            "max_completion_tokens": 9,
            "temperature": 0,
            "store": True,
            "stream": True,
            "stream_options": {"include_usage": True},
        },
    }
    record = read(row)
    assert record.messages == [USER]
    assert record.model == "gpt-x"
    assert record.params == {"max_tokens": 9, "temperature": 0.0, "extra_body": {"store": True}}
    assert (record.metadata, record.kind) == ({"custom_id": "r1"}, "openai_batch")
    assert row["body"]["messages"] == [USER]  # type: ignore[index]  # the row itself is left alone


@pytest.mark.parametrize("extra", ["text", [1], 5])
def test_a_wrong_extra_body_in_a_batch_line_is_a_bad_row(extra: object) -> None:
    """It is an InputError, not a crash of the run."""
    with pytest.raises(InputError, match="extra_body: expected a mapping"):
        read({"body": {"messages": [USER], "store": True, "extra_body": extra}})


def test_a_row_of_each_shape_in_one_file_is_read_by_its_own_shape() -> None:
    """What the first row looks like decides nothing for the others."""
    rows = [{"q": "hi"}, {"messages": [USER]}, {"instruction": "hi"}, {"body": {"messages": [USER]}}, {"user": "hi"}]
    records = [read_record(index, row, DETECT) for index, row in enumerate(rows)]
    assert [record.kind for record in records] == ["simple", "messages", "alpaca", "openai_batch", "simple"]
    assert all(record.messages == [USER] for record in records)


def test_metadata_keeps_every_other_field_in_its_order() -> None:
    """What is not recognised is kept, nested values included, and the row is not changed."""
    row = {"id": "001", "q": "hi", "tags": ["a"], "nested": {"x": None}}
    assert list(read(row).metadata.items()) == [("id", "001"), ("tags", ["a"]), ("nested", {"x": None})]
    assert "q" in row


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (["hi"], "expected an object with fields, found a list"),
        ("hi", "found a text"),
        (None, "found null"),
        (7, "found a number"),
        (True, "found true or false"),
        ({"q": 42}, "field 'q': expected a text, found a number"),
        ({"q": None}, "field 'q': expected a text, found null"),
        ({"instruction": {"a": 1}}, "field 'instruction': expected a text, found an object"),
        ({"instruction": "x", "input": ["y"]}, "field 'input': expected a text, found a list"),
        ({"q": "x", "system": 5}, "field 'system': expected a text, found a number"),
        ({"q": [{"text": "no type"}]}, r"messages\[0\]\.content"),
        ({"messages": []}, "messages is empty"),
        ({"messages": 5}, "not int"),
        ({"messages": [{"role": "king", "content": "x"}]}, r"messages\[0\]\.role"),
        ({"body": {"messages": [USER], "model": 5}}, r"body\.model: expected a text, found a number"),
        ({"body": {"input": "an embedding"}}, "no known format"),
        ({"text": "hi"}, r"found text; name the fields with --user-field"),
        ({}, "found no fields"),
    ],
)
def test_what_is_wrong_with_a_row_is_named(row: Any, message: str) -> None:
    """A row that cannot be asked says which field has which wrong type."""
    with pytest.raises(InputError, match=message):
        read(row)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
field_names = st.sampled_from(
    (
        "messages",
        "instruction",
        *USER_KEYS,
        "system",
        "params",
        "body",
        "role",
        "content",
        "extra_body",
        "model",
        "type",
    )
)
rows = st.recursive(
    json_values,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(field_names | st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)
shapes = st.builds(RowShape, st.none() | field_names, st.none() | field_names, st.none() | st.just("s"))


@given(rows, shapes)
def test_any_row_gives_a_record_or_an_input_error(row: Any, shape: RowShape) -> None:
    """No JSON value of any shape makes another error than InputError, and a record always has messages."""
    try:
        record = read(row, shape)
    except InputError:
        return
    assert record.messages
    assert all(message.get("role") for message in record.messages)
