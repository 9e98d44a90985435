-- What came of a notification's deliveries so far.
ALTER TABLE webhook_outbox ADD COLUMN attempts INTEGER DEFAULT 0; -- that failed
ALTER TABLE webhook_outbox ADD COLUMN due_at TIMESTAMPTZ; -- of the next attempt; null: at once
ALTER TABLE webhook_outbox ADD COLUMN given_up_at TIMESTAMPTZ;
ALTER TABLE webhook_outbox ADD COLUMN error VARCHAR; -- why the last attempt failed
