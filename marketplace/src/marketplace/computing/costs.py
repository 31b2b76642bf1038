"""What a rejection would cost, in plain words: for the reviewer, so that a decision is taken knowing both sides."""

from __future__ import annotations

from typing import Any

from sqlmodel import Session, col, select

from marketplace.computing.models import Job, JobOutput, Run
from marketplace.db import utc_now


def of_rejection(session: Session, job: Job, output: JobOutput) -> dict[str, Any]:
    """What has been spent on an output and would be lost with it.

    Returns:
        ``{departments, rounds, seconds, department_seconds, rho_nano, epsilon, delta, products, sentences}``: ``products`` are
        ``{id, title_zh, title_en, organisations}`` that sell results of the developer under the same grant and app, which this
        one may be to replace; ``sentences`` are ``{zh, en}``.
    """
    run = session.get(Run, output.run_id)
    seconds = round((run.finished_at - run.started_at).total_seconds(), 1) if run and run.finished_at else 0.0
    departments = len(output.participants)
    spent = output.content.get("privacy") if isinstance(output.content.get("privacy"), dict) else None
    products = _products(session, job)
    found: dict[str, Any] = {
        "departments": departments, "rounds": job.round, "seconds": seconds, "department_seconds": round(seconds * departments, 1),
        "rho_nano": spent["rho_nano"] if spent else 0, "epsilon": spent["epsilon"] if spent else None,
        "delta": spent["delta"] if spent else None, "products": products}
    return {**found, "sentences": _sentences(found)}


def _products(session: Session, job: Job) -> list[dict[str, Any]]:
    from marketplace.commerce import service as commerce  # both know computing, and are asked from here only
    from marketplace.products import service as products

    earlier = session.exec(select(Job.id).where(
        Job.organisation_id == job.organisation_id, Job.grant_id == job.grant_id, Job.app_name == job.app_name,
        Job.status == "completed", col(Job.id) != job.id)).all()
    now = utc_now()
    return [{"id": one.id, "title_zh": one.title_zh, "title_en": one.title_en,
             "organisations": commerce.entitled_organisations(session, one.id, now)}
            for one in products.made_from(session, earlier)]


def _sentences(found: dict[str, Any]) -> list[dict[str, str]]:
    told = [{
        "zh": f"{found['departments']} 家单位为此计算了 {found['rounds']} 轮，用时 {found['seconds']:g} 秒"
              f"（合 {found['department_seconds']:g} 部门·秒）；不予出域的，结果即删除，需要时只能重新计算。",
        "en": f"{found['departments']} departments computed {found['rounds']} rounds in {found['seconds']:g} s "
              f"({found['department_seconds']:g} department-seconds). A rejected result is deleted; whoever needs it has to have it "
              "computed again."}]
    if found["rho_nano"]:
        told.append({
            "zh": f"各单位已扣减隐私预算 ρ={found['rho_nano'] / 1e9:g}（合 ε={found['epsilon']:.3g}），不予退还；重新计算须再次扣减。",
            "en": f"Each department has charged ρ={found['rho_nano'] / 1e9:g} (ε={found['epsilon']:.3g}) of its privacy budget. That is "
                  "not refunded, and computing it again is charged again."})
    else:
        told.append({"zh": "本次为精确发布，未消耗隐私预算。", "en": "It was an exact answer and used up no privacy budget."})
    return told + [{
        "zh": f"在售产品“{product['title_zh']}”使用同一授权和应用的早期结果，现有 {product['organisations']} 家单位订购；"
              "若本结果用于更新该产品，更新将推迟。",
        "en": f"The product “{product['title_en']}” sells an earlier result of the same grant and app to "
              f"{product['organisations']} organisations; if this one is to replace it, the new version will be late."}
        for product in found["products"]]
