"""The whole application: the services of all rooms behind one web app."""

from collections.abc import Mapping, Sequence

from fastapi import APIRouter, FastAPI

from dashboard.app import console
from dashboard.services import ConsoleServices
from executor.api import batches as batches_api
from executor.api import files as files_api
from executor.api import models as models_api
from executor.options import ModelOptions
from metering.api import audit as audit_api
from metering.api import billing as billing_api
from metering.api import events as events_api
from metering.api import price_check as price_check_api
from metering.api import statements as statements_api
from metering.api import statistics as statistics_api
from metering.calls import Calls
from metering.clock import Clock, utc_now
from metering.glance import Glance
from nightrate.all_nodes import all_nodes
from nightrate.api import backup as backup_api
from nightrate.api import workspaces as workspaces_api
from nightrate.auth import Gatekeeping
from nightrate.keys import same_secret
from nightrate.models import configured_models
from nightrate.services import VERSION, Services, open_services
from nightrate.settings import Settings, SettingsError
from nightrate.web import mount_console, service_routes, web_app


def build(
    settings: Settings,
    env: Mapping[str, str],
    models: Sequence[ModelOptions] | None = None,
    clock: Clock = utc_now,
) -> tuple[FastAPI, Services]:
    """The web app and its services. The app starts and stops the services; errors as in `open_services`.

    `models` are those of the settings, unless some of them can't be had now.
    """
    token = _metrics_token(settings, env)
    services = open_services(settings, env, configured_models(settings) if models is None else models, clock)
    keeping = Gatekeeping(
        verify=services.keys.verify,
        has_workspace=services.keys.has_workspace,
        is_metrics_token=lambda given: token is not None and same_secret(given, token),
        body_bytes=settings.limits.request_body_bytes,
        backup_list_bytes=settings.limits.backup_list_bytes,
    )
    app = web_app(
        version=VERSION,
        keeping=keeping,
        routers=_routers(services),
        start=services.start,
        stop=services.stop,
        request_threads=settings.server.request_threads,
        stall_seconds=settings.server.stall_seconds,
    )
    mount_console(app, console(_console_services(services)), settings.server.request_threads)
    return app, services


def _metrics_token(settings: Settings, env: Mapping[str, str]) -> str | None:
    name = settings.server.metrics_token_env
    if name is None:
        return None
    if not env.get(name):
        raise SettingsError(
            f"server.metrics_token_env: the environment variable {name} is not set; export the token in it"
        )
    return env[name]


def _routers(services: Services) -> list[APIRouter]:
    engine, billing, books = services.engine, services.settings.billing, services.books
    of_nodes = all_nodes(services)
    return [
        files_api.router(services.files, services.batches, services.catalog),
        batches_api.router(services.batches, engine.live, billing.zone),
        models_api.router(services.batches, services.catalog),
        statistics_api.router(of_nodes.statistics),
        events_api.router(services.events),
        billing_api.router(services.ledger, services.prices, of_nodes.exports),
        price_check_api.router(books.price_check),
        statements_api.router(of_nodes.statements, books.closing, books.verification, books.corrections),
        audit_api.router(books.audit),
        workspaces_api.router(services.workspaces),
        backup_api.router(services.backups),
        service_routes(engine.ready, services.metrics.render),
    ]


def _console_services(services: Services) -> ConsoleServices:
    settings = services.settings
    return ConsoleServices(
        files=services.files,
        batches=services.batches,
        catalog=services.catalog,
        outbox=services.outbox,
        statistics=services.statistics,
        glance=Glance(services.store),
        ledger=services.ledger,
        prices=services.prices,
        exports=services.exports,
        statements=services.books.statements,
        budgets=services.books.budgets,
        unbilled=services.books.unbilled,
        calls=Calls(services.store),
        audit=services.books.audit,
        workspaces=services.workspaces,
        limits=settings.limits,
        billing=settings.billing,
        statistics_options=settings.statistics,
        clock=services.clock,
        authenticate=services.keys.verify,
        still_valid=services.keys.still_valid,
        redeem_login_token=services.logins.redeem,
        live=services.engine.live,
        busy=services.engine.view.busy,
        revision=lambda: services.store.commits,
        upstreams_up=services.engine.view.upstreams_up,
        # another admin key ends every session that the old one opened
        session_secret=services.session_secret + services.admin.secret,
        version=VERSION,
        data_folder=str(settings.storage.data_dir),
        secure=(settings.server.public_url or "").startswith("https://"),
        notice=settings.server.notice,
    )
