"""The composition root: settings → store → keys → meter → engine → services, made once and handed on."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from importlib.metadata import version
from importlib.util import find_spec

from executor.batches import Batches
from executor.engine import Engine, EngineParts
from executor.faults import FaultPoints
from executor.files import Files
from executor.models import ModelCatalog
from executor.options import ExecutorOptions, ModelOptions
from executor.retention import Retention
from executor.webhooks.deliveries import Deliveries
from executor.webhooks.outbox import Outbox
from executor.wire.origin import sendable, tls_context
from metering.access import ADMIN
from metering.clock import Clock
from metering.errors import Conflict
from metering.events import Events
from metering.exports import Exports
from metering.lake.attached import Lake, check_extensions
from metering.lake.extensions import ExtensionsMissing
from metering.lake.publisher import Publisher
from metering.lake.publishing import Publishing, node_name
from metering.ledger import Ledger
from metering.metrics import Metrics
from metering.price_list import PriceList
from metering.prices import PriceBook
from metering.statistics import Statistics
from metering.store import Store
from metering.terms import TermsChanged, keep_terms
from nightrate.backup.making import Backups
from nightrate.bookkeeping import Books, open_books
from nightrate.keys import KeptSecret, KeyRing, admin_key, kept_secret, new_secret
from nightrate.login import LoginTokens
from nightrate.settings import Settings, SettingsError
from nightrate.workspaces import Workspaces

VERSION = version("nightrate")


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that runs in the process, wired. `start` and `stop` are called once each."""

    settings: Settings
    clock: Clock
    store: Store
    admin: KeptSecret
    default_secret: str
    """The key `local` of the workspace `default`, made at first start."""
    session_secret: str
    keys: KeyRing
    logins: LoginTokens
    workspaces: Workspaces
    catalog: ModelCatalog
    prices: PriceList
    files: Files
    batches: Batches
    engine: Engine
    outbox: Outbox
    deliveries: Deliveries
    retention: Retention
    ledger: Ledger
    books: Books
    exports: Exports
    statistics: Statistics
    events: Events
    metrics: Metrics
    publishing: Publishing | None
    """None without a lake."""
    backups: Backups

    def start(self) -> None:
        """Clears what a crash left of uploads and backups, and begins to work on tasks."""
        self.files.discard_unfinished()
        self.backups.discard_unfinished()
        self.metrics.watch(self.engine.view)
        self.deliveries.start()
        self.engine.start()
        self.retention.start()
        if self.publishing is not None:
            self.publishing.start()

    def stop(self) -> None:
        """Stops work, commits what was answered and closes the database."""
        self.backups.stop()
        if self.publishing is not None:
            self.publishing.stop()
        self.retention.stop()
        self.engine.stop()
        self.deliveries.stop()
        self.metrics.stop()
        self.store.close()


def open_services(
    settings: Settings, env: Mapping[str, str], models: Sequence[ModelOptions], clock: Clock
) -> Services:
    """Opens the data folder and wires everything over it; nothing runs yet.

    Raises `SettingsError`, `PriceBookError`, `DataFolderInUse` or `DataFolderNewer`, each with a message
    for the operator.
    """
    _check_engine(settings.executor)
    upstream_keys = _upstream_keys(models, env)
    _check_lake(settings)
    prices = PriceBook.load(settings.billing.prices, settings.billing.currency, clock)
    prices.check_models((model.name, model.free) for model in models)
    with ExitStack() as undo:
        store = Store(settings.storage, clock=clock)
        undo.callback(store.close)
        prices.remember(store, [model.name for model in models])
        _keep_terms(store, settings)
        services = _wired(settings, env, models, clock, store, prices, upstream_keys)
        undo.pop_all()
    return services


def _check_lake(settings: Settings) -> None:
    try:
        check_extensions(settings.storage)
    except ExtensionsMissing as error:
        raise SettingsError(str(error)) from error


def _publishing(
    settings: Settings, env: Mapping[str, str], clock: Clock, store: Store, metrics: Metrics
) -> Publishing | None:
    options = settings.storage
    if options.lake is None:
        return None
    publisher = Publisher(
        store,
        Lake(options),
        options,
        settings.billing.timezone,
        node_name(store, options),
        clock,
        _fault_points(env),
    )
    publishing = Publishing(publisher, options, clock)
    metrics.watch_lake(publishing.metrics)
    return publishing


def _check_engine(options: ExecutorOptions) -> None:
    if options.engine == "ray" and find_spec("ray") is None:
        raise SettingsError(
            'executor.engine is "ray", but Ray is not installed; install it (pip install "nightrate[ray]"), '
            'or set executor.engine = "local"'
        )


