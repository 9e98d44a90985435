"""What a file would cost, by that model's own history: an estimate, and called so wherever it is shown."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

from dashboard import writing
from dashboard.services import ConsoleServices
from metering.access import Access

MILLION = Decimal(1_000_000)
MOST_PRICES = 1000


def estimate(
    services: ConsoleServices, access: Access, workspace: str, model: str, requests: int
) -> dict[str, str] | None:
    """Tokens and cost of so many requests, written out; none for a model without history that was metered."""
    now, days = services.clock(), services.statistics_options.window_days
    start = (now - timedelta(days=days)).isoformat()
    totals = services.statistics.models(access, start=start, model=model)["totals"]
    calls = totals["succeeded"] - totals["unmetered"]
    if calls <= 0:
        return None
    per_input, per_output = (Decimal(totals[f]) / calls for f in ("input_tokens", "output_tokens"))
    told = {
        "basis": f"average of {writing.plural(calls, 'call')} of {model} in the last {days} days",
        "tokens": f"{writing.compact(per_input * requests)} in, {writing.compact(per_output * requests)} out",
    }
    if (price := _price(services, workspace, model)) is not None:
        tier = tier_of(price["tiers"], per_input)
        rate = per_input * Decimal(tier["input"]) + per_output * Decimal(tier["output"])
        amount = rate * requests / MILLION
        told["list"] = writing.money(amount, price["currency"])
        told["half"] = writing.money(amount / 2, price["currency"])
    return told


def _price(services: ConsoleServices, workspace: str, model: str) -> Mapping[str, Any] | None:
    """The price in force in the workspace's currency; none if the model is free or the currency is unclear."""
    options = services.catalog.get(model)
    if options is None or options.free:
        return None
    currency = services.workspaces.get(workspace).currency or services.billing.currency
    found = [
        p
        for p in services.prices.page(model=model, currency=currency, limit=MOST_PRICES).data
        if p["status"] == "in_force"
    ]
    return found[0] if len(found) == 1 else None


def tier_of(tiers: Sequence[Mapping[str, Any]], input_tokens: Decimal) -> Mapping[str, Any]:
    """The tier of a request of so many input tokens: the first whose bound holds it, else the last."""
    for tier in tiers:
        bound = tier["up_to_input_tokens"]
        if bound is None or input_tokens <= int(bound):
            return tier
    return tiers[-1]
