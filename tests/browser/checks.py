"""What is wanted of every page, as functions of a page that is open in a browser at :data:`WIDTHS`' first width."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import axe_playwright_python

WIDTHS = (1280, 390)
HEIGHT = 900
AXE = Path(axe_playwright_python.__file__).parent / "axe.min.js"

# Chromium takes half of the time that axe needs for the contrast of texts. It depends on nothing but what is gathered here: the text's
# own look and what lies behind it, down to the page. What has been looked at once, on whatever page, in whatever language, has been looked
# at; a page that shows a new combination is looked at as a whole. Hidden texts are not gathered, for axe does not look at them.
_LOOKS = """() => {
    const looks = new Set(), behind = new Map();
    const ground = element => {
        if (!element) return '';
        if (!behind.has(element)) {
            const style = getComputedStyle(element);
            const own = [style.backgroundColor, style.backgroundImage, style.opacity, style.filter, style.mixBlendMode,
                         style.position, style.float, style.transform].join();
            behind.set(element, own === PLAIN ? ground(element.parentElement) : `${ground(element.parentElement)}/${own}`);
        }
        return behind.get(element);
    };
    const PLAIN = 'rgba(0, 0, 0, 0),none,1,none,normal,static,none,none';
    for (const element of document.body.querySelectorAll('*')) {
        const said = element.matches('input, select, textarea')
            || [...element.childNodes].some(node => node.nodeType === Node.TEXT_NODE && node.data.trim());
        if (!said || !element.checkVisibility({visibilityProperty: true})) continue;
        const style = getComputedStyle(element);
        const off = Boolean(element.closest(':disabled, [aria-disabled=true]') || element.closest('label')?.control?.disabled);
        looks.add([style.color, style.fontSize, style.fontWeight, style.textShadow, style.clip, style.clipPath, style.webkitTextStroke, off,
                   ground(element)].join(';'));
    }
    return [...looks];
}"""
_RUN = """async contrast => {
    const found = await axe.run(document, {resultTypes: ["violations"], rules: {"color-contrast": {enabled: contrast}}});
    return found.violations.map(one => [one.id, one.help, one.nodes.slice(0, 3).map(node => node.html.slice(0, 200))].join(" | "));
}"""
_UNCLEAN = """() => {
    const out = [];
    const named = e => e.labels && e.labels.length || e.getAttribute('aria-label') || e.getAttribute('aria-labelledby');
    document.querySelectorAll('input:not([type=hidden], [hidden]), select, textarea').forEach(e => { if (!named(e)) out.push('no label: ' + e.outerHTML.slice(0, 90)); });
    document.querySelectorAll('button, a').forEach(e => { if (!e.textContent.trim() && !e.getAttribute('aria-label')) out.push('no text: ' + e.outerHTML.slice(0, 90)); });
    const ids = [...document.querySelectorAll('[id]')].map(e => e.id);
    ids.filter((id, at) => ids.indexOf(id) !== at).forEach(id => out.push('id twice: ' + id));
    if (document.querySelectorAll('h1').length !== 1) out.push('headlines: ' + document.querySelectorAll('h1').length);
    if (!document.title.trim()) out.push('no title');
    return out;
}"""


def bring_axe(page: Any) -> None:
    """Have axe in every page that is opened from now on."""
    page.add_init_script(path=AXE)


def violations(page: Any, looked_at: set[str]) -> list[str]:
    """What axe-core finds: contrast where a look is not ``looked_at`` yet (and is from now on), everything else always."""
    looks = set(page.evaluate(_LOOKS))
    found = list(page.evaluate(_RUN, not looks <= looked_at))
    looked_at |= looks
    return found


def unclean(page: Any) -> list[str]:
    """Fields without a name, links and buttons without a text, ids that stand twice, no title, other than one headline."""
    return list(page.evaluate(_UNCLEAN))


def too_wide(page: Any) -> list[str]:
    """The widths at which the page has to be moved sideways to be read."""
    found = []
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": HEIGHT})
        if (wide := page.evaluate("document.documentElement.scrollWidth")) > width:
            found.append(f"is {wide} wide at {width}")
    return found


__all__ = ["HEIGHT", "WIDTHS", "bring_axe", "too_wide", "unclean", "violations"]
