"""The files under deploy/ speak of options, routes and metrics that there are; no container is started here."""

import json
import re
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

DEPLOY = Path(__file__).parents[1] / "deploy"


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())


def options(verb):
    from aet.cli import app

    return {name for part in get_command(app).commands[verb].params for name in part.opts}


def test_the_command_is_one_that_aet_takes(compose):
    docker = (DEPLOY / "Dockerfile").read_text()
    given = json.loads(re.search(r"^CMD (\[.*\])$", docker, re.M)[1])
    for command in (given, compose["services"]["app"]["command"]):
        assert command[0] == "serve"
        assert {word for word in command if word.startswith("--")} <= options("serve")


def test_the_server_runs_as_nobody_special(compose):
    docker = (DEPLOY / "Dockerfile").read_text()
    assert re.search(r"^USER aet$", docker, re.M)
    assert docker.index("USER aet") < docker.index("ENTRYPOINT")
    app = compose["services"]["app"]
    assert app["read_only"]
    assert app["cap_drop"] == ["ALL"]
    for service in compose["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_every_file_that_is_mounted_is_there_but_for_runs_and_secrets(compose):
    mounted = [mount.split(":")[0] for one in compose["services"].values() for mount in one.get("volumes", [])]
    files = [path for path in mounted if path.startswith("./") and path != "./runs"]
    assert len(files) == 5
    for path in files:
        assert (DEPLOY / path).is_file(), path


def test_no_secret_is_written_down(compose):
    for one in compose["services"].values():
        for name, value in one.get("environment", {}).items():
            assert "PASSWORD" not in name or value.startswith("${"), name
    assert not list(DEPLOY.rglob("*.key"))
    assert not list(DEPLOY.rglob(".env"))


def queries():
    board = json.loads((DEPLOY / "grafana" / "board.json").read_text())
    rules = yaml.safe_load((DEPLOY / "alerts.yaml").read_text())["groups"][0]["rules"]
    return [target["expr"] for panel in board["panels"] for target in panel["targets"]] + [r["expr"] for r in rules]


def test_boards_and_alerts_read_metrics_that_there_are():
    from aet.serving import metrics

    source = Path(metrics.__file__).read_text()
    asked = {re.sub(r"_(total|bucket|sum|count)$", "", name) for q in queries() for name in re.findall(r"aet_\w+", q)}
    assert len(asked) > 7
    assert asked <= set(re.findall(r'"(aet_\w+)"', source))


def test_every_alert_says_what_to_do():
    for rule in yaml.safe_load((DEPLOY / "alerts.yaml").read_text())["groups"][0]["rules"]:
        assert rule["annotations"]["todo"]
        assert rule["annotations"]["summary"]


def test_prometheus_reads_the_route_that_serves_metrics():
    scrape = yaml.safe_load((DEPLOY / "prometheus.yaml").read_text())["scrape_configs"][0]
    assert scrape["metrics_path"] == "/metrics"
    assert scrape["authorization"]["credentials_file"] == "/run/secrets/prometheus_key"
