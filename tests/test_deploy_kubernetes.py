"""deploy/kubernetes speaks of options, routes, ports and variables that there are; nothing is applied to a cluster."""

import re
from pathlib import Path

import pytest
import yaml

from .test_deploy import DEPLOY, options

FOLDER = DEPLOY / "kubernetes"
SERVING = Path(__file__).parents[1] / "src" / "aet" / "serving"
COMMANDS = SERVING.parent / "commands"


def read(name):
    return yaml.safe_load((FOLDER / name).read_text())


@pytest.fixture(scope="module")
def app():
    return read("app.yaml")


@pytest.fixture(scope="module")
def pod(app):
    return app["spec"]["template"]["spec"]


@pytest.fixture(scope="module")
def container(pod):
    (one,) = pod["containers"]
    return one


def test_every_manifest_is_named_and_none_is_forgotten():
    listed = set(read("kustomization.yaml")["resources"])
    there = {path.name for path in FOLDER.glob("*.yaml")}
    assert listed == there - {"kustomization.yaml", "secret.yaml", "first-key.yaml"}
    kinds = {read(name)["kind"] for name in there}
    wanted = {"Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget", "PersistentVolumeClaim"}
    assert kinds == wanted | {"Secret", "Job", "Kustomization"}


@pytest.mark.parametrize("name", ["app.yaml", "first-key.yaml"])
def test_the_command_is_one_that_aet_takes(name):
    (one,) = read(name)["spec"]["template"]["spec"]["containers"]
    verb, *rest = one["args"]
    if verb == "serve":
        assert {word for word in rest if word.startswith("--")} <= options("serve")
        return
    from typer.main import get_command

    from aet.cli import app

    added = get_command(app).commands["keys"].commands[rest[0]]
    assert {word for word in rest if word.startswith("--")} <= {o for part in added.params for o in part.opts}


def test_ports_lead_to_the_server(container):
    args = container["args"]
    (port,) = container["ports"]
    docker = (DEPLOY / "Dockerfile").read_text()
    assert args[args.index("--port") + 1] == str(port["containerPort"]) == re.search(r"^EXPOSE (\d+)$", docker, re.M)[1]
    (served,) = read("service.yaml")["spec"]["ports"]
    assert served["targetPort"] == port["name"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["port"] == port["name"]


def test_probes_ask_routes_that_need_no_key(container):
    source = (SERVING / "inference.py").read_text()
    prefix = re.search(r'APIRouter\(prefix="([^"]+)"', source)[1]
    known = {prefix + route for route in re.findall(r'@router\.get\("(/health/\w+)"\)', source)}
    asked = {container[probe]["httpGet"]["path"] for probe in ("startupProbe", "readinessProbe", "livenessProbe")}
    assert asked == known == {"/v2/health/live", "/v2/health/ready"}


def test_variables_are_read_by_the_code_and_come_from_the_secret(container):
    source = "".join(path.read_text() for path in COMMANDS.glob("*.py"))
    keys = set(read("secret.yaml")["stringData"])
    for one in container["env"]:
        if one["name"] == "OMP_NUM_THREADS":
            assert one["value"] == container["resources"]["requests"]["cpu"]
            continue
        assert f'"{one["name"]}"' in source
        assert one["valueFrom"]["secretKeyRef"]["key"] in keys
        assert one["valueFrom"]["secretKeyRef"]["name"] == read("secret.yaml")["metadata"]["name"]


def test_aet_serve_reads_its_store_from_the_variable():
    from typer.main import get_command

    from aet.cli import app

    store = next(part for part in get_command(app).commands["serve"].params if "--store" in part.opts)
    assert store.envvar == "AET_STORE"


def test_no_secret_is_written_down():
    filled = {name: value for name, value in read("secret.yaml")["stringData"].items() if value}
    assert filled == {"store": "postgresql://USER:PASSWORD@HOST/NAME"}


@pytest.mark.parametrize("name", ["app.yaml", "first-key.yaml"])
def test_it_runs_as_nobody_special(name):
    pod = read(name)["spec"]["template"]["spec"]
    docker = (DEPLOY / "Dockerfile").read_text()
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["runAsUser"] == int(re.search(r"useradd .*--uid (\d+)", docker)[1])
    assert not pod["automountServiceAccountToken"]
    for one in pod["containers"]:
        assert one["securityContext"]["readOnlyRootFilesystem"]
        assert not one["securityContext"]["allowPrivilegeEscalation"]
        assert one["securityContext"]["capabilities"]["drop"] == ["ALL"]


def test_what_is_mounted_is_there(pod, container):
    volumes = {one["name"]: one for one in pod["volumes"]}
    mounted = {one["mountPath"]: one["name"] for one in container["volumeMounts"]}
    assert set(mounted.values()) == set(volumes)
    assert "/tmp" in mounted, "the root is read-only"
    run = container["args"][1]
    assert any(run.startswith(f"{path}/") for path in mounted)
    claim = volumes[mounted["/runs"]]["persistentVolumeClaim"]["claimName"]
    assert claim == read("runs.yaml")["metadata"]["name"]


def test_all_select_the_same_pods(app):
    labels = app["spec"]["template"]["metadata"]["labels"]
    for selected in (
        app["spec"]["selector"]["matchLabels"],
        read("service.yaml")["spec"]["selector"],
        read("disruption.yaml")["spec"]["selector"]["matchLabels"],
    ):
        assert selected == labels
    target = read("autoscaler.yaml")["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"], target["apiVersion"]) == (
        app["kind"],
        app["metadata"]["name"],
        app["apiVersion"],
    )
    assert "replicas" not in app["spec"], "the autoscaler says how many"


def test_a_server_has_time_to_end(pod, container):
    from aet.serving.server import GRACE

    before = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] >= GRACE + before + 10
    assert read("autoscaler.yaml")["spec"]["minReplicas"] >= 2 > read("disruption.yaml")["spec"]["maxUnavailable"]
