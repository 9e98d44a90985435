"""The whole way of a task over HTTP: every figure agrees with every other and with the input."""

import csv
import io
import json
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pyarrow.parquet as pq
from prometheus_client.parser import text_string_to_metric_families

from tests.server import Server
from tests.upstream import Upstream


@dataclass(frozen=True)
class Expected:
    """What a prompt of the script must come to."""

    prompt: str
    input_tokens: int = 0
    output_tokens: int = 0
    thinking: bool = False
    unmetered: bool = False
    failure: str | int | None = None

    @property
    def list_amount(self) -> Fraction:
        """By the price book of the tests, on its own."""
        if self.failure is not None or self.unmetered:
            return Fraction(0)
        large = self.input_tokens > 1000
        price_in = Fraction("3") if large else Fraction("1.5")
        price_out = Fraction("4.5") if large else Fraction("4") if self.thinking else Fraction("2.25")
        return (price_in * self.input_tokens + price_out * self.output_tokens) / 1_000_000


def script() -> list[Expected]:
    """200 requests: most succeed, and every kind of fault is among them."""
    rows: list[Expected] = []
    for n in range(20):
        rows += [
            Expected(f"{n} @in={500 + n} @out={20 + n}", 500 + n, 20 + n),
            Expected(f"{n} border @in=1000 @out=7", 1000, 7),
            Expected(f"{n} above @in=1001 @out=9", 1001, 9),
            Expected(f"{n} thinks @in=40 @out=30 @reasoning=11", 40, 30, thinking=True),
            Expected(f"{n} thinks aloud @in=41 @out=31 @thinking", 41, 31, thinking=True),
            Expected(f"{n} silent @in=42 @out=0", 42, 0),
            Expected(f"{n} cached @in=300 @cached=200 @out=3", 300, 3),
            Expected(f"{n} second try @status=500 @times=1 @in=10 @out=1", 10, 1),
            Expected(f"{n} pushed back @status=429 @times=1 @in=11 @out=2", 11, 2),
        ]
    faults: list[tuple[str, str | int]] = [
        ("@status=400", 400),
        ("@status=404", 404),
        ("@status=500", 500),
        ("@hang", "timeout"),
        ("@reset", "connection_error"),
        ("@cut", "connection_error"),
        ("@html", "invalid_response"),
        ("@broken", "invalid_response"),
    ]
    rows += [Expected(f"{n} {word}", failure=code) for n in range(2) for word, code in faults]
    rows += [
        Expected(f"{n} @usage={kind}", unmetered=True) for n in range(1) for kind in ("none", "negative")
    ]
    rows += [Expected(f"last {n} @in=1 @out=1", 1, 1) for n in range(2)]
    assert len(rows) == 200
    return rows


def total(rows: list[Expected]) -> Decimal:
    """The list amount, exact."""
    amount = sum((row.list_amount for row in rows), Fraction(0))
    return Decimal(amount.numerator) / Decimal(amount.denominator)


