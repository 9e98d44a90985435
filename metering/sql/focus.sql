-- FOCUS 1.2, Cost and Usage: the real-time price is the list price, half of it is billed and effective.
-- name: rows
-- An entry of the ledger is a row. A correction has ChargeClass only where the month of its task was closed.
WITH entries AS (
    SELECT c.*, s.number, w.name AS workspace_name,
        make_timestamptz(epoch_us(c.ended_at) // 3600000000 * 3600000000) AS hour,
        CASE c.sku WHEN 'input_tokens' THEN 'input' ELSE 'output' END AS direction
    FROM charges c
        LEFT JOIN statements s ON s.period = c.period AND s.workspace_id = c.workspace_id AND s.currency = c.currency
        LEFT JOIN workspaces w ON w.id = c.workspace_id
    WHERE ($workspace_id::VARCHAR IS NULL OR c.workspace_id = $workspace_id)
        AND ($period::VARCHAR IS NULL OR c.period = $period)
        AND c.recorded_at >= $start AND c.recorded_at < $end
)
SELECT
    amount AS BilledCost,
    currency AS BillingCurrency,
    CASE WHEN kind = 'correction' AND period <> strftime(ended_at AT TIME ZONE $zone, '%Y-%m')
        THEN 'Correction' END AS ChargeClass,
    CASE WHEN kind = 'usage' THEN '' WHEN requests < 0 OR quantity < 0 THEN 'Reversal: ' ELSE 'Replacement: ' END
        || model || ' batch ' || direction || ' tokens'
        || CASE WHEN kind = 'usage' THEN '' ELSE ' (' || coalesce(reason, '') || ')' END AS ChargeDescription,
    hour + INTERVAL 1 HOUR AS ChargePeriodEnd,
    hour AS ChargePeriodStart,
    quantity::DECIMAL(38, 1) AS ConsumedQuantity,
    number AS InvoiceId,
    list_amount AS ListCost,
    list_unit_price::DECIMAL(38, 6) AS ListUnitPrice,
    (quantity * 0.000001::DECIMAL(7, 6))::DECIMAL(38, 6) AS PricingQuantity,
    model || ':' || direction AS SkuId,
    CASE direction WHEN 'input' THEN 'Input Tokens' ELSE 'Output Tokens' END AS SkuMeter,
    json_object('x_InputTokenTier', tier, 'x_Mode', mode, 'x_ModelId', model, 'x_ProcessingTier', 'Batch',
        'x_TokenDirection', CASE direction WHEN 'input' THEN 'Input' ELSE 'Output' END)::VARCHAR AS SkuPriceDetails,
    model || ':' || direction || ':batch:' || tier || ':' || mode AS SkuPriceId,
    workspace_id AS SubAccountId,
    coalesce(workspace_name, workspace_id) AS SubAccountName,
    api_key_id AS x_ApiKeyId,
    task_id AS x_BatchId,
    charge_id AS x_ChargeId,
    reason AS x_CorrectionReason,
    corrects AS x_CorrectsChargeId,
    price_id AS x_PriceId,
    requests AS x_RequestCount,
    period,
    recorded_at
FROM entries;

-- name: roundings
-- What makes the sum of an invoice's rows the amount that is paid. A month that is open has no invoices.
WITH invoices AS (
    SELECT s.*, w.name AS workspace_name, (canonical::JSON ->> 'rounding')::DECIMAL(38, 13) AS rounding,
        strptime(s.period || '-01', '%Y-%m-%d') AS month
    FROM statements s LEFT JOIN workspaces w ON w.id = s.workspace_id
    WHERE s.period = $period AND ($workspace_id::VARCHAR IS NULL OR s.workspace_id = $workspace_id)
)
SELECT
    rounding AS BilledCost,
    currency AS BillingCurrency,
    'Adjustment' AS ChargeCategory,
    NULL::VARCHAR AS ChargeClass,
    'Invoice rounding to the minor unit of ' || currency AS ChargeDescription,
    'One-Time' AS ChargeFrequency,
    (month + INTERVAL 1 MONTH) AT TIME ZONE $zone AS ChargePeriodEnd,
    month AT TIME ZONE $zone AS ChargePeriodStart,
    NULL::DECIMAL(38, 1) AS ConsumedQuantity,
    NULL::VARCHAR AS ConsumedUnit,
    number AS InvoiceId,
    2 * rounding AS ListCost,
    NULL::DECIMAL(38, 6) AS ListUnitPrice,
    NULL::VARCHAR AS PricingCategory,
    NULL::DECIMAL(38, 6) AS PricingQuantity,
    NULL::VARCHAR AS PricingUnit,
    NULL::VARCHAR AS SkuId,
    NULL::VARCHAR AS SkuMeter,
    NULL::VARCHAR AS SkuPriceDetails,
    NULL::VARCHAR AS SkuPriceId,
    workspace_id AS SubAccountId,
    coalesce(workspace_name, workspace_id) AS SubAccountName,
    NULL::VARCHAR AS x_ApiKeyId,
    NULL::VARCHAR AS x_BatchId,
    NULL::VARCHAR AS x_ChargeId,
    NULL::VARCHAR AS x_CorrectionReason,
    NULL::VARCHAR AS x_CorrectsChargeId,
    NULL::VARCHAR AS x_PriceId,
    NULL::BIGINT AS x_RequestCount,
    period
FROM invoices
WHERE rounding <> 0
ORDER BY workspace_id, currency;
