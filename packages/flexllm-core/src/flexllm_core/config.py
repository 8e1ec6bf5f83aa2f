"""The configuration file `~/.flexllm/config.yaml`; `${NAME}` in its texts stands for an environment variable."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from flexllm_core.config_text import read_text
from flexllm_core.endpoint import EndpointConfig, endpoint_from, first_error, known_endpoint_keys
from flexllm_core.errors import ConfigError, NotConfiguredError
from flexllm_core.options import SaveInput, unknown_name_message

MAX_WARNINGS = 50
_NO_KEY = "EMPTY"  # what local servers are given in place of a key
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class BatchConfig(BaseModel):
    """The `batch` section: defaults for every batch. An endpoint's own value wins over these.

    Attributes:
        concurrency: Rows in flight.
        max_qps: Requests per second for each endpoint.
        max_tpm: Tokens per minute, input and output together, for each endpoint.
        adaptive: Learn lower limits from the endpoints' answers.
        min_concurrency: The least that is learnt for the requests in flight at an endpoint; 1 by default.
        timeout: Seconds for each attempt.
        retry_times: Retries after the first attempt of a row.
        cache: Use the response cache.
        cache_ttl: Seconds that a cached answer stays valid; 0 for ever.
        cache_dir: Folder of the response cache, by default `~/.flexllm/cache`.
        return_usage: Write token counts into the output lines.
        track_cost: Show the running cost.
        budget: US dollars that a run may cost at most.
        on_unknown_price: With a budget, what to do where a price is unknown: `refuse` to start, or `ignore` that
            these calls are not in it.
        save_input: What output lines keep of the input: true, "last" or false.
        endpoints: Several endpoints that share the work.
        fallback: On failure go to another endpoint.
        load_balance: How one of several endpoints is picked.
        hedge_after: Ask a second endpoint when the first has not answered for so many seconds; `p95` learns how many.
        affinity: `prefix` sends prompts that begin alike to the same endpoint.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    concurrency: int | None = Field(default=None, ge=1)
    max_qps: float | None = Field(default=None, gt=0)
    max_tpm: float | None = Field(default=None, gt=0)
    adaptive: bool | None = None
    min_concurrency: int | None = Field(default=None, ge=1)
    timeout: float | None = Field(default=None, gt=0)
    retry_times: int | None = Field(default=None, ge=0)
    cache: bool = False
    cache_ttl: float = Field(default=0, ge=0)
    cache_dir: str | None = None
    return_usage: bool = True
    track_cost: bool = True
    budget: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    on_unknown_price: Literal["refuse", "ignore"] = "refuse"
    save_input: SaveInput = True
    endpoints: tuple[EndpointConfig, ...] = ()
    fallback: bool = True
    load_balance: Literal["least_loaded", "round_robin", "weighted", "random", "fallback"] = "least_loaded"
    hedge_after: Literal["p95"] | Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    affinity: Literal["prefix"] | None = None


@dataclass(frozen=True, slots=True)
class Config:
    """A configuration file that was read and checked.

    Attributes:
        path: The file, None when there is none.
        default: Name of the default model.
        models: The entries, in the file's order. `${NAME}` is expanded only when an entry is used, so
            that a missing variable harms only the entries that need it.
        batch: The `batch` section.
        warnings: Unknown keys and the like, for the user to see.
    """

    path: Path | None = None
    default: str | None = None
    models: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    batch: BatchConfig = field(default_factory=BatchConfig)
    warnings: tuple[str, ...] = ()

    def names(self) -> list[str]:
        """The names under which the entries can be asked for."""
        return [str(entry.get("name") or entry.get("id") or entry.get("model")) for entry in self.models]

    def find(self, name: str, env: Mapping[str, str]) -> EndpointConfig | None:
        """The entry called `name`, by name first and by model id second, or None."""
        for keys in (("name",), ("id", "model")):
            for number, entry in enumerate(self.models):
                if any(entry.get(key) == name for key in keys):
                    return self._entry(number, env)
        return None

    def find_all(self, name: str, env: Mapping[str, str]) -> tuple[EndpointConfig, ...]:
        """The endpoints of the entry called `name`: several where it has `endpoints`, none where it is not there."""
        for keys in (("name",), ("id", "model")):
            for number, entry in enumerate(self.models):
                if any(entry.get(key) == name for key in keys):
                    count = max(1, len(entry.get("endpoints") or ()))
                    return tuple(self._entry(number, env, member) for member in range(count))
        return ()

    def _entry(self, number: int, env: Mapping[str, str], member: int = 0) -> EndpointConfig:
        """The endpoint of an entry, or one of its several: what it says itself wins over what the entry says."""
        where = f"{self.path}: models[{number}]"
        entry = dict(self.models[number])
        if not (entry.get("id") or entry.get("model")):
            entry["model"] = entry.get("name")  # a name alone is the model's id too
        endpoints = entry.pop("endpoints", None)
        if endpoints:
            own = endpoints[member]
            where = f"{where}.endpoints[{member}]"
            dropped = {"model", "id"} if "id" in own or "model" in own else set()
            entry = {key: value for key, value in entry.items() if key not in {"name", *dropped}} | own
        return endpoint_from(expand(entry, env, where), where)

    def wire_model(self, name: str, env: Mapping[str, str]) -> str:
        """The model id that `name` stands for: that of the entry called so, or `name` itself."""
        entry = self.find(name, env)
        return entry.model or name if entry else name


