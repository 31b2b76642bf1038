"""The Chinese catalogue is complete and compiled; every code a page may show has a name."""

from __future__ import annotations

import re

import pytest

from marketplace import events
from marketplace.catalogue.rules import SECTORS, TYPES
from marketplace.lifecycle import Lifecycle
from marketplace.parties.rules import KINDS
from marketplace.powers import LIFECYCLES
from marketplace.products.rules import FORMS
from marketplace.web import catalogues, labels

LIVES = list(LIFECYCLES.values())


def test_the_chinese_catalogue_has_every_message_and_no_guess() -> None:
    wanted = {message.id for message in catalogues.collect() if message.id}
    catalogue = catalogues.read("zh")
    assert {message.id for message in catalogue if message.id} == wanted, "run python -m marketplace.web.catalogues"
    assert catalogues.missing(catalogue) == []


def test_the_compiled_catalogue_is_fresh() -> None:
    kept = (catalogues.TRANSLATIONS / "zh" / "LC_MESSAGES" / "messages.mo").read_bytes()
    assert kept == catalogues.compiled(catalogues.read("zh")), "run python -m marketplace.web.catalogues"


def test_translations_keep_their_placeholders() -> None:
    for message in catalogues.read("zh"):
        if message.id:
            english = message.id[1] if isinstance(message.id, tuple) else message.id
            for chinese in message.string if isinstance(message.string, tuple) else [message.string]:
                assert sorted(re.findall(r"%\(\w+\)[sd]", chinese)) == sorted(re.findall(r"%\(\w+\)[sd]", english)), english


def test_translations_hold_no_sign_that_formatting_takes_for_its_own() -> None:
    """Templates format every text, so a lone per cent sign in one fails the page."""
    for message in catalogues.read("zh"):
        english, chinese = message.id, message.string
        if isinstance(english, str) and isinstance(chinese, str) and "%" not in english:
            assert "%" not in chinese.replace("%%", ""), english


def test_message_ids_are_english() -> None:
    for message in catalogues.collect():
        assert not re.search(r"[\u4e00-\u9fff]", str(message.id))


@pytest.mark.parametrize("life", LIVES, ids=lambda life: life.name)
def test_every_state_and_action_has_a_name(life: Lifecycle) -> None:
    assert set(life.states) <= labels.known("state")
    system_only = {step.action for step in life.transitions if step.parties == {"system"}}
    assert {step.action for step in life.transitions} - system_only <= labels.known("action")


def test_every_code_of_the_domain_has_a_name() -> None:
    assert {tag.value for tag in events.Tag} == labels.known("event")
    assert set(SECTORS) == labels.known("sector")
    assert set(FORMS) <= labels.known("form")
    assert set(TYPES) == labels.known("type")
    assert set(KINDS) <= labels.known("party")
