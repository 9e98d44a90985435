"""Commands of the operator: serve, settings, workspaces, keys."""

import os
from collections.abc import Iterator, Mapping
from typing import Annotated, Any
from urllib.parse import urlsplit, urlunsplit

import typer

from metering.lake.catalogue import without_password
from nightrate.cli.failure import wrong_use
from nightrate.cli.service import segment
from nightrate.cli.shown import Screen, utc_time
from nightrate.cli.surroundings import AsJson, Config, Key, Surroundings, Url
from nightrate.cli.work import connect

WorkspaceArgument = Annotated[str, typer.Argument(metavar="WORKSPACE", help="The workspace's id")]


def serve(config: Config = None) -> None:
    """Runs the service until it is told to stop."""
    from nightrate.serve import serve as run_service  # the server and the console take a second to import

    raise typer.Exit(run_service(config))


def settings(as_json: AsJson = False, config: Config = None) -> None:
    """Prints the settings in force: file, environment and defaults together, secrets left out."""
    values = without_secrets(Surroundings(os.environ, config).settings.model_dump(mode="json"))
    if as_json:
        return Screen().json(values)
    for line in _toml(values):
        print(line)
    return None


def without_secrets(value: Any) -> Any:
    """The same values, with what stands before the @ of an address left out, and passwords."""
    if isinstance(value, Mapping):
        return {name: without_secrets(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [without_secrets(inner) for inner in value]
    if not isinstance(value, str):
        return value
    return _without_user(value) if "://" in value else without_password(value)


def _without_user(address: str) -> str:
    parts = urlsplit(address)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))


def _toml(values: Mapping[str, Any]) -> Iterator[str]:
    """Sections as TOML; what is unset stands in a comment, since TOML has no word for it."""
    for section, content in values.items():
        tables = content if isinstance(content, list) else [content]
        for table in tables:
            yield f"[[{section}]]" if isinstance(content, list) else f"[{section}]"
            yield from (_setting(name, value) for name, value in table.items())
            yield ""


def _setting(name: str, value: object) -> str:
    return f"# {name} is not set" if value is None else f"{name} = {_literal(value)}"


def _literal(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "[" + ", ".join(map(_literal, value)) + "]"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    return str(value)


def workspaces(
    ctx: typer.Context, as_json: AsJson = False, config: Config = None, url: Url = None, key: Key = None
) -> None:
    """Lists the workspaces."""
    if ctx.invoked_subcommand:
        return
    rows = connect(config, url, key).all_pages("/v1/workspaces", most=10_000)
    _show_workspaces(rows, as_json)


def workspaces_create(
    name: Annotated[str, typer.Argument()],
    as_json: AsJson = False,
    config: Config = None,
    url: Url = None,
    key: Key = None,
) -> None:
    """Makes a workspace."""
    _show_workspaces([connect(config, url, key).post("/v1/workspaces", {"name": name})], as_json)


def workspaces_set(
    workspace: WorkspaceArgument,
    name: Annotated[str | None, typer.Option("--name")] = None,
    disabled: Annotated[
        bool | None, typer.Option("--disabled/--enabled", help="A disabled one runs nothing")
    ] = None,
    currency: Annotated[
        str | None, typer.Option("--currency", help="Its bills' currency, for instance USD")
    ] = None,
    budget: Annotated[
        str | None, typer.Option("--budget", help="Its limit per month, in its currency; none takes it away")
    ] = None,
    allow: Annotated[
        list[str] | None, typer.Option("--allow-model", help="Only these models; repeat it")
    ] = None,
    allow_all: Annotated[bool, typer.Option("--allow-all-models")] = False,
    as_json: AsJson = False,
    config: Config = None,
    url: Url = None,
    key: Key = None,
) -> None:
    """Changes a workspace."""
    given: dict[str, object] = {
        "name": name,
        "disabled": disabled,
        "currency": currency,
        "allowed_models": allow,
    }
    changes = {field: value for field, value in given.items() if value is not None}
    if allow_all:
        changes["allowed_models"] = None
    if budget is not None:
        changes["budget"] = None if budget == "none" else budget
    if not changes:
        raise wrong_use(
            "nothing to change was given", "nightrate workspaces set --help lists what can be changed."
        )
    changed = connect(config, url, key).patch(f"/v1/workspaces/{segment(workspace)}", changes)
    _show_workspaces([changed], as_json)


def _show_workspaces(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        return Screen().json(rows)
    columns = [
        ("Workspace", "id"),
        ("Name", "name"),
        ("Disabled", "disabled"),
        ("Currency", "currency"),
        (">Budget", "budget"),
        ("Models", "models"),
    ]
    shown = [{**row, "models": row.get("allowed_models") or "all"} for row in rows]
    return Screen().rows(columns, shown, empty="There is no workspace.")


def keys(
    ctx: typer.Context,
    workspace: Annotated[str, typer.Option("--workspace", metavar="ID")] = "default",
    as_json: AsJson = False,
    config: Config = None,
    url: Url = None,
    key: Key = None,
) -> None:
    """Lists a workspace's keys, without their secrets."""
    if ctx.invoked_subcommand:
        return None
    rows = connect(config, url, key).all_pages(f"/v1/workspaces/{segment(workspace)}/keys", most=10_000)
    if as_json:
        return Screen().json(rows)
    columns = [
        ("Key", "id"),
        ("Name", "name"),
        ("Begins with", "prefix"),
        ("Created (UTC)", "created"),
        ("", "state"),
    ]
    shown = [{**row, "created": utc_time(row.get("created_at")), "state": _key_state(row)} for row in rows]
    return Screen().rows(columns, shown, empty="This workspace has no key.")


def _key_state(row: Mapping[str, Any]) -> str:
    if row.get("revoked_at"):
        return "revoked"
    return f"expires {utc_time(row['expires_at'])}" if row.get("expires_at") else ""


def keys_create(
    name: Annotated[str, typer.Argument(help="What the key is for")],
    workspace: Annotated[str, typer.Option("--workspace", metavar="ID")] = "default",
    config: Config = None,
    url: Url = None,
    key: Key = None,
) -> None:
    """Makes a key for a workspace and prints its secret, this once."""
    made = connect(config, url, key).post(f"/v1/workspaces/{segment(workspace)}/keys", {"name": name})
    print(made["secret"])
    Screen().say(f"{made['id']} of {workspace}: keep the secret, it is not shown again.")


def keys_revoke(
    key_id: Annotated[str, typer.Argument(metavar="KEY_ID")],
    workspace: Annotated[str, typer.Option("--workspace", metavar="ID")] = "default",
    config: Config = None,
    url: Url = None,
    key: Key = None,
) -> None:
    """Revokes a key; its tasks go on."""
    connect(config, url, key).delete(f"/v1/workspaces/{segment(workspace)}/keys/{segment(key_id)}")
    Screen().say(f"{key_id} is revoked.")
