"""Budgets of workspaces: what of a month's amount is used, and that nothing new begins above it (SPEC §5.8)."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Any

from metering.access import Access
from metering.clock import Clock
from metering.errors import TooMany
from metering.money import EXACT, ZERO, plain
from metering.options import BillingOptions
from metering.prices import PriceBook
from metering.ranges import month
from metering.rating import UsageGroup, rate, usage_lines
from metering.store import Reader, Row, Store

NOTICE_RATIO = Decimal("0.8")
"""From this part of a budget on the console says so."""
_RATIO = Context(prec=12)


@dataclass(frozen=True, slots=True)
class BudgetUse:
    """How much of a workspace's budget is used in the running month."""

    workspace_id: str
    workspace_name: str
    period: str
    """`YYYY-MM` in the billing zone."""
    currency: str | None
    """None if nothing says in which currency the budget is; then nothing counts against it."""
    budget: Decimal
    charged: Decimal
    """The ledger of the month."""
    running: Decimal
    """What running tasks would cost if they ended now."""

    @property
    def used(self) -> Decimal:
        """Both together."""
        return EXACT.add(self.charged, self.running)

    @property
    def ratio(self) -> Decimal:
        """Used ÷ budget, rounded to 12 digits; for eyes and gauges only."""
        return _RATIO.divide(self.used, self.budget)

    @property
    def exceeded(self) -> bool:
        """Whether new tasks are refused."""
        return self.used >= self.budget

    @property
    def notice(self) -> str | None:
        """A sentence for the console from 80 % on."""
        if self.used < EXACT.multiply(self.budget, NOTICE_RATIO):
            return None
        percent = format(int(self.ratio * 100), ",")
        said = (
            f"{self.workspace_name} has used {percent} % of its budget of "
            f"{plain(self.budget)} {self.currency or ''}".rstrip()
            + f" for {self.period}."
        )
        return f"{said} New tasks are refused, running ones finish." if self.exceeded else said


class Budgets:
    """Reads budgets and what is used of them. Thread-safe."""

    def __init__(self, store: Store, prices: PriceBook, billing: BillingOptions, clock: Clock) -> None:
        self._store, self._prices, self._billing, self._clock = store, prices, billing, clock

    def check(self, workspace_id: str) -> None:
        """Refuses a new task (429, `budget_exceeded`) of a workspace whose budget is used up."""
        for use in self._uses(workspace_id):
            if use.exceeded:
                span = month(use.period, zone=self._billing.zone)
                raise TooMany(
                    f"The budget of the workspace {workspace_id!r} for {use.period}, {plain(use.budget)} "
                    f"{use.currency}, is used up ({plain(use.used)}); what was accepted goes on. New tasks are "
                    f"accepted from {span.end.isoformat()} on, or when the operator raises the budget.",
                    code="budget_exceeded",
                )

    def uses(self, access: Access, workspace_id: str | None = None) -> list[BudgetUse]:
        """The budgets that the caller may see, by workspace; workspaces without one are left out."""
        return self._uses(access.visible(workspace_id))

    def notices(self, access: Access, workspace_id: str | None = None) -> list[str]:
        """What the console says of budgets of which 80 % or more is used."""
        return [use.notice for use in self.uses(access, workspace_id) if use.notice is not None]

    def ratios(self) -> dict[str, float]:
        """Used ÷ budget of every workspace that has one, for the gauge: a share and no amount."""
        return {use.workspace_id: float(use.ratio) for use in self._uses(None)}

    def currency_of(self, workspace_currency: str | None) -> str | None:
        """The currency of a budget: the workspace's, else `billing.currency`, else the price book's only one."""
        chosen = workspace_currency or self._billing.currency
        if chosen is not None:
            return chosen
        known = {price.currency for price in self._prices.prices}
        return known.pop() if len(known) == 1 else None

    # -- inside ------------------------------------------------------------------------------------

    def _uses(self, workspace_id: str | None) -> list[BudgetUse]:
        period = self._clock().astimezone(self._billing.zone).strftime("%Y-%m")
        with self._store.reading() as read:
            budgeted = read.query("budgets.budgeted", workspace_id=workspace_id)
            if not budgeted:
                return []
            charged = read.query("budgets.charged", period=period, workspace_id=workspace_id)
            groups = _running_groups(read, workspace_id)
        by_ledger = {(row["workspace_id"], row["currency"]): row["amount"] for row in charged}
        by_tasks = self._running_costs(groups)
        return [self._use(row, period, by_ledger, by_tasks) for row in budgeted]

    def _use(self, row: Row, period: str, by_ledger: Any, by_tasks: Any) -> BudgetUse:
        key = row["id"], self.currency_of(row["currency"])
        return BudgetUse(
            workspace_id=row["id"],
            workspace_name=row["name"],
            period=period,
            currency=key[1],
            budget=row["budget"],
            charged=by_ledger.get(key, ZERO),
            running=by_tasks.get(key, ZERO),
        )

    def _running_costs(self, rows: Iterable[Row]) -> dict[tuple[str, str], Decimal]:
        """What running tasks would cost now, by workspace and currency."""
        tasks: dict[tuple[str, str, str], list[UsageGroup]] = {}
        for row in rows:
            key = row["workspace_id"], row["currency"], row["model"]
            tasks.setdefault(key, []).append(
                UsageGroup(row["input_tokens"], row["thinking"], row["requests"], row["output_tokens"])
            )
        costs: dict[tuple[str, str], Decimal] = {}
        for (workspace_id, currency, model), groups in tasks.items():
            price = self._prices.in_force(model, currency, self._clock())
            for line in rate(price, usage_lines(price, groups)) if price else ():
                before = costs.get((workspace_id, currency), ZERO)
                costs[workspace_id, currency] = EXACT.add(before, line.amount)
        return costs


def _running_groups(read: Reader, workspace_id: str | None) -> list[Row]:
    running = read.one("budgets.running", workspace_id=workspace_id)
    if running is None or not running["tasks"]:
        return []
    return read.query("budgets.running_groups", workspace_id=workspace_id, since=running["since"])