def _keep_terms(store: Store, settings: Settings) -> None:
    try:
        keep_terms(store, settings.billing)
    except TermsChanged as error:
        raise SettingsError(str(error)) from error


def _upstream_keys(models: Sequence[ModelOptions], env: Mapping[str, str]) -> dict[str, str | None]:
    keys: dict[str, str | None] = {}
    for model in models:
        if model.api_key_env is not None:
            key = keys[model.name] = env.get(model.api_key_env, "").strip()
            if not sendable(key):
                raise SettingsError(
                    f"model {model.name!r}: the key in the environment variable {model.api_key_env} holds "
                    "characters that no HTTP header can carry; export it anew, without quotes or line breaks"
                )
            if not key:
                raise SettingsError(
                    f"model {model.name!r}: the environment variable {model.api_key_env} that api_key_env names "
                    "is not set; export the provider's key in it"
                )
    return keys


def _wired(
    settings: Settings,
    env: Mapping[str, str],
    models: Sequence[ModelOptions],
    clock: Clock,
    store: Store,
    prices: PriceBook,
    upstream_keys: Mapping[str, str | None],
) -> Services:
    data_dir, billing = settings.storage.data_dir, settings.billing
    admin = admin_key(data_dir, env)
    keys = KeyRing(store, admin.secret, clock)
    catalog = ModelCatalog(models)
    metrics = Metrics([(name, _upstreams(catalog, name)) for name in catalog.allowed(None)], store, VERSION)
    charged = [(model.name, model.free) for model in models]
    books = open_books(store, prices, billing, charged, settings.retention.event_days, clock, metrics)
    outbox = Outbox(store, settings.webhooks)
    deliveries = Deliveries(outbox, settings.webhooks, tls_context(), clock)
    parts = _engine_parts(settings, env, clock, store, catalog, books, metrics, upstream_keys)
    engine = Engine(replace(parts, on_settled=deliveries.wake))
    files = Files(store, data_dir, settings.limits, clock)
    batches = Batches(store, files, catalog, prices, clock, engine.wake, books.budgets)

    def cancel_tasks(workspace_id: str) -> None:
        for task_id in workspaces.running_tasks(workspace_id):
            _cancel(batches, task_id)

    changed = metrics.ledger_changed
    workspaces = Workspaces(
        store, keys, clock, catalog.allowed(None), cancel_tasks, books.budgets.currency_of, changed
    )
    workspaces.ensure_default()
    return Services(
        settings=settings,
        clock=clock,
        store=store,
        admin=admin,
        default_secret=workspaces.ensure_local_key(kept_secret(data_dir / "default.key", new_secret).secret),
        session_secret=kept_secret(data_dir / "session.key", new_secret).secret,
        keys=keys,
        logins=LoginTokens(clock, settings.server.login_link_seconds),
        workspaces=workspaces,
        catalog=catalog,
        prices=PriceList(store, prices, clock),
        files=files,
        batches=batches,
        engine=engine,
        outbox=outbox,
        deliveries=deliveries,
        retention=Retention(store, data_dir, settings.retention, clock),
        ledger=Ledger(store, billing, clock),
        books=books,
        exports=Exports(store, billing, clock),
        statistics=Statistics(store, settings.statistics, clock),
        events=Events(store),
        metrics=metrics,
        publishing=_publishing(settings, env, clock, store, metrics),
        backups=Backups(store, settings.storage, VERSION, clock),
    )


def _engine_parts(
    settings: Settings,
    env: Mapping[str, str],
    clock: Clock,
    store: Store,
    catalog: ModelCatalog,
    books: Books,
    metrics: Metrics,
    upstream_keys: Mapping[str, str | None],
) -> EngineParts:
    return EngineParts(
        store=store,
        catalog=catalog,
        biller=books.meter,
        instruments=metrics,
        options=settings.executor,
        limits=settings.limits,
        retention=settings.retention,
        data_dir=settings.storage.data_dir,
        min_free_bytes=settings.storage.min_free_bytes,
        api_keys=upstream_keys,
        clock=clock,
        faults=_fault_points(env),
    )


def _fault_points(env: Mapping[str, str]) -> FaultPoints:
    try:
        return FaultPoints(env.get("NIGHTRATE_FAULT"))
    except ValueError as error:
        raise SettingsError(f"environment variable {error}") from error


def _upstreams(catalog: ModelCatalog, name: str) -> list[str]:
    model = catalog.get(name)
    return list(model.upstreams) if model is not None else []


def _cancel(batches: Batches, task_id: str) -> None:
    try:
        batches.cancel(ADMIN, task_id)
    except Conflict:  # it came to its end meanwhile
        return
