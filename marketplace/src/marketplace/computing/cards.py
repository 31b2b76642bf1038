"""Model cards (Mitchell et al., "Model Cards for Model Reporting", FAT* 2019) that write themselves.

A card is put together from what is stored and signed already: the grant, the job, the result, its review and the log. Nobody
writes it, so nobody can make it say more. It is JSON with sections that read in both languages, and Markdown of those.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

from sqlmodel import Session, select

from marketplace.actor import SYSTEM, Actor
from marketplace.authorisation import service as authorisation
from marketplace.computing.errors import CARD_OF_MODELS_ONLY
from marketplace.computing.jobs import approved_output, job_result, resources_of
from marketplace.computing.models import EgressReview, Job, JobOutput, Run
from marketplace.computing.nodes import nodes_by_id
from marketplace.parties import service as parties
from marketplace.trust import service as trust
from shuyan.problems import Language, ProblemError

VERSION: Final = 1
_STEPS: Final[dict[str, tuple[str, str]]] = {
    "computing:run:finished": ("计算完成", "run finished"), "computing:egress:overridden": ("凭书面理由批准", "approved against a finding, with a reason"),
    "computing:egress:approved": ("出域获批", "egress approved"),
}
_NOT_SETTINGS: Final = frozenset({"resource", "target", "features", "domains", "bounds", "schemas"})
_UNSET: Final[tuple[object, ...]] = (None, "", [], {})
_MEASURES: Final = ("auc", "ks", "accuracy", "log_loss", "brier", "rmse", "mae", "r2", "deviance", "d2", "squared_error", "poisson_loss")
_NORMAL: Final = 1.959963984540054

FAMILIES: Final[dict[str, tuple[str, str]]] = {
    "linear": ("线性回归", "linear regression"), "logistic": ("逻辑回归", "logistic regression"),
    "multinomial": ("多分类逻辑回归", "multinomial logistic regression"), "poisson": ("泊松回归", "Poisson regression"),
    "boosted_trees": ("梯度提升树", "gradient-boosted trees"), "neural_network": ("神经网络", "neural network"),
    "clusters": ("聚类", "clusters"), "components": ("主成分", "principal components"), "cox": ("Cox 比例风险模型", "Cox model"),
}


def model_card(session: Session, actor: Actor, job_id: str) -> dict[str, Any]:
    """The card of a job's approved model, for whoever may have the model.

    Raises:
        ProblemError: ``not_found``; ``result_not_released``; ``card_of_models_only``.
    """
    return _approved(session, job_result(session, actor, job_id))


def published_card(session: Session, job_id: str) -> dict[str, Any]:
    """The card of an approved model, for the domain that offers it and says who may see what is on offer.

    Raises:
        ProblemError: ``not_found``; ``result_not_released``; ``card_of_models_only``.
    """
    return _approved(session, approved_output(session, job_id))


def _approved(session: Session, output: JobOutput) -> dict[str, Any]:
    if output.form != "model":
        raise ProblemError(CARD_OF_MODELS_ONLY)
    review = session.exec(select(EgressReview).where(EgressReview.output_id == output.id)).first()
    return build(session, session.get_one(Job, output.job_id), output, review)


def build(session: Session, job: Job, output: JobOutput, review: EgressReview | None) -> dict[str, Any]:
    """The card of a model, approved or not yet; see the package's documentation for its fields."""
    record = authorisation.get_grant(session, SYSTEM, job.grant_id)
    grant = authorisation.read_grant(record)
    content, run = output.content, session.get_one(Run, output.run_id)
    nodes = nodes_by_id(session, output.participants)
    report = (review.report if review else None) or {}
    known = parties.organisations_by_id(session, [job.organisation_id, grant.iss])
    events = [event for event in trust.events_for(session, job.id, limit=trust.MAX_PAGE) if event.tag in _STEPS]
    card: dict[str, Any] = {
        "v": VERSION, "job_id": job.id, "title": job.title,
        "model": {"family": content.get("family"), "target": content.get("target"), "features": _features(content),
                  "rounds": content.get("rounds"), "converged": content.get("converged")},
        "intended_use": {"scenario": grant.scenario_title, "purpose": grant.purpose, "grantee": grant.grantee_name,
                         "until": _time(record.expires_at)},
        "data": {"resources": resources_of(job), "departments": [
            {"node_id": node_id, "name": nodes[node_id].name if node_id in nodes else node_id} for node_id in output.participants],
            "rows": content.get("rows"), "read_from": _time(run.started_at), "read_to": _time(run.finished_at)},
        "preprocessing": _preprocessing(content, job.params),
        "training": {"app": job.app_name, "settings": {
            name: value for name, value in job.params.items() if name not in _NOT_SETTINGS}},
        "evaluation": list(_evaluation(content)),
        "privacy": {"release": grant.release, "minimum_cohort": grant.minimum_cohort, "budget": content.get("privacy"), "noise": content.get("noise"),
                    "membership": content.get("audit"), "own_figures": grant.own_figures},
        "limits": _limits(content, report),
        "provenance": {
            "job_id": job.id, "run_id": run.id, "grant_id": job.grant_id, "grant_digest": record.digest,
            "app": job.app_name, "app_digest": job.app_digest, "output_digest": output.digest,
            "software": (report.get("lineage") or {}).get("software", {}),
            "log": [{"index": event.index, "tag": event.tag, "leaf_hash": event.leaf_hash} for event in events],
            "status": review.status if review else "", "overridden": bool(review and review.override_reason)},
        "contact": {role: {"id": one, "name_zh": known[one].name_zh if one in known else one, "name_en": known[one].name_en if one in known else one}
                    for role, one in (("developer", job.organisation_id), ("authority", grant.iss))},
    }
    card["sections"] = sections(card)
    return card


