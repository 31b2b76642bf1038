"""The two scenes of the demo: what is registered, asked for, computed and sold. Data only, no doing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from demo.data import MEASUREMENTS
from demo.layout import BANK, INSURER, Party


@dataclass(frozen=True)
class ColumnOffer:
    """A column as its department declares it; the node measures its type."""

    name: str
    title: str
    identifier: bool = False
    dimension: bool = False
    unit: str = ""
    lower: float | None = None
    upper: float | None = None


@dataclass(frozen=True)
class ResourceOffer:
    """A resource that every department registers under the same name; ``manual`` ones approve each new use of it."""

    name: str
    file: str
    title_zh: str
    title_en: str
    description: str
    sector: str
    grade: int
    columns: tuple[ColumnOffer, ...]
    manual: tuple[str, ...] = ()


@dataclass(frozen=True)
class ProductPlan:
    """A job and the product made of its result. Prices in fen."""

    key: str
    app: str
    params: dict[str, Any]
    job_title: str
    form: str
    title_zh: str
    title_en: str
    summary_zh: str
    summary_en: str
    description_zh: str
    description_en: str
    access_fee_fen: int
    call_fee_fen: int
    included_calls: int
    buyer: Party
    call: dict[str, Any]


@dataclass(frozen=True)
class Trial:
    """A job whose result is looked at and not sold."""

    key: str
    app: str
    params: dict[str, Any]
    title_zh: str
    title_en: str


@dataclass(frozen=True)
class Scene:
    """One scenario with the data it asks for and the products made under its grant."""

    key: str
    title: str
    purpose: str
    sector: str
    public_benefit: bool
    resource: ResourceOffer
    columns: tuple[str, ...]
    minimum_cohort: int
    products: tuple[ProductPlan, ...] = field(default_factory=tuple)
    trials: tuple[Trial, ...] = field(default_factory=tuple)


_MEASUREMENT_TITLES = ("半径均值", "纹理均值", "周长均值", "面积均值", "光滑度均值", "紧密度均值", "凹度均值", "凹点均值",
                       "对称性均值", "分形维数均值")

HOSPITALS = ResourceOffer(
    "breast_cancer", "breast_cancer.csv", "乳腺肿物穿刺细胞测量", "Breast mass cell measurements",
    "辖区医院乳腺肿物细针穿刺细胞核测量值与病理结论。", "health", 3,
    (ColumnOffer("patient", "患者编号", identifier=True),
     *(ColumnOffer(name, title) for name, title in zip(MEASUREMENTS, _MEASUREMENT_TITLES, strict=True)),
     ColumnOffer("malignant", "是否恶性（1 是，0 否）", dimension=True)),
    manual=("gucheng",))

ENTERPRISES = ResourceOffer(
    "enterprise_credit", "enterprises.csv", "企业纳税、用电、社保与涉诉", "Enterprise tax, power, insurance and court data",
    "辖区企业的纳税额、用电量、社保欠缴、涉诉次数与贷款违约情况。", "finance", 3,
    (ColumnOffer("credit_code", "统一社会信用代码", identifier=True),
     ColumnOffer("industry", "行业", dimension=True),
     ColumnOffer("years_registered", "成立年限", unit="年"), ColumnOffer("employees", "参保人数", unit="人"),
     ColumnOffer("tax_paid", "年纳税额", unit="万元"), ColumnOffer("power_used", "年用电量", unit="万千瓦时"),
     ColumnOffer("insurance_arrears", "社保欠缴月数", unit="月"), ColumnOffer("court_disputes", "涉诉次数", unit="次"),
     ColumnOffer("defaulted", "贷款是否违约（1 是，0 否）")))

_FIGURES = ("years_registered", "employees", "tax_paid", "power_used", "insurance_arrears", "court_disputes")

HEALTH = Scene(
    "health", "健康险智能核保", "为健康险核保建立乳腺肿物良恶性的统计基线和风险评分，不接触任何患者的原始病历。", "health", True,
    HOSPITALS, (*MEASUREMENTS, "malignant"), 10,
    (ProductPlan(
        "health-table", "statistics",
        {"resource": "breast_cancer", "columns": ["mean_radius", "mean_texture", "mean_area"],
         "group_by": [[], ["malignant"]],
         "histograms": [{"column": "mean_radius", "lower": 5.0, "upper": 30.0, "bins": 10}]},
        "四区医院乳腺肿物测量统计", "api", "乳腺肿物测量统计表", "Breast mass measurement table",
        "四家医院合计的测量均值、标准差与分布。", "Means, deviations and distribution over four hospitals.",
        "由四个区的医院在本地计算、加密求和得到；样本数不足的分组不输出。",
        "Computed at four hospitals and added up under encryption; groups with too few cases are left out.",
        200_000, 50, 100, INSURER, {"group": {"malignant": "1"}}),
     ProductPlan(
        "health-score", "regression",
        {"resource": "breast_cancer", "family": "logistic", "target": "malignant", "features": [*MEASUREMENTS], "l2": 1.0},
        "乳腺肿物恶性风险模型", "model", "乳腺肿物恶性风险评分", "Breast mass malignancy score",
        "输入十项测量值，返回恶性概率。", "Ten measurements in, the probability of malignancy out.",
        "逻辑回归，由四家医院联合训练，逐轮加密汇总，任何一方看不到他方的梯度或样本数。",
        "A logistic regression trained by four hospitals together under secure aggregation.",
        500_000, 200, 50, INSURER,
        {"features": dict(zip(MEASUREMENTS, (17.99, 10.38, 122.8, 1001.0, 0.1184, 0.2776, 0.3001, 0.1471, 0.2419, 0.07871),
                              strict=True))})))

CREDIT = Scene(
    "credit", "普惠金融企业信用", "为小微企业贷款提供行业经营基线和违约风险评分，不提供任何企业的原始数据。", "finance", False,
    ENTERPRISES, ("industry", *_FIGURES, "defaulted"), 20,
    (ProductPlan(
        "credit-table", "statistics",
        {"resource": "enterprise_credit", "columns": ["tax_paid", "power_used", "employees", "defaulted"],
         "group_by": [[], ["industry"]],
         "histograms": [{"column": "tax_paid", "lower": 0.0, "upper": 300.0, "bins": 12}]},
        "四区企业经营统计", "api", "分行业企业经营基线", "Enterprise figures by industry",
        "分行业的纳税、用电、用工与违约水平。", "Tax, power, staff and default rates by industry.",
        "覆盖四个区 5000 家企业，各区数据不出本区。", "Covers 5,000 enterprises of four districts; no district's data leaves it.",
        300_000, 30, 200, BANK, {"group": {"industry": "制造业"}}),
     ProductPlan(
        "credit-score", "regression",
        {"resource": "enterprise_credit", "family": "logistic", "target": "defaulted",
         "features": ["industry", *_FIGURES], "l2": 1.0,
         "impute": {"numbers": "mean"}},
        "企业违约风险模型", "model", "企业违约风险评分", "Enterprise default score",
        "输入企业行业与经营指标，返回违约概率。", "Industry and figures in, the probability of default out.",
        "逻辑回归，由四个区联合训练。", "A logistic regression trained by four districts together.",
        800_000, 300, 100, BANK,
        {"features": {"industry": "建筑业", "years_registered": 2.5, "employees": 12, "tax_paid": 8.4, "power_used": 11.0,
                      "insurance_arrears": 4, "court_disputes": 3}})),
    (Trial(
        "credit-query", "query",
        {"sql": "SELECT industry, count(*) AS enterprises, avg(tax_paid) AS tax, stddev_samp(tax_paid) AS spread, "
                "avg(CAST(defaulted AS DOUBLE)) AS default_rate FROM enterprise_credit GROUP BY industry ORDER BY tax DESC"},
        "各行业纳税与违约（联邦 SQL）", "Tax and defaults by industry, in SQL"),
     Trial(
        "credit-trees", "boosting",
        {"resource": "enterprise_credit", "target": "defaulted", "features": ["industry", *_FIGURES], "rounds": 20,
         "max_depth": 3},
        "企业违约提升树模型", "Boosted trees for defaults")))

SCENES = (HEALTH, CREDIT)

APPS = ("boosting", "clustering", "components", "network", "query", "regression", "statistics")
"""What the departments allow, and every grant names: the scenes use some of them, readers may try the others."""


QUESTION = "SELECT industry, count(*) AS n, avg(tax_paid) AS tax FROM enterprise_credit GROUP BY industry"
"""A question for readers to begin with."""
