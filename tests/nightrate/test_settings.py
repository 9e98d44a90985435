"""Settings: one file, the environment above it, and errors that say how to mend them."""

from pathlib import Path

import pytest

from nightrate.settings import SettingsError, load, setting_names, settings_path


def written(folder: Path, text: str) -> Path:
    file = folder / "nightrate.toml"
    file.write_text(text)
    return file


def refusal(file: Path, env: dict[str, str] | None = None) -> str:
    with pytest.raises(SettingsError) as caught:
        load(file, env or {})
    return str(caught.value)


def test_an_empty_file_gives_the_defaults_on_loopback(tmp_path: Path) -> None:
    """Nothing needs to be set, and nobody outside the machine is let in."""
    settings = load(written(tmp_path, ""), {})
    assert (settings.server.host, settings.server.port) == ("127.0.0.1", 8000)
    assert settings.models == ()
    assert not settings.local_model.enabled


def test_paths_are_relative_to_the_settings_file(tmp_path: Path) -> None:
    """The same file means the same folders from wherever it is named."""
    text = '[storage]\ndata_dir = "../data"\n[billing]\nprices = "my.toml"\n[local_model]\nfolder = "m"'
    (tmp_path / "config").mkdir()
    settings = load(written(tmp_path / "config", text), {})
    assert settings.storage.data_dir == tmp_path / "data"
    assert settings.billing.prices == tmp_path / "config" / "my.toml"
    assert settings.local_model.folder == tmp_path / "config" / "m"


def test_the_environment_overrides_the_file(tmp_path: Path) -> None:
    """`NIGHTRATE_SECTION__KEY` wins over the file and leaves its other keys alone."""
    file = written(tmp_path, '[server]\nport = 1\nhost = "0.0.0.0"')
    env = {"NIGHTRATE_SERVER__PORT": "9100", "NIGHTRATE_WEBHOOKS__ALLOW_NETWORKS": '["10.0.0.0/8"]'}
    settings = load(file, env)
    assert (settings.server.port, settings.server.host) == (9100, "0.0.0.0")
    assert str(settings.webhooks.allow_networks[0]) == "10.0.0.0/8"


def test_other_variables_of_ours_are_no_settings(tmp_path: Path) -> None:
    """Keys and addresses for the command line are not mistaken for settings."""
    env = {"NIGHTRATE_ADMIN_KEY": "sk", "NIGHTRATE_URL": "http://x", "NIGHTRATE_KEY": "k", "PATH": "/bin"}
    assert load(written(tmp_path, ""), env).server.port == 8000


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("[server]\nprot = 1", "server.prot: there is no such setting; did you mean 'port'?"),
        ("[servr]\nport = 1", "servr: there is no such setting; did you mean 'server'?"),
        ("data_dir = 'x'", "data_dir: there is no such setting; did you mean 'storage.data_dir'?"),
        (
            "[[models]]\nname='a'\nupstreams=['http://a/v1']\nfre=true",
            "models[0].fre: there is no such setting; did you mean 'free'?",
        ),
        (
            "[[models]]\nname='a'\nupstreams=['http://']",
            "models[0].upstreams[0]: 'http://' is not an http://",
        ),
        ("[[models]]\nname='a'\nupstreams=['http://a:b/v1']", "Port could not be cast to integer value"),
        ("[[models]]\nname='a'\nupstreams=['http://a:99999/v1']", "Port out of range"),
        ("[[models]]\nname='a'\nupstreams=['http://[::1/v1']", "Invalid IPv6 URL"),
        ("[[models]]\nname='a'\nupstreams=['http://a b/v1']", "is not an http:// or https:// address"),
        ("[[models]]\nname='a'\nupstreams=['http://a/v1?version=1']", "leave out '?' or '#'"),
        ("[server]\nport = 99999", "server.port: Input should be less than or equal to 65535, not 99999"),
        ("[billing]\ntimezone = 'Mars'", "billing.timezone: 'Mars' is not an IANA time zone"),
        ("[server", "is not valid TOML"),
        ("[webhooks]\nallow_networks = ['x']", "webhooks.allow_networks[0]"),
        (
            "[[models]]\nname='batch-test-model'\nupstreams=['http://a/v1']",
            "'batch-test-model' is there 2 times",
        ),
    ],
)
def test_a_wrong_file_is_refused_with_the_place_and_the_right_name(
    tmp_path: Path, text: str, wanted: str
) -> None:
    """An operator learns the file, the key and what to write instead."""
    message = refusal(written(tmp_path, text))
    assert wanted in message
    assert str(tmp_path / "nightrate.toml") in message


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        (
            "NIGHTRATE_SERVER__PROT",
            "1",
            "NIGHTRATE_SERVER__PROT: there is no such setting; did you mean 'port'?",
        ),
        (
            "NIGHTRATE_SERVR__PORT",
            "1",
            "NIGHTRATE_SERVR__PORT: there is no section 'servr'; did you mean 'server'?",
        ),
        ("NIGHTRATE_SERVER__PORT", "many", "NIGHTRATE_SERVER__PORT: Input should be a valid integer"),
        ("NIGHTRATE_WEBHOOKS__ALLOW_NETWORKS", "{", "environment: "),
    ],
)
def test_a_wrong_variable_is_refused_by_its_name(tmp_path: Path, name: str, value: str, wanted: str) -> None:
    """A misspelt override is never silently without effect."""
    assert wanted in refusal(written(tmp_path, ""), {name: value})


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    """Two mistakes are two lines of one message."""
    assert len(refusal(written(tmp_path, "[server]\nprot = 1\nhots = 'x'")).splitlines()) == 2


def test_the_file_is_named_by_option_then_variable_then_default(tmp_path: Path) -> None:
    """`--config` beats `NIGHTRATE_CONFIG`, which beats the shipped place."""
    env = {"NIGHTRATE_CONFIG": "b.toml"}
    assert settings_path(Path("a.toml"), env) == Path("a.toml")
    assert settings_path(None, env) == Path("b.toml")
    assert settings_path(None, {}) == Path("config/nightrate.toml")
    assert "there is no settings file" in refusal(tmp_path / "none.toml")


def test_every_setting_has_a_name() -> None:
    """The list that the documentation is held against is complete."""
    names = list(setting_names())
    assert {"server.port", "models.upstreams", "executor.max_attempts", "local_model.enabled"} <= set(names)
    assert len(names) == len(set(names))


def test_a_lake_needs_a_place_for_its_data(tmp_path: Path) -> None:
    """The catalogue alone is refused; a folder is relative to the settings file, an address is not."""
    lake = "[storage]\nlake = 'host=db'\n"
    assert "storage.lake_data" in refusal(written(tmp_path, lake))
    for given, meant in (("lake", str(tmp_path / "lake")), ("s3://bucket/lake/", "s3://bucket/lake/")):
        settings = load(written(tmp_path, f"{lake}lake_data = '{given}'"), {})
        assert settings.storage.lake_data == meant
