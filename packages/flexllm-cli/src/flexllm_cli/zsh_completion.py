"""What zsh's completion needs beyond what Typer installs: an answer to the first Tab of a session."""

from __future__ import annotations

from pathlib import Path

CALL = """
# The first Tab of a session runs this file instead of the function that it defines.
[[ $funcstack[1] == _{program} ]] && _{program}_completion "$@"
"""


def answer_first_tab(program: str, home: Path) -> None:
    """Let the file that zsh loads at the first Tab answer it too; nothing where there is no such file.

    Args:
        program: The name that is completed.
        home: The user's home folder, in which Typer has just installed the file.

    Raises:
        OSError: The file cannot be read or written.
    """
    file = home / ".zfunc" / f"_{program}"
    if not file.is_file():
        return
    text, call = file.read_text(encoding="utf-8"), CALL.format(program=program)
    if f"_{program}_completion()" in text and call not in text:
        file.write_text(text.rstrip("\n") + "\n" + call, encoding="utf-8")
