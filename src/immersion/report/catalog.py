"""Message catalogues: every sentence of the report, once in English and once in Chinese.

A catalogue is a flat JSON object, `messages/<subject>.<language>.json`, from a key to a sentence
with named fields (`"{count} samples"`). All subjects of a language are merged into one.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Literal, cast

from immersion.report.view import Text

Language = Literal["en", "zh"]


class CatalogError(LookupError):
    """A message or one of its fields is missing, or a catalogue file is malformed."""


@cache
def catalog(lang: Language) -> dict[str, str]:
    """All messages of one language, keyed by message key.

    Raises `CatalogError` if two files of the language define the same key.
    """
    merged: dict[str, str] = {}
    folder = files("immersion.report").joinpath("messages")
    sources = [entry for entry in folder.iterdir() if entry.name.endswith(f".{lang}.json")]
    for source in sorted(sources, key=lambda entry: entry.name):
        messages = cast(dict[str, str], json.loads(source.read_text(encoding="utf-8")))
        repeated = merged.keys() & messages.keys()
        if repeated:
            raise CatalogError(f"{source.name} defines {sorted(repeated)} a second time")
        merged.update(messages)
    return merged


def text(key: str, **params: object) -> Text:
    """The message `key` in both languages, its named fields filled from `params`.

    Fields take format specifications (`"{ratio:.2f}"`). A parameter that is itself a `Text`
    (a translated noun, say) enters each sentence in that sentence's language; every other
    parameter enters both sentences alike.

    Raises `CatalogError` for an unknown key, and for a field that has no parameter; the message
    names the key and the field.
    """
    return Text(en=_sentence("en", key, params), zh=_sentence("zh", key, params))


def _sentence(lang: Language, key: str, params: dict[str, object]) -> str:
    messages = catalog(lang)
    if key not in messages:
        raise CatalogError(f"no message {key!r} in the catalogue of language {lang!r}")
    spoken = {
        name: (value.en if lang == "en" else value.zh) if isinstance(value, Text) else value
        for name, value in params.items()
    }
    try:
        return messages[key].format(**spoken)
    except KeyError as missing:
        raise CatalogError(
            f"message {key!r} ({lang}) needs the field {missing.args[0]!r}; "
            f"given: {sorted(params) or 'none'}"
        ) from None
    except (IndexError, ValueError) as broken:
        raise CatalogError(
            f"message {key!r} ({lang}) cannot be formatted with {sorted(params)}: {broken}"
        ) from None
