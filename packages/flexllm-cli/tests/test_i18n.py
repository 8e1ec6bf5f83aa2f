"""Which language is spoken, and how texts with values in them are translated."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexllm_cli.i18n import Catalogue, catalogue_of, language_of

MESSAGES = {
    "no such file": "没有此文件",
    "unknown {what} {name}": "未知的 {what} {name}",
    "{name}; it is ignored": "{name}；已忽略",
    "the {a} of {b}": "{b} 的 {a}",
    "twice {a} and {a}": "{a} 两次",
}
CATALOGUE = Catalogue({**MESSAGES, "output": "输出", "model {name}": "模型 {name}"}, MESSAGES)


@pytest.mark.parametrize(
    ("env", "language"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh_CN"),
        ({"LANG": "zh_CN.GB18030@stroke"}, "zh_CN"),
        ({"LANG": "zh"}, "zh_CN"),
        ({"LANG": "zh-Hans-CN"}, "zh_CN"),
        ({"LANG": "zh_SG.UTF-8"}, "zh_CN"),
        ({"LANG": "zh_TW.UTF-8"}, "en"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LANG": "C"}, "en"),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "zh_CN.UTF-8"}, "zh_CN"),
        ({"LC_MESSAGES": "zh_CN.UTF-8", "LC_ALL": "C.UTF-8"}, "en"),
        ({"LC_ALL": "zh_CN.UTF-8", "FLEXLLM_LANG": "en"}, "en"),
        ({"LANG": "en_US.UTF-8", "FLEXLLM_LANG": "zh_CN"}, "zh_CN"),
        ({"LANG": "zh_CN.UTF-8", "FLEXLLM_LANG": ""}, "zh_CN"),
    ],
)
def test_the_first_variable_that_is_set_decides(env, language):
    """FLEXLLM_LANG, LC_ALL, LC_MESSAGES, LANG; every language but Simplified Chinese is English."""
    assert language_of(env) == language


@pytest.mark.parametrize(
    ("text", "translation"),
    [
        ("no such file", "没有此文件"),
        ("/a/b: no such file", "/a/b: 没有此文件"),
        ("a.yaml: models[0]: unknown key 'x'; it is ignored", "a.yaml: models[0]: 未知的 key 'x'；已忽略"),
        ("unknown key '{name}'", "未知的 key '{name}'"),
        ("the {b} of {a}", "{a} 的 {b}"),
        ("the A of B", "B 的 A"),
        ("twice x and x", "x 两次"),
        ("twice x and y", "twice x and y"),
        ("the output of output", "output 的 output"),
        ("unknown file output", "未知的 file output"),
        ("HTTP 404: model not found", "HTTP 404: model not found"),
        ("something else", "something else"),
        ("", ""),
    ],
)
def test_texts_with_values_are_translated_by_their_template(text, translation):
    """In the order of the translation; what is in braces in a value stays; what is not known stays as it is.

    A single word may be the name of anything, and what is no template is held against no text.
    """
    assert CATALOGUE.translate_message(text) == translation


@given(st.text(max_size=200))
def test_any_text_can_be_looked_up(text):
    """Texts of servers and files may be anything; English is left alone."""
    assert isinstance(catalogue_of("zh_CN").translate_message(text), str)
    assert catalogue_of("en").translate_message(text) == text


@pytest.mark.parametrize("text", ["a: b; " * 3000, ": " * 1000, "unknown " * 200, "the a of b: " * 150, "x" * 10**6])
def test_long_texts_of_servers_hold_nothing_up(text):
    """The search ends soon, whatever they write: what it looks at is bounded."""
    assert catalogue_of("zh_CN").translate_message(text).endswith(text[-1])


def test_the_catalogue_comes_with_the_package():
    """It is read from where the package is installed."""
    assert catalogue_of("zh_CN").gettext("error:") == "错误:"
    assert catalogue_of("en").gettext("error:") == "error:"
