"""The demo's raw data: hospitals' measurements and a city's enterprises. Deterministic, and no foreign files.

Scene one splits scikit-learn's bundled breast-cancer measurements (UCI, 569 rows of 30 numbers and a diagnosis)
unevenly over four hospitals. Scene two generates enterprises of four districts with valid 18-character unified social
credit codes (GB 32100-2015), figures from tax, power and social insurance, and whether a loan went bad.
"""

from __future__ import annotations

import csv
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CREDIT_CODE_ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"  # GB 32100-2015, 5.3: no I, O, S, V, Z
CREDIT_CODE_WEIGHTS = tuple(pow(3, position, 31) for position in range(17))
ORGANISATION_CODE_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"  # GB 11714
ORGANISATION_CODE_WEIGHTS = (3, 7, 9, 10, 5, 8, 4, 2)


@dataclass(frozen=True)
class District:
    """A district with its division code (GB/T 2260), its hospital and its enterprise register."""

    slug: str
    division: str
    name_zh: str
    name_en: str
    hospital_zh: str
    hospital_en: str
    hospital_share: float  # of the measurements; uneven, as hospitals are
    enterprises: int


DISTRICTS = (
    District("yanhe", "990101", "沿河区", "Yanhe District", "沿河区人民医院", "Yanhe People's Hospital", 0.40, 1800),
    District("gucheng", "990102", "古城区", "Gucheng District", "古城区中心医院", "Gucheng Central Hospital", 0.28, 1400),
    District("xinhu", "990103", "新湖区", "Xinhu District", "新湖区医院", "Xinhu Hospital", 0.20, 1000),
    District("donggang", "990104", "东港区", "Donggang District", "东港区第一医院", "Donggang First Hospital", 0.12, 800),
)

INDUSTRIES = ("制造业", "批发零售业", "信息服务业", "建筑业", "餐饮住宿业")
INDUSTRY_RISK = {"制造业": -0.1, "批发零售业": 0.1, "信息服务业": -0.4, "建筑业": 0.5, "餐饮住宿业": 0.6}

# The measurements a hospital offers; all thirty are in the file.
MEASUREMENTS = (
    "mean_radius", "mean_texture", "mean_perimeter", "mean_area", "mean_smoothness", "mean_compactness",
    "mean_concavity", "mean_concave_points", "mean_symmetry", "mean_fractal_dimension",
)


def check_character(body: str) -> str:
    """The 18th character of a unified social credit code whose first 17 are ``body`` (GB 32100-2015, annex A)."""
    total = sum(CREDIT_CODE_ALPHABET.index(c) * w for c, w in zip(body, CREDIT_CODE_WEIGHTS, strict=True))
    return CREDIT_CODE_ALPHABET[(31 - total % 31) % 31]


def organisation_check_character(body: str) -> str:
    """The ninth character of an organisation code (GB 11714), which is part of the credit code."""
    total = sum(ORGANISATION_CODE_ALPHABET.index(c) * w for c, w in zip(body, ORGANISATION_CODE_WEIGHTS, strict=True))
    return "0123456789X"[(11 - total % 11) % 11]


def credit_code(division: str, chance: random.Random) -> str:
    """A valid code of an enterprise (registration 9, category 1) in ``division``."""
    subject = "MA" + "".join(chance.choice(CREDIT_CODE_ALPHABET) for _ in range(6))
    body = "91" + division + subject + organisation_check_character(subject)
    return body + check_character(body)


def enterprises(district: District) -> Iterator[dict[str, object]]:
    """The district's enterprises, the same ones every time."""
    chance = random.Random(f"shuyan {district.division}")  # noqa: S311 - made-up data, not a secret
    seen: set[str] = set()
    while len(seen) < district.enterprises:
        code = credit_code(district.division, chance)
        if code in seen:
            continue
        seen.add(code)
        industry = chance.choices(INDUSTRIES, weights=(30, 28, 16, 12, 14))[0]
        size = chance.lognormvariate(0.0, 0.9)
        health = chance.gauss(0.0, 1.0)
        employees = max(1, round(14 * size * math.exp(0.15 * chance.gauss(0, 1))))
        tax = max(0.0, 38.0 * size * math.exp(0.35 * health + 0.3 * chance.gauss(0, 1)))
        power = max(0.0, 21.0 * size * (2.2 if industry == "制造业" else 1.0) * math.exp(0.2 * chance.gauss(0, 1)))
        arrears = max(0, round(chance.gauss(1.3 - 1.1 * health, 1.4)))
        disputes = max(0, round(chance.gauss(0.8 - 0.6 * health + 0.3 * size**0.5, 1.0)))
        years = max(0.3, chance.gammavariate(2.2, 3.1))
        logit = (-2.1 - 0.9 * health + 0.28 * arrears + 0.34 * disputes - 0.05 * years - 0.25 * math.log(size)
                 + INDUSTRY_RISK[industry])
        yield {
            "credit_code": code, "industry": industry, "years_registered": round(years, 1), "employees": employees,
            "tax_paid": round(tax, 2), "power_used": round(power, 2) if chance.random() > 0.02 else None,
            "insurance_arrears": arrears, "court_disputes": disputes,
            "defaulted": int(chance.random() < 1 / (1 + math.exp(-logit))),
        }


def patients() -> list[list[dict[str, object]]]:
    """Scene one, one list of rows a district in the order of :data:`DISTRICTS`."""
    from sklearn.datasets import load_breast_cancer

    bunch = load_breast_cancer()
    names = [name.replace(" ", "_") for name in bunch.feature_names]
    rows: list[dict[str, object]] = [
        # scikit-learn's target is 1 for benign; a doctor asks for malignant.
        {"patient": f"P{number:04d}", **{n: float(v) for n, v in zip(names, values, strict=True)}, "malignant": 1 - int(target)}
        for number, (values, target) in enumerate(zip(bunch.data, bunch.target, strict=True), 1)
    ]
    random.Random(20260101).shuffle(rows)  # noqa: S311
    split, start = [], 0
    for position, district in enumerate(DISTRICTS):
        last = position == len(DISTRICTS) - 1
        end = len(rows) if last else start + round(len(rows) * district.hospital_share)
        split.append(rows[start:end])
        start = end
    return split


def write_csv(path: Path, rows: list[dict[str, object]]) -> None:
    """Write ``rows`` as CSV; a null is an empty field. The file appears as a whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    partial.replace(path)
