"""The picture of declared ownership: everybody and every holding once, nothing on top of another, circles too."""

from __future__ import annotations

import datetime as dt
import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from marketplace.parties.models import Organisation
from marketplace.registration.holdings import Controller
from marketplace.registration.models import Shareholding
from marketplace.web.shares import picture

CODES = "ABCDEFGH"


def holding(owner: str, owned: str, share: int = 5000) -> Shareholding:
    return Shareholding(id=f"{owner}{owned}", organisation_id="o", owner_code=owner, owner_name=f"甲{owner}", owned_code=owned,
                        owned_name=f"甲{owned}", share_bp=share, since=dt.date(2026, 1, 1), declared_by="x")


@settings(deadline=None)
@given(st.sets(st.tuples(st.sampled_from(CODES), st.sampled_from(CODES)), min_size=1))
def test_everything_is_drawn_once_and_apart(pairs: set[tuple[str, str]]) -> None:
    made = picture([holding(*pair) for pair in sorted(pairs)], {}, set())
    assert made is not None
    assert sorted(box.code for box in made.boxes) == sorted({code for pair in pairs for code in pair})
    assert len(made.arrows) == len(pairs)
    wide, high = made.box
    for one, other in itertools.combinations(made.boxes, 2):
        assert abs(one.x - other.x) >= wide or abs(one.y - other.y) >= high
    assert all(0 <= box.x <= made.width - wide and 0 <= box.y <= made.height - high for box in made.boxes)


def test_owners_stand_above_and_what_controls_is_marked() -> None:
    rows = [holding("A", "B", 6000), holding("B", "C", 5100), holding("D", "C", 1000)]
    operator = Organisation(id="op", kind="operator", name_zh="甲A", name_en="A", credit_code="A")
    made = picture(rows, {"B": Controller(operator, rows[:1]), "C": Controller(operator, rows[:2])}, {"A"})
    assert made is not None
    assert {box.code: box.kind for box in made.boxes} == {"A": "operator", "B": "controlled", "C": "controlled", "D": "other"}
    height = {box.code: box.y for box in made.boxes}
    assert height["A"] < height["B"] < height["C"]
    assert sorted((arrow.share, arrow.controls) for arrow in made.arrows) == [("10%", False), ("51%", True), ("60%", True)]


def test_a_crowd_leaves_out_who_matters_least_and_says_so() -> None:
    rows = [holding(f"X{n}", f"Y{n}") for n in range(60)] + [holding("Z1", "Z2")]
    operator = Organisation(id="op", kind="operator", name_zh="甲", name_en="Z", credit_code="Z1")
    made = picture(rows, {"Z2": Controller(operator, rows[-1:])}, {"Z1"})
    assert made is not None
    assert {"Z1", "Z2"} <= {box.code for box in made.boxes}
    assert (len(made.boxes), made.left_out) == (60, 62)
    assert picture([], {}, set()) is None