def metrics(page: str) -> dict[tuple[str, ...], float]:
    """Every sample by its name and sorted label values."""
    return {
        (sample.name, *(f"{k}={v}" for k, v in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


def test_everything_agrees(tmp_path: Path) -> None:
    """Files, events, statistics, charges, exports and metrics tell one story, and it is the input's."""
    rows = script()
    with (
        Upstream() as upstream,
        Server(tmp_path, upstream.url, timeout=2, executor="max_attempts = 2") as server,
    ):
        client = server.client()
        task_id = server.submit([row.prompt for row in rows], metadata={"ds_name": "Journey"})
        batch = server.wait(task_id)
        sdk = client.batches.retrieve(task_id)
        assert sdk.status == "completed"
        assert sdk.request_counts is not None

        good = [row for row in rows if row.failure is None]
        metered = [row for row in good if not row.unmetered]
        assert (sdk.request_counts.total, sdk.request_counts.completed) == (200, len(good))
        assert sdk.request_counts.failed == 200 - len(good)

        # result file and error file
        lines = [json.loads(x) for x in client.files.content(str(sdk.output_file_id)).text.splitlines()]
        errors = [json.loads(x) for x in client.files.content(str(sdk.error_file_id)).text.splitlines()]
        number = {f"r{n}": row for n, row in enumerate(rows, 1)}
        assert {line["custom_id"] for line in lines} == {i for i, row in number.items() if row in good}
        assert {
            line["custom_id"]: line["error"]["code"] if line["error"] else line["response"]["status_code"]
            for line in errors
        } == {i: row.failure for i, row in number.items() if row.failure is not None}

        # the bill, against amounts computed from the input alone
        listed = total(rows)
        inputs, outputs = sum(r.input_tokens for r in metered), sum(r.output_tokens for r in metered)
        assert Decimal(batch["nightrate"]["list_amount"]) == listed
        assert Decimal(batch["nightrate"]["amount"]) == listed * Decimal("0.5")
        assert (batch["usage"]["input_tokens"], batch["usage"]["output_tokens"]) == (inputs, outputs)
        check_ledger(server, task_id, metered, listed)
        check_statistics(server, rows, good, metered, listed)
        check_events(server, task_id, rows)
        check_exports(server, listed, inputs, outputs)
        check_metrics(server, rows, good, metered, listed)


def check_ledger(server: Server, task_id: str, metered: list[Expected], listed: Decimal) -> None:
    charges = server.get(f"/v1/billing/charges?task_id={task_id}")["data"]
    assert sum(Decimal(c["list_amount"]) for c in charges) == listed
    assert sum(Decimal(c["amount"]) for c in charges) == listed * Decimal("0.5")
    assert all(
        Decimal(c["list_amount"]) - Decimal(c["amount"]) == Decimal(c["discount_amount"]) for c in charges
    )
    assert sum(c["requests"] for c in charges) == len(metered)
    quantities = {(c["sku"], c["tier"], c["mode"]): c["quantity"] for c in charges}
    expected = Counter[tuple[str, str, str]]()
    for row in metered:
        tier = "all" if row.input_tokens > 1000 else "1000"  # the last tier has no bound
        mode = "thinking" if row.thinking else "standard"
        expected["input_tokens", tier, mode] += row.input_tokens
        expected["output_tokens", tier, mode] += row.output_tokens
    assert quantities == {key: count for key, count in expected.items() if count}
    period = charges[0]["period"]
    (summary,) = server.get(f"/v1/billing/summary?period={period}&group_by=model")["data"]
    assert Decimal(summary["amount"]) == listed * Decimal("0.5")


def check_statistics(
    server: Server, rows: list[Expected], good: list[Expected], metered: list[Expected], listed: Decimal
) -> None:
    (row,) = server.get("/v1/statistics")["data"]
    assert (row["model"], row["workspace_id"], row["currency"]) == ("m", "default", "USD")
    assert (row["calls"], row["succeeded"], row["failed"]) == (200, len(good), 200 - len(good))
    assert row["unmetered"] == len(good) - len(metered)
    assert row["rate_limited"] == sum("@status=429" in r.prompt for r in rows)
    assert row["input_tokens"] == sum(r.input_tokens for r in metered)
    assert row["output_tokens"] == sum(r.output_tokens for r in metered)
    assert Decimal(row["amount"]) * 2 == Decimal(row["list_amount"]) == listed
    trend = server.get("/v1/statistics/m/trend?interval=hour")
    points = trend["data"] if "data" in trend else trend["points"]
    assert sum(point["calls"] for point in points) == 200
    failures = server.get("/v1/statistics/m/errors")["data"]
    assert sum(f["calls"] for f in failures) == 200 - len(good)


def check_events(server: Server, task_id: str, rows: list[Expected]) -> None:
    events = server.get(f"/v1/events?task_id={task_id}&limit=10000")["data"]
    assert sorted(event["line_no"] for event in events) == list(range(1, 201))
    for event in events:
        row = rows[event["line_no"] - 1]
        assert event["outcome"] == ("succeeded" if row.failure is None else "failed")
        assert event["unmetered"] == row.unmetered
        if row.failure is None and not row.unmetered:
            assert (event["input_tokens"], event["output_tokens"]) == (row.input_tokens, row.output_tokens)
            assert event["thinking"] == row.thinking


def check_exports(server: Server, listed: Decimal, inputs: int, outputs: int) -> None:
    (period,) = {c["period"] for c in server.get("/v1/billing/charges")["data"]}
    for kind in ("charges", "usage"):
        text = server.get(f"/v1/billing/exports/{kind}?period={period}&format=csv")
        table = list(csv.DictReader(io.StringIO(text)))
        assert sum(Decimal(row["list_amount"]) for row in table) == listed
        assert sum(Decimal(row["amount"]) for row in table) * 2 == listed
        quantities = Counter[str]()
        for row in table:
            quantities[row["sku"]] += int(row["quantity"])
        assert quantities == {"input_tokens": inputs, "output_tokens": outputs}
        parquet = server.get_bytes(f"/v1/billing/exports/{kind}?period={period}&format=parquet")
        amounts = pq.read_table(io.BytesIO(parquet))["amount"].to_pylist()  # type: ignore[no-untyped-call]
        assert sum(amounts, Decimal(0)) * 2 == listed
        manifest = server.get(f"/v1/billing/exports/{kind}/manifest?period={period}&format=csv")
        assert manifest["rows"] == len(table)


def check_metrics(
    server: Server, rows: list[Expected], good: list[Expected], metered: list[Expected], listed: Decimal
) -> None:
    def ledger_shown() -> dict[tuple[str, ...], float]:
        return metrics(server.get("/metrics"))

    owner = ("model=m", "workspace=default")
    billed = ("nightrate_billed_requests_total", *owner)
    page = server.until(ledger_shown, lambda page: page.get(billed) == len(metered))
    assert page["nightrate_requests_total", "model=m", "outcome=succeeded", "workspace=default"] == len(good)
    assert page["nightrate_requests_total", "model=m", "outcome=failed", "workspace=default"] == 200 - len(
        good
    )
    assert page["nightrate_tasks_ended_total", "model=m", "status=completed", "workspace=default"] == 1
    assert page["nightrate_unmetered_requests_total", *owner] == len(good) - len(metered)
    for name, amount in (("list", listed), ("billed", listed / 2)):
        shown = page[f"nightrate_{name}_amount_total", "currency=USD", *owner]
        assert abs(Decimal(str(shown)) - amount) < Decimal("1e-12")
