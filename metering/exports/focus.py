"""FOCUS 1.2: the columns of Cost and Usage that we fill, and their description as JSON."""

import uuid
from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa

from metering.exports.columns import Column, Content
from metering.ranges import month

VERSION = "1.2"
_CREATED = "2026-11-22T00:00:00Z"
_MOMENTS = ("BillingPeriodEnd", "BillingPeriodStart", "ChargePeriodEnd", "ChargePeriodStart")
_SCALES = {
    "BilledCost": 13,
    "ConsumedQuantity": 1,
    "ContractedCost": 13,
    "ContractedUnitPrice": 6,
    "EffectiveCost": 13,
    "ListCost": 13,
    "ListUnitPrice": 6,
    "PricingCurrencyContractedUnitPrice": 6,
    "PricingCurrencyEffectiveCost": 13,
    "PricingCurrencyListUnitPrice": 6,
    "PricingQuantity": 6,
    "x_DiscountRate": 1,
}
_JSON = ("SkuPriceDetails", "Tags")
_NAMES = """
BilledCost BillingAccountId BillingAccountName BillingCurrency BillingPeriodEnd BillingPeriodStart
ChargeCategory ChargeClass ChargeDescription ChargeFrequency ChargePeriodEnd ChargePeriodStart
CommitmentDiscountStatus ConsumedQuantity ConsumedUnit ContractedCost ContractedUnitPrice EffectiveCost
InvoiceId InvoiceIssuerName ListCost ListUnitPrice PricingCategory PricingCurrency
PricingCurrencyContractedUnitPrice PricingCurrencyEffectiveCost PricingCurrencyListUnitPrice PricingQuantity
PricingUnit ProviderName PublisherName ServiceCategory ServiceName ServiceSubcategory SkuId SkuMeter
SkuPriceDetails SkuPriceId SubAccountId SubAccountName Tags
x_ApiKeyId x_BatchId x_ChargeId x_CorrectionReason x_CorrectsChargeId x_DiscountName x_DiscountRate x_PriceId
x_RequestCount
"""


def _content(name: str) -> Content:
    if name in _SCALES:
        return "fixed"
    if name == "x_RequestCount":
        return "count"
    return "second" if name in _MOMENTS else "text"


FOCUS = tuple(Column(name, _content(name), _SCALES.get(name, 0)) for name in _NAMES.split())
"""In FOCUS's order: by name, and our own, which begin with `x_`, after them."""


_SAME = {
    "ContractedCost": "ListCost",
    "ContractedUnitPrice": "ListUnitPrice",
    "EffectiveCost": "BilledCost",
    "PricingCurrency": "BillingCurrency",
    "PricingCurrencyContractedUnitPrice": "ListUnitPrice",
    "PricingCurrencyEffectiveCost": "BilledCost",
    "PricingCurrencyListUnitPrice": "ListUnitPrice",
}
"""Columns that always say what another says: nobody has a price of his own, prices are in the billing currency."""
_ALWAYS = {
    "ChargeCategory": "Usage",
    "ChargeFrequency": "Usage-Based",
    "CommitmentDiscountStatus": None,
    "ConsumedUnit": "Tokens",
    "PricingCategory": "Standard",
    "PricingUnit": "1000000 Tokens",
    "ServiceCategory": "AI and Machine Learning",
    "ServiceName": "Batch Inference",
    "ServiceSubcategory": "Generative AI",
    "Tags": None,
    "x_DiscountName": "batch",
    "x_DiscountRate": Decimal("0.5"),
}


def whole_rows(table: pa.Table, account: Mapping[str, Any]) -> pa.Table:
    """Rows with every column. The database gives what differs from row to row; carrying the rest through it,
    a third of all bytes, would take as long as all else."""
    account_name = account["account_name"] or account["account_id"]
    always = {
        **_ALWAYS,
        "BillingAccountId": account["account_id"],
        "BillingAccountName": account_name,
        **dict.fromkeys(("InvoiceIssuerName", "ProviderName", "PublisherName"), account["issuer_name"]),
    }
    cells = dict(zip(table.column_names, table.columns, strict=True))
    cells |= _months(table["period"], ZoneInfo(account["zone"]))
    cells |= {name: cells[other] for name, other in _SAME.items()}
    for column in FOCUS:
        if column.name not in cells:
            cells[column.name] = pa.repeat(pa.scalar(always[column.name], column.typed), table.num_rows)
    return pa.table({column.name: cells[column.name] for column in FOCUS})


def _months(periods: pa.ChunkedArray, zone: ZoneInfo) -> dict[str, pa.Array]:
    """Where the billing periods of the rows begin and end, in the billing zone."""
    encoded = periods.cast(pa.dictionary(pa.int32(), pa.string())).combine_chunks()
    months = [month(name, zone=zone) for name in encoded.dictionary.to_pylist()]
    begins, ends = (
        pa.array(moments, pa.timestamp("us", "UTC"))
        for moments in ([m.start for m in months], [m.end for m in months])
    )
    return {
        "BillingPeriodStart": begins.take(encoded.indices),
        "BillingPeriodEnd": ends.take(encoded.indices),
    }


def focus_schema() -> dict[str, Any]:
    """The schema metadata of FOCUS 1.2 for our file; its `SchemaId` is another whenever a column is another."""
    columns = [_described(column) for column in FOCUS]
    return {
        "SchemaId": str(uuid.uuid5(uuid.NAMESPACE_OID, f"nightrate focus {VERSION} {columns}")),
        "FocusVersion": VERSION,
        "CreationDate": _CREATED,
        "ColumnDefinition": columns,
    }


def _described(column: Column) -> dict[str, Any]:
    match column.content:
        case "fixed":
            return {
                "ColumnName": column.name,
                "DataType": "DECIMAL",
                "NumericPrecision": 38,
                "NumberScale": column.scale,
            }
        case "count":
            return {
                "ColumnName": column.name,
                "DataType": "DECIMAL",
                "NumericPrecision": 19,
                "NumberScale": 0,
            }
        case "second":
            return {"ColumnName": column.name, "DataType": "DATETIME"}
    kind = "JSON" if column.name in _JSON else "STRING"
    return {"ColumnName": column.name, "DataType": kind, "StringEncoding": "UTF-8"}
