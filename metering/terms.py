"""What may not change once there are charges: the zone of periods, and a currency that was used (SPEC §5.6)."""

from metering.options import BillingOptions
from metering.store import Store, Transaction


class TermsChanged(Exception):
    """The settings contradict what was charged; the message says what to put back."""


def keep_terms(store: Store, billing: BillingOptions) -> None:
    """At start: stores the zone, or refuses (`TermsChanged`) settings that contradict the ledger."""
    store.write(lambda tx: _keep(tx, billing))


def _keep(tx: Transaction, billing: BillingOptions) -> None:
    bound = tx.one("terms.bound")
    if bound is not None and bound["bound"]:
        _check_zone(tx, billing.timezone)
        if billing.currency is not None:
            _check_currency(tx, billing.currency)
    tx.execute("terms.forget")
    tx.execute("terms.keep", timezone=billing.timezone)


def _check_zone(tx: Transaction, zone: str) -> None:
    kept = tx.one("terms.kept")
    if kept is not None:
        if kept["timezone"] != zone:
            raise TermsChanged(
                f"billing.timezone is {zone!r}, but there are charges with periods in {kept['timezone']!r}; "
                f'put back timezone = "{kept["timezone"]}"'
            )
    elif (other := tx.one("terms.other_zone", zone=zone)) is not None:
        raise TermsChanged(
            f"billing.timezone is {zone!r}, in which the charge {other['charge_id']} would not be of the "
            f"period {other['period']}; put back the zone in which it was made"
        )


def _check_currency(tx: Transaction, currency: str) -> None:
    used = tx.one("terms.other_currency", currency=currency)
    if used is not None:
        raise TermsChanged(
            f"billing.currency is {currency!r}, but the workspace {used['workspace_id']!r}, which has no "
            f'currency of its own, has charges in {used["currency"]}; put back currency = "{used["currency"]}"'
        )
