"""The files of etc/ and the man pages: each is right by the tool whose file it is, and fits what pgweir says and does."""

import json
import os
import re
import shutil
import subprocess

import pytest

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
ETC = os.path.join(ROOT, "etc")


def run(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, stdin=subprocess.DEVNULL, timeout=60)
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def metric_names():
    """The families that /metrics has, from the source of its page."""
    with open(os.path.join(ROOT, "src", "http", "metrics.c")) as file:
        source = file.read()
    plain = set(re.findall(r"put_(?:family|gauges)\(out,(?: report,)? \"(\w+)\"", source))
    counters = {name + "_total" for name in re.findall(r"COUNTER\(\w+, \"(\w+)\"", source)} | {"log_lines_dropped_total"}
    spreads = {name + suffix for name in re.findall(r"SPREAD\(\"(\w+)\"", source) for suffix in ("_bucket", "_sum", "_count")}
    assert plain and counters and spreads
    return plain | counters | spreads


def names_in(text):
    return set(re.findall(r"\bpgweir_(\w+)", text))


@pytest.mark.full
def test_haproxy_takes_its_sample():
    run("haproxy", "-c", "-f", os.path.join(ETC, "haproxy.cfg"))


@pytest.mark.full
def test_prometheus_takes_the_rules_and_their_metrics_exist(metric_names):
    rules = os.path.join(ETC, "prometheus-rules.yml")
    assert "SUCCESS" in run("promtool", "check", "rules", rules)
    with open(rules) as file:
        used = names_in(file.read())
    assert used and used <= metric_names, used - metric_names


def test_grafana_dashboard_asks_for_metrics_that_exist(metric_names):
    with open(os.path.join(ETC, "grafana.json")) as file:
        dashboard = json.load(file)
    asked = {target["expr"] for panel in dashboard["panels"] for target in panel["targets"]}
    used = set().union(*map(names_in, asked))
    assert len(asked) >= 15 and used <= metric_names, used - metric_names
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in dashboard["panels"]]
    assert len(set(places)) == len(places), "two panels lie in one place"


@pytest.mark.full
def test_systemd_takes_the_unit(tmp_path):
    with open(os.path.join(ETC, "pgweir.service")) as file:
        unit = file.read().replace("/usr/bin/pgweir", shutil.which("true"))
    path = tmp_path / "pgweir.service"
    path.write_text(unit)
    assert run("systemd-analyze", "verify", "--man=no", str(path)) == ""


def test_pgweir_takes_its_own_samples(pooler):
    """hba.conf is right, and the sample configuration has no finding but what a machine without it lacks."""
    under_test = pooler(auth_type="hba", auth_hba_file=os.path.join(ETC, "hba.conf"))
    with under_test.peer() as peer:
        assert peer.value("select 1") == "1"