def default_path(env: Mapping[str, str]) -> Path:
    """`FLEXLLM_CONFIG`, or `~/.flexllm/config.yaml`."""
    named = env.get("FLEXLLM_CONFIG")
    return _expand_home(named) if named else Path.home() / ".flexllm" / "config.yaml"


def _expand_home(path: str | Path) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise NotConfiguredError(f"{path}: no such configuration file: that user's home is not known") from None


def load_config(path: str | Path | None = None, env: Mapping[str, str] | None = None) -> Config:
    """Read and check the configuration file.

    Args:
        path: The file; by default the one of `default_path`, which need not exist unless it is named
            by `FLEXLLM_CONFIG`.
        env: Environment variables; by default the process's.

    Raises:
        NotConfiguredError: A file that was named does not exist.
        ConfigError: The file is unusable; the message has the file and the key path.
    """
    env = os.environ if env is None else env
    named = path is not None or bool(env.get("FLEXLLM_CONFIG"))
    try:
        file = _expand_home(path) if path is not None else default_path(env)
    except RuntimeError:  # a container's user may have no home; then there is no file there either
        return Config()
    try:
        text = read_text(file)
    except FileNotFoundError:
        if named:
            raise NotConfiguredError(f"{file}: no such configuration file") from None
        return Config()
    return parse_config(text, file, env)


def parse_config(text: str, file: Path, env: Mapping[str, str]) -> Config:
    """Check the text of a configuration file; `file` is for the messages."""
    from flexllm_core.yaml_reader import parse_yaml  # only who has a file pays for the parser

    data = parse_yaml(text, str(file))
    if data is None:
        return Config(path=file)
    if not isinstance(data, dict):
        raise ConfigError(f"{file}: expected keys `default`, `models` and `batch`, found {_kind(data)}")
    warnings: list[str] = []
    data = _known_only(data, {"default", "models", "batch"}, f"{file}", warnings)
    models = _model_entries(data.get("models"), file, warnings)
    default = data.get("default")
    if default is not None and not isinstance(default, str):
        raise ConfigError(f"{file}: default: expected the name of a model, found {_kind(default)}")
    batch = _batch_section(data.get("batch"), file, env, warnings)
    warnings += _exposed_keys(data, file)
    return Config(path=file, default=default, models=models, batch=batch, warnings=tuple(warnings))


def _exposed_keys(data: Mapping[str, Any], file: Path) -> list[str]:
    """A warning about keys that other users of the machine can read; none where there are no such keys."""
    entries = [*(data.get("models") or ()), *((data.get("batch") or {}).get("endpoints") or ())]
    members = [member for entry in entries for member in entry.get("endpoints") or ()]
    written = [entry.get("api_key") for entry in (*entries, *members)]
    if os.name != "posix" or not any(key and key != _NO_KEY and not _has_variable(key) for key in written):
        return []  # where there is no POSIX, the mode does not tell who may read a file
    try:
        mode = file.stat().st_mode
    except OSError:  # it was read, or given as text, and is not there now
        return []
    if not stat.S_ISREG(mode) or not mode & (stat.S_IRGRP | stat.S_IROTH):
        return []
    return [f"{file}: it holds keys, and others can read it (mode {mode & 0o777:o}); `chmod 600` keeps them private"]


