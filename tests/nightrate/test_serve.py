"""Starting and stopping as an operator sees it."""

import re
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest
import requests

from tests.nightrate.running import PRICES, refused, settings_file, start

MODEL = '[[models]]\nname = "%s"\nupstreams = ["http://127.0.0.1:9/v1"]\n'


def test_a_first_start_a_stop_and_a_second_start(tmp_path: Path) -> None:
    """The admin key is shown once, the link logs in once, SIGTERM ends with 0, nothing secret is logged."""
    config = settings_file(tmp_path, MODEL % "priced")
    data = tmp_path / "data"
    with start(config) as service:
        admin = (data / "admin.key").read_text().strip()
        local = (data / "default.key").read_text().strip()
        assert admin in service.printed
        assert local in service.printed
        for name in ("admin.key", "default.key", "session.key"):
            assert stat.S_IMODE((data / name).stat().st_mode) == 0o600
        link = re.search(r"http\S+/console/login\?token=\S+", service.printed)
        assert link is not None
        assert _page_after_login(link[0]).endswith("/console/")
        assert "/login" in _page_after_login(link[0])
        for key in (admin, local):
            reply = requests.get(
                f"{service.url}/v1/models", headers={"authorization": f"Bearer {key}"}, timeout=30
            )
            assert [model["id"] for model in reply.json()["data"]] == ["priced", "batch-test-model"]
        assert requests.get(f"{service.url}/readyz", timeout=30).status_code == 200
        assert service.stop() == 0
    with start(config) as again:
        assert admin not in again.printed
        assert local in again.printed
        assert again.stop() == 0
    logged = again.errors.read_text()
    token = link[0].partition("token=")[2]
    assert not [secret for secret in (admin, local, token) if secret in logged]
    assert "Traceback" not in logged


def _page_after_login(link: str) -> str:
    with requests.Session() as browser:
        return browser.get(link, timeout=20).url


def test_control_c_stops_too(tmp_path: Path) -> None:
    """As SIGTERM does."""
    with start(settings_file(tmp_path)) as service:
        service.process.send_signal(signal.SIGINT)
        assert service.process.wait(60) == 0


def test_a_port_in_use_is_said_in_one_line(tmp_path: Path) -> None:
    """With the port and what to set; exit code 1."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        code, said = refused(settings_file(tmp_path), NIGHTRATE_SERVER__PORT=port)
    assert (code, len(said.splitlines())) == (1, 1)
    assert f"port {port}" in said
    assert "server.port" in said


def test_a_data_folder_in_use_names_its_owner(tmp_path: Path) -> None:
    """So that the operator knows what to stop."""
    config = settings_file(tmp_path)
    with start(config) as service:
        code, said = refused(config)
        assert (code, len(said.splitlines())) == (1, 1)
        assert str(service.process.pid) in said
        assert service.stop() == 0


def test_a_data_folder_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    """Its schema is named, and nothing is written."""
    config = settings_file(tmp_path)
    with start(config) as service:
        service.stop()
    with duckdb.connect(str(tmp_path / "data" / "nightrate.duckdb")) as database:
        database.execute("INSERT INTO schema_migrations VALUES (9999, 'later', now())")
    code, said = refused(config)
    assert (code, len(said.splitlines())) == (1, 1)
    assert "9999" in said
    assert "newer" in said


@pytest.mark.parametrize(
    ("settings", "prices", "wanted"),
    [
        ("[executor]\nmax_attemps = 3\n", PRICES, "did you mean 'max_attempts'"),
        ("", PRICES.replace('"2" }', '"x" }'), "prices.toml"),
        ("", PRICES + "tiers = [\n", "prices.toml"),
        (MODEL % "unpriced", PRICES, "unpriced"),
        (MODEL % "priced" + 'api_key_env = "NO_SUCH_KEY"\n', PRICES, "NO_SUCH_KEY"),
        ('[server]\nmetrics_token_env = "NO_SUCH_TOKEN"\n', PRICES, "NO_SUCH_TOKEN"),
    ],
)
def test_wrong_settings_or_prices_are_exit_code_2(
    tmp_path: Path, settings: str, prices: str, wanted: str
) -> None:
    """Told without a traceback, and nothing is left behind in the data folder that hinders the next start."""
    config = settings_file(tmp_path, prices=prices)
    text = config.read_text()
    config.write_text(
        text.replace("[server]\nport = 0", settings + "port = 0")
        if "[server]" in settings
        else text + settings
    )
    code, said = refused(config)
    assert code == 2, said
    assert wanted in said
    assert "Traceback" not in said


def test_an_unreachable_data_folder_is_said(tmp_path: Path) -> None:
    """A file where the folder should be."""
    config = settings_file(tmp_path)
    (tmp_path / "data").write_text("")
    code, said = refused(config)
    assert code == 1
    assert "data" in said
    assert "Traceback" not in said


def test_a_file_that_is_no_database_is_said(tmp_path: Path) -> None:
    """With its path; it is not touched."""
    config = settings_file(tmp_path)
    (tmp_path / "data").mkdir()
    database = tmp_path / "data" / "nightrate.duckdb"
    database.write_bytes(b"no database" * 1000)
    code, said = refused(config)
    assert (code, len(said.splitlines())) == (1, 1)
    assert str(database) in said
    assert database.read_bytes() == b"no database" * 1000


def test_without_its_weights_the_service_offers_the_test_model(tmp_path: Path) -> None:
    """And says why the local model is not there."""
    config = settings_file(
        tmp_path, "[local_model]\nenabled = true\n", PRICES.replace("priced", "smollm2-135m")
    )
    broken = tmp_path / "cache"
    broken.write_text("a file where the cache folder should be")
    with start(config, NIGHTRATE_LOCAL_MODEL__FOLDER=str(broken)) as service:
        assert re.search(r"Models +batch-test-model\n", service.printed)
        assert service.stop() == 0
    assert "'smollm2-135m' is not offered" in service.errors.read_text()


def test_a_killed_service_leaves_no_local_model_behind(tmp_path: Path) -> None:
    """Its process reads a pipe of the service and ends when that closes."""
    waits = "import sys, nightrate.local_model as m; m.serve_until_closed(lambda: print('up', flush=True))"
    child = subprocess.Popen([sys.executable, "-c", waits], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stdout.readline() == b"up\n"
    child.stdin.close()
    deadline = time.monotonic() + 60
    while child.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    child.stdout.close()
    assert child.returncode == 0