def _time(at: Any) -> str | None:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ") if at is not None else None


def _features(content: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"name": one.get("name"), "type": one.get("type"), **({"levels": len(one["levels"])} if one.get("levels") else {})}
            for one in content.get("features", []) if isinstance(one, dict)]


def _preprocessing(content: dict[str, Any], params: dict[str, Any]) -> dict[str, Any]:
    features = [one for one in content.get("features", []) if isinstance(one, dict)]
    return {
        "standardise": content.get("standardise") or params.get("standardise") or (
            "pooled" if any(one.get("sd") is not None for one in features) else None),
        "imputed": {one["name"]: one["missing"]["method"] for one in features if isinstance(one.get("missing"), dict)},
        "bins": {one["name"]: one["bins"] for one in features if one.get("bins")},
        "categories": {one["name"]: one["levels"] for one in features if one.get("levels")},
        "held_out": params.get("split") or params.get("validation") or (params.get("audit") or {}).get("holdout"),
    }


def _evaluation(content: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Measures by set of rows: ``{rows_of, rows, measure, value, lower, upper}``, the last two a 95 % interval where there is one."""
    metrics, evaluation = content.get("metrics") or {}, content.get("evaluation") or {}
    groups: list[tuple[str, Any]] = []
    if evaluation:
        groups += [("in_sample", evaluation.get("in_sample")), ("held_out", evaluation.get("held_out"))]
        groups += [(f"fold {place + 1}", fold) for place, fold in enumerate(evaluation.get("folds") or [])]
        groups += [(str(one.get("node")), one.get("metrics")) for one in evaluation.get("departments") or []]
    elif any(isinstance(metrics.get(name), dict) for name in ("train", "validation")):
        groups += [("in_sample", metrics.get("train")), ("held_out", metrics.get("validation"))]
    else:
        groups.append(("in_sample", {**metrics, "rows": content.get("rows")}))
    for name, group in groups:
        if not isinstance(group, dict):
            continue
        for measure in _MEASURES:
            found = group.get(measure)
            interval: tuple[Any, Any] = (None, None)
            if isinstance(found, dict) and "value" in found:
                interval, found = (found.get("lower"), found.get("upper")), found["value"]
            if isinstance(found, bool) or not isinstance(found, int | float):
                continue
            if measure == "accuracy" and group.get("rows"):
                interval = wilson(float(found), int(group["rows"]))
            yield {"rows_of": name, "rows": group.get("rows"), "measure": measure, "value": found,
                   "lower": interval[0], "upper": interval[1]}


def wilson(share: float, rows: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share of so many rows (JASA 1927)."""
    square = _NORMAL**2 / rows
    middle = (share + square / 2) / (1 + square)
    reach = math.sqrt(share * (1 - share) * square + square**2 / 4) / (1 + square)
    return middle - reach, middle + reach


_STANDING: Final = (
    {"zh": "模型反映的是参与单位在训练当时的数据，不保证适用于其他地区、其他时间或其他人群。",
     "en": "The model reflects the data of the departments that took part, as they were then; it need not hold elsewhere, later, or "
           "for other people."},
    {"zh": "仅可用于授权凭证载明的场景和用途；系数和重要性表示相关关系，不表示因果关系。",
     "en": "It may be used for the grant's scenario and purpose only. Coefficients and importance tell of association, not of cause."},
)


def _limits(content: dict[str, Any], report: dict[str, Any]) -> list[dict[str, str]]:
    told = [{"code": "standing", **one} for one in _STANDING]
    told += [{"code": str(one.get("code")), "zh": str(one.get("zh", "")), "en": str(one.get("en", ""))}
             for one in content.get("warnings", []) if isinstance(one, dict) and one.get("zh")]
    told += [{"code": one["code"], "zh": one["zh"], "en": one["en"]} for one in report.get("findings", [])
             if one["severity"] != "pass" and one["code"] != "warnings"]
    return told


# --- for people --------------------------------------------------------------------------------------------------


def sections(card: dict[str, Any]) -> list[dict[str, Any]]:
    """The card's sections for reading: ``{code, title: {zh, en}, lines: [{zh, en}]}``."""
    made = [
        _section("model", "模型", "Model", _of_model(card)),
        _section("intended_use", "用途", "Intended use", _of_use(card["intended_use"])),
        _section("data", "数据", "Data", _of_data(card["data"])),
        _section("preprocessing", "预处理", "Preprocessing", _of_preprocessing(card["preprocessing"])),
        _section("training", "训练设置", "Training", [
            _both(f"{name}：{_plain(value)}", f"{name}: {_plain(value)}") for name, value in sorted(card["training"]["settings"].items())
            if value not in _UNSET]),
        _section("evaluation", "评估", "Evaluation", [_of_measure(one) for one in card["evaluation"]]),
        _section("privacy", "隐私", "Privacy", _of_privacy(card["privacy"], [str(one["name"]) for one in card["model"]["features"]])),
        _section("limits", "限制与提示", "Limits", [_both(one["zh"], one["en"]) for one in card["limits"]]),
        _section("provenance", "来源", "Provenance", _of_provenance(card["provenance"])),
        _section("contact", "联系", "Contact", [_both(
            f"开发方：{card['contact']['developer']['name_zh']}；数据主管部门：{card['contact']['authority']['name_zh']}",
            f"Developer: {card['contact']['developer']['name_en']}; data authority: {card['contact']['authority']['name_en']}")]),
    ]
    return [one for one in made if one["lines"]]


def markdown(card: dict[str, Any], language: Language) -> str:
    """The card as Markdown."""
    title = card["title"] or card["job_id"]
    parts = [f"# {_escaped(title)} · 模型卡" if language == "zh" else f"# {_escaped(title)} · model card"]
    for section in card["sections"]:
        parts.append(f"## {section['title'][language]}")
        parts.append("\n".join(f"- {_escaped(line[language])}" for line in section["lines"]))
    return "\n\n".join(parts) + "\n"


def _escaped(text: str) -> str:
    """Text of others in Markdown, which shows nothing but itself."""
    plain = " ".join(text.split())
    return "".join(f"\\{sign}" if sign in "\\`*_[]<>#|!" else sign for sign in plain)


def _section(code: str, zh: str, en: str, lines: list[dict[str, str]]) -> dict[str, Any]:
    return {"code": code, "title": {"zh": zh, "en": en}, "lines": lines}


def _both(zh: str, en: str) -> dict[str, str]:
    return {"zh": zh, "en": en}


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {_plain(item)}" for name, item in value.items() if item not in _UNSET) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_plain, value)) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _of_model(card: dict[str, Any]) -> list[dict[str, str]]:
    model = card["model"]
    zh, en = FAMILIES.get(model["family"], (str(model["family"]), str(model["family"])))
    target = model["target"]
    features = ", ".join(str(one["name"]) for one in model["features"])
    return [_both(f"类型：{zh}" + (f"；目标：{target}" if target else ""), f"Family: {en}" + (f"; target: {target}" if target else "")),
            _both(f"特征（{len(model['features'])} 个）：{features}", f"Features ({len(model['features'])}): {features}")]


def _of_use(use: dict[str, Any]) -> list[dict[str, str]]:
    return [_both(f"应用场景：{use['scenario']}", f"Scenario: {use['scenario']}"),
            _both(f"使用目的：{use['purpose']}", f"Purpose: {use['purpose']}"),
            _both(f"被授权单位：{use['grantee']}；授权有效期至 {use['until']}", f"Granted to {use['grantee']} until {use['until']}")]


def _of_data(data: dict[str, Any]) -> list[dict[str, str]]:
    names = [one["name"] for one in data["departments"]]
    return [_both(f"数据资源：{'、'.join(data['resources'])}", f"Resources: {', '.join(data['resources'])}"),
            _both(f"参与单位（{len(names)} 家）：{'、'.join(names)}", f"Departments ({len(names)}): {', '.join(names)}"),
            _both(f"记录数：{data['rows']}；读取时间：{data['read_from']} 至 {data['read_to']}",
                  f"Rows: {data['rows']}; read from {data['read_from']} to {data['read_to']}")]


def _of_preprocessing(done: dict[str, Any]) -> list[dict[str, str]]:
    lines = []
    if done["standardise"]:
        lines.append(_both(f"标准化：{done['standardise']}", f"Standardised: {done['standardise']}"))
    for name, zh, en in (("imputed", "缺失值填补", "Missing values filled in"), ("bins", "分箱数", "Bins"),
                         ("held_out", "留出评估", "Held out")):
        if done[name]:
            lines.append(_both(f"{zh}：{_plain(done[name])}", f"{en}: {_plain(done[name])}"))
    for name, levels in done["categories"].items():
        shown = ", ".join(levels[:20]) + (" …" if len(levels) > 20 else "")
        lines.append(_both(f"类别“{name}”的取值（{len(levels)} 个）：{shown}", f"Values of “{name}” ({len(levels)}): {shown}"))
    return lines


def _of_measure(one: dict[str, Any]) -> dict[str, str]:
    interval = "" if one["lower"] is None else f"（95% 置信区间 {one['lower']:.4g}–{one['upper']:.4g}）"
    interval_en = "" if one["lower"] is None else f" (95 % interval {one['lower']:.4g} to {one['upper']:.4g})"
    zh = {"in_sample": "训练记录", "held_out": "留出记录"}.get(one["rows_of"], one["rows_of"])
    en = {"in_sample": "rows trained on", "held_out": "rows held out"}.get(one["rows_of"], one["rows_of"])
    return _both(f"{zh}（{one['rows']} 条）{one['measure']} = {one['value']:.4g}{interval}",
                 f"{en} ({one['rows']}): {one['measure']} = {one['value']:.4g}{interval_en}")


def _of_privacy(privacy: dict[str, Any], names: list[str]) -> list[dict[str, str]]:
    if privacy["budget"]:
        spent = privacy["budget"]
        lines = [_both(f"加噪发布：ρ={spent['rho_nano'] / 1e9:g}，ε={spent['epsilon']:.3g}（δ={spent['delta']:g}），保护单位：{spent['unit']}",
                       f"With noise: ρ={spent['rho_nano'] / 1e9:g}, ε={spent['epsilon']:.3g} at δ={spent['delta']:g}, per {spent['unit']}")]
    else:
        lines = [_both(f"精确发布：最小群体 {privacy['minimum_cohort']}，每家单位只贡献掩码后的合计",
                       f"Exact: minimum cohort {privacy['minimum_cohort']}; of each department only its part of masked sums was seen")]
    lines += _of_noise(privacy["noise"], names)
    audit = privacy["membership"]
    if audit:
        lines.append(_both(
            f"成员推断审计（LiRA，误判率 1%，限值 {audit['limit']:g}）：{audit['departments']} 家单位中 {audit['passed']} 家通过、"
            f"{audit['failed']} 家未通过、{audit['undecided']} 家无法判断",
            f"Membership audit (LiRA at 1 % false positives, limit {audit['limit']:g}): of {audit['departments']} departments "
            f"{audit['passed']} passed, {audit['failed']} failed, {audit['undecided']} could not say"))
    else:
        lines.append(_both("未作成员推断审计", "No membership audit was made"))
    return lines


def _of_noise(noise: Any, names: list[str]) -> list[dict[str, str]]:
    """How far the noise of a training moves what the model consists of."""
    if isinstance(noise, list) and noise:
        told = ", ".join(f"{one['term']} ±{one['half_width']:.3g}" for one in noise[:20]) + (" …" if len(noise) > 20 else "")
        return [_both(f"噪声对系数的影响（输入按上下界缩放，95%）：{told}",
                      f"How far noise moves coefficients (inputs scaled by their bounds, 95 %): {told}")]
    if isinstance(noise, dict) and "components" in noise:
        return list(_of_components(noise))
    if isinstance(noise, dict) and "centres" in noise:
        worst = ", ".join(f"{name} ±{_NORMAL * max(column):.3g}" for name, column in zip(names[:20], zip(*noise["centres"], strict=True), strict=False))
        worst += " …" if len(names) > 20 else ""
        return [_both(f"噪声对各类记录数的影响（95%）：±{_NORMAL * noise['rows']:.3g}；对各类中心的影响（95%，取各类中最大者）：{worst}",
                      f"How far noise moves the clusters' numbers of rows (95 %): ±{_NORMAL * noise['rows']:.3g}; their centres (95 %, the largest "
                      f"over all clusters): {worst}")]
    if isinstance(noise, dict):
        return [_both(f"各叶节点合计的噪声标准差：梯度 {noise['gradient']:.3g}，二阶导数 {noise['hessian']:.3g}；划分方式随机选取，与数据无关",
                      f"Standard deviation of the noise on a leaf's sums: gradients {noise['gradient']:.3g}, second derivatives "
                      f"{noise['hessian']:.3g}; splits were drawn by lot, without regard to the data")]
    return []


def _of_components(noise: dict[str, Any]) -> Iterator[dict[str, str]]:
    found = noise["components"]
    variances = ", ".join(f"±{one['half_width']:.3g}" for one in found[:20]) + (" …" if len(found) > 20 else "")
    yield _both(f"噪声对各主成分方差的影响（95%）：{variances}", f"How far noise moves the components' variances (95 %): {variances}")
    turned = ", ".join(f"{at}: {one['angle']:.2g}°" for at, one in enumerate(found[:20], 1) if one["apart"])
    if turned:
        yield _both(f"噪声使主成分方向偏转（均方根）：{turned}", f"By how much noise turns the components (root mean square): {turned}")
    mixed = ", ".join(str(at) for at, one in enumerate(found, 1) if not one["apart"])
    if mixed:
        yield _both(f"以下主成分的方差与相邻主成分之差不足以超过噪声，方向不可单独解读：{mixed}",
                    f"These components cannot be told from others in spite of the noise, so that their directions mean nothing one by one: {mixed}")


def _of_provenance(origin: dict[str, Any]) -> list[dict[str, str]]:
    lines = [(name_zh, name_en, origin[name]) for name, name_zh, name_en in (
        ("job_id", "任务", "Job"), ("grant_id", "授权凭证", "Grant"), ("grant_digest", "授权凭证摘要", "Digest of the grant"),
        ("app_digest", "应用摘要", "Digest of the app"), ("output_digest", "模型摘要", "Digest of the model"))]
    told = [_both(f"{zh}：{value}", f"{en}: {value}") for zh, en, value in lines]
    for event in origin["log"]:
        zh, en = _STEPS[event["tag"]]
        told.append(_both(f"存证日志第 {event['index']} 号事件：{zh}", f"Log, event {event['index']}: {en}"))
    return told
