"""The thread that delivers notifications: its end."""

import ssl
import threading
import time
from pathlib import Path

from executor.options import WebhookOptions
from executor.webhooks.deliveries import Deliveries
from executor.webhooks.outbox import Outbox
from metering.clock import utc_now
from metering.options import StorageOptions
from metering.store import Store


def test_a_stop_is_heard_though_something_is_new_at_that_moment(tmp_path: Path) -> None:
    """At whichever point of its waiting."""
    store = Store(StorageOptions(data_dir=tmp_path), packages=("metering", "executor"))
    options, tls = WebhookOptions(), ssl.create_default_context()
    for _ in range(40):
        deliveries = Deliveries(Outbox(store, options), options, tls, utc_now)
        deliveries.start()
        time.sleep(0.02)  # by now it mostly waits for something new
        deliveries.wake()
        stopping = threading.Thread(target=deliveries.stop, daemon=True)
        stopping.start()
        stopping.join(20)
        assert not stopping.is_alive()
    store.close()