def _model_entries(value: object, file: Path, warnings: list[str]) -> tuple[Mapping[str, Any], ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise ConfigError(f"{file}: models: expected a list of entries, found {_kind(value)}")
    entries = []
    for number, entry in enumerate(value):
        where = f"{file}: models[{number}]"
        if not isinstance(entry, dict):
            raise ConfigError(f"{where}: expected keys such as `id` and `base_url`, found {_kind(entry)}")
        known = _known_only(entry, known_endpoint_keys() | {"endpoints"}, where, warnings)
        if not (known.get("name") or known.get("id") or known.get("model")):
            raise ConfigError(f"{where}: has neither `id` nor `name`")
        _check_members(known, where, warnings)
        endpoint_from(_without_variables({key: value for key, value in known.items() if key != "endpoints"}), where)
        entries.append(known)
    _warn_of_doubles(entries, file, warnings)
    return tuple(entries)


def _warn_of_doubles(entries: Sequence[Mapping[str, Any]], file: Path, warnings: list[str]) -> None:
    """Only the first entry of a name is ever asked for."""
    first: dict[str, int] = {}
    for number, entry in enumerate(entries):
        name = str(entry.get("name") or entry.get("id") or entry.get("model"))
        if first.setdefault(name, number) != number:
            warnings.append(
                f"{file}: models[{number}]: models[{first[name]}] is called {name!r} too; only that is used"
            )


def _check_members(entry: dict[str, Any], where: str, warnings: list[str]) -> None:
    """Check the `endpoints` of an entry that has several, and leave unknown keys out."""
    members = entry.get("endpoints")
    if members is None:
        return
    if not isinstance(members, list) or not members or not all(isinstance(member, dict) for member in members):
        raise ConfigError(f"{where}.endpoints: expected a list of entries such as `base_url: ...`")
    entry["endpoints"] = []
    for number, member in enumerate(members):
        place = f"{where}.endpoints[{number}]"
        known = _known_only(member, known_endpoint_keys(), place, warnings)
        endpoint_from(_without_variables(known), place)
        entry["endpoints"].append(known)


def _batch_section(value: object, file: Path, env: Mapping[str, str], warnings: list[str]) -> BatchConfig:
    if value is None:
        return BatchConfig()
    if not isinstance(value, dict):
        raise ConfigError(f"{file}: batch: expected keys, found {_kind(value)}")
    data = _known_only(value, BatchConfig.model_fields, f"{file}: batch", warnings)
    endpoints = data.get("endpoints") or []
    if not isinstance(endpoints, list) or not all(isinstance(entry, dict) for entry in endpoints):
        raise ConfigError(f"{file}: batch.endpoints: expected a list of entries")
    data["endpoints"] = tuple(
        endpoint_from(
            expand(_known_only(entry, known_endpoint_keys(), where, warnings), env, where),
            where,
        )
        for number, entry in enumerate(endpoints)
        for where in [f"{file}: batch.endpoints[{number}]"]
    )
    try:
        return BatchConfig.model_validate(data)
    except ValidationError as error:
        raise ConfigError(f"{file}: batch.{first_error(error)}") from None


def expand(entry: Mapping[str, Any], env: Mapping[str, str], where: str) -> dict[str, Any]:
    """Replace `${NAME}` in every text of an entry, however deep.

    Raises:
        ConfigError: A variable is not set; the message names the key and the variable.
    """
    return {key: _expand(value, env, f"{where}.{key}") for key, value in entry.items()}


def _expand(value: Any, env: Mapping[str, str], where: str) -> Any:
    def found(match: re.Match[str]) -> str:
        text = env.get(match[1])
        if text is None:
            raise ConfigError(f"{where}: the environment variable {match[1]} is not set: give it a value")
        return text

    if isinstance(value, str):
        return _VARIABLE.sub(found, value)
    if isinstance(value, dict):
        return {key: _expand(item, env, f"{where}.{_key_text(key)}") for key, item in value.items()}
    if isinstance(value, list):
        return [_expand(item, env, f"{where}[{number}]") for number, item in enumerate(value)]
    return value


def _key_text(key: object) -> str:
    """A key for a message; keys from files may be of any type and size."""
    return key[:80] if isinstance(key, str) else type(key).__name__


def _without_variables(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The entry without what cannot be checked before its variables are known."""
    return {key: value for key, value in entry.items() if not _has_variable(value)}


def _has_variable(value: Any) -> bool:
    if isinstance(value, str):
        return _VARIABLE.search(value) is not None
    if isinstance(value, dict):
        return any(map(_has_variable, value.values()))
    return isinstance(value, list) and any(map(_has_variable, value))


def _known_only(data: Mapping[Any, Any], known: Any, where: str, warnings: list[str]) -> dict[str, Any]:
    """Leave unknown keys out, with a warning that suggests the nearest known one."""
    out = {}
    for key, value in data.items():
        if key in known:
            out[key] = value
        elif len(warnings) < MAX_WARNINGS:
            warnings.append(f"{where}: {unknown_name_message('key', key, known)}; it is ignored")
    return out


def _kind(value: object) -> str:
    names = {
        dict: "a mapping",
        list: "a list",
        str: "a text",
        bool: "true or false",
        int: "a number",
        float: "a number",
        type(None): "nothing",
    }
    return names.get(type(value), type(value).__name__)
