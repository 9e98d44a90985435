"""Which label values have series of their own. All others are summed under `_other`, for ever."""

import threading

from metering.store import Store, Transaction

OTHER = "_other"


class LabelCap:
    """Admits the first `most` values of each label. Who was admitted and who was not is stored.

    Were it not, a workspace could move into `_other` or out of it at a restart, and a counter would fall.
    """

    def __init__(self, store: Store, most: int) -> None:
        self._store = store
        self._most = most
        self._lock = threading.Lock()
        self._own: dict[str, dict[str, bool]] = {}
        self._unsaved: list[tuple[str, str, bool]] = []
        for row in store.query("metrics.labels"):
            self._own.setdefault(row["label"], {})[row["value"]] = row["own"]

    def shown(self, label: str, value: str) -> str:
        """The value itself, or `_other`."""
        with self._lock:
            known = self._own.setdefault(label, {})
            own = known.get(value)
            if own is None:
                own = known[value] = sum(known.values()) < self._most and value != OTHER
                self._unsaved.append((label, value, own))
        return value if own else OTHER

    def save(self) -> None:
        """Makes the decisions durable. Raises `StoreError`; they are kept for the next time then."""
        with self._lock:
            rows = tuple(self._unsaved)
        if not rows:
            return

        def write(tx: Transaction) -> None:
            for label, value, own in rows:
                tx.execute("metrics.remember_label", label=label, value=value, own=own)

        self._store.write(write)
        with self._lock:
            del self._unsaved[: len(rows)]
