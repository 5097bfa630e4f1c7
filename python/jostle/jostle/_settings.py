"""Configurations: a file or a dictionary, and keywords over it."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Mapping
from typing import Any, TypedDict, Union

from . import _jostle
from ._errors import ConfigError

Config = Union[Mapping[str, Any], str, "os.PathLike[str]", None]


class Settings(TypedDict):
    """A configuration as the engine takes it."""

    file: str | None
    keys: str | None
    words: list[str]


def known_key(key: str) -> str:
    """A key as in a file: underscores are dashes there.

    >>> known_key("label_noise")
    'label-noise'
    >>> known_key("sigmaa")
    Traceback (most recent call last):
    ...
    jostle._errors.ConfigError: unknown key 'sigmaa', the nearest is 'sigma'
    """
    name = str(key).replace("_", "-")
    known = _jostle.config_keys()
    if name in known:
        return name
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    known_ones = f"the nearest is {nearest[0]!r}" if nearest else f"expected one of {', '.join(known)}"
    raise ConfigError(f"unknown key {str(key)!r}, {known_ones}")


def plain(value: Any) -> Any:
    """A value without NumPy's types and without paths."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def word(key: str, value: Any) -> str:
    """An option of a command line.

    >>> word("milestones", [3, 6]), word("flip", True), word("lr", 0.1)
    ('--milestones=3,6', '--flip=true', '--lr=0.1')
    """
    value = plain(value)
    items = value if isinstance(value, list) else [value]
    text = ",".join(str(item).lower() if isinstance(item, bool) else str(item) for item in items)
    return f"--{key}={text}"


def settings(config: Config, keys: Mapping[str, Any]) -> Settings:
    """What the engine is given: a file, or a dictionary in its place, with keywords over it; `None` is the default."""
    words = [word(known_key(key), value) for key, value in keys.items() if value is not None]
    if config is None:
        return {"file": None, "keys": None, "words": words}
    if isinstance(config, Mapping):
        given = {known_key(key): plain(value) for key, value in config.items() if value is not None}
        try:
            return {"file": None, "keys": json.dumps(given), "words": words}
        except TypeError as error:
            raise ConfigError(f"config: expected numbers, texts, truths and lists of them: {error}") from None
    if isinstance(config, (str, os.PathLike)):
        return {"file": os.fspath(config), "keys": None, "words": words}
    raise ConfigError(f"config: expected a dict, the path of a TOML file or a Run, found {type(config).__name__}")
