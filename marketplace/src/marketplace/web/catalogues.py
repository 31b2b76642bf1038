"""Keeps the message catalogues: ``python -m marketplace.web.catalogues`` after changing a visible text.

It collects the English texts of code and templates into ``messages.pot``, merges them into every ``messages.po`` (new
ones stay empty for a person to translate; nothing is guessed), and compiles what is complete into ``messages.mo``. Words of
the product that errors and commands use too go into the SDK's ``_terms.py``.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

HERE = Path(__file__).parent
TRANSLATIONS = HERE / "translations"
_METHODS = [("**.py", "python"), ("**/templates/**.html", "jinja2")]
_KEYWORDS = {"_": None, "_l": None, "gettext": None, "ngettext": (1, 2), "lazy_gettext": None}


def collect() -> Catalog:
    """Every message of the pages' code and templates."""
    catalog = Catalog(project="Shuyan", version="1", copyright_holder="The Shuyan authors", charset="utf-8")
    for _file, _line, message, comments, context in extract_from_dir(
            str(HERE), method_map=_METHODS, keywords=_KEYWORDS, options_map={"**/templates/**.html": {"encoding": "utf-8"}}):
        catalog.add(message, None, auto_comments=comments, context=context)
    return catalog


def read(locale: str) -> Catalog:
    """The catalogue of ``locale`` as it is kept."""
    with (TRANSLATIONS / locale / "LC_MESSAGES" / "messages.po").open("rb") as file:
        return read_po(file, locale=locale)


def missing(catalog: Catalog) -> list[str]:
    """Messages that are untranslated or only guessed."""
    return [message.id if isinstance(message.id, str) else message.id[0] for message in catalog if message.id
            and (message.fuzzy or not all(message.string if isinstance(message.string, tuple) else [message.string]))]


def compiled(catalog: Catalog) -> bytes:
    """The catalogue as a ``.mo`` file."""
    out = io.BytesIO()
    write_mo(out, catalog)
    return out.getvalue()


SHARED = ("action", "form", "kind", "sector", "state", "what")
"""Kinds of labels whose Chinese the error catalogue and the commands use as well."""


def terms() -> str:
    """The SDK's file of words, from the labels and the Chinese catalogue."""
    from marketplace.web.labels import LABELS

    catalog, lines = read("zh"), []
    for kind in SHARED:
        lines.append(f'    "{kind}": {{')
        for code, text in sorted(LABELS[kind].items()):
            found = catalog.get(text._args[0])
            if found and found.string:
                lines.append(f'        "{code}": "{found.string}",')
        lines.append("    },")
    return TERMS_HEAD + "\n".join(lines) + "\n}\n"


TERMS_FILE = HERE.parents[3] / "sdk" / "src" / "shuyan" / "_terms.py"
TERMS_HEAD = '''"""What codes of the market are called in Chinese. Written by ``python -m marketplace.web.catalogues``; in English they stay."""

from __future__ import annotations

from typing import Final

TERMS: Final[dict[str, dict[str, str]]] = {
'''


def main() -> int:
    """Collect, merge, compile; the number of messages still to translate decides the exit code."""
    template = collect()
    with (TRANSLATIONS / "messages.pot").open("wb") as file:
        write_po(file, template, no_location=True, sort_output=True, omit_header=True, width=110)
    left = 0
    for path in sorted(TRANSLATIONS.glob("*/LC_MESSAGES/messages.po")):
        locale = path.parts[-3]
        catalog = read(locale)
        template.creation_date = catalog.creation_date  # else every run would be a change
        catalog.update(template, no_fuzzy_matching=True, update_header_comment=False)
        catalog.obsolete.clear()
        catalog.fuzzy = False
        with path.open("wb") as file:
            write_po(file, catalog, no_location=True, sort_output=True, width=110)
        path.with_suffix(".mo").write_bytes(compiled(read(locale)))
        for message in missing(read(locale)):
            left += 1
            sys.stdout.write(f"{locale}: {message}\n")
    TERMS_FILE.write_text(terms(), encoding="utf-8")
    return 1 if left else 0


if __name__ == "__main__":
    raise SystemExit(main())
