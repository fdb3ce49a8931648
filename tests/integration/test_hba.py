"""Host-based rules: who may come in from where, and by which method; certificates and ident maps."""

import os
import tempfile

import pytest

from peer import Refused, tls_context
from test_tls import client_side
from waiting import give_away

LOCAL = "local all all scram-sha-256\n"  # the console of the tests


@pytest.fixture
def write(directory):
    """Writes a file that the pooler can read; gives its path."""
    folder = tempfile.mkdtemp(prefix="rules-", dir=directory)
    give_away(folder)

    def write(name, text):
        path = os.path.join(folder, name)
        with open(path, "w") as file:
            file.write(text)
        give_away(path)
        return path

    return write


def start(pooler, write, rules, maps=None, **options):
    if maps is not None:
        options["auth_ident_file"] = write("ident.conf", maps)
    return pooler(auth_type="hba", auth_hba_file=write("hba.conf", LOCAL + rules), **options)


def refused(under_test, **options):
    """SQLSTATE and text of a refused login."""
    with pytest.raises(Refused) as failure:
        under_test.peer(**options)
    return failure.value.fields["C"], failure.value.fields["M"]


def asked(under_test, **options):
    """The kinds of authentication that a login that succeeds was asked for."""
    with under_test.peer(**options) as peer:
        assert peer.value("select 1") == "1"
        return peer.authentication[0]


def test_the_first_rule_that_fits_says_how(pooler, write):
    under_test = start(pooler, write, "host app alice 127.0.0.0/8 scram-sha-256\n"
                                      "host app bob 127.0.0.1 255.255.255.255 password\n"
                                      "host /^ot all samehost md5\n"
                                      "host app clear 127.0.0.1/32 reject\n"
                                      "host app open 127.0.0.1/32 trust\n")
    assert asked(under_test, user="alice") == 10
    assert asked(under_test, user="bob") == 3
    assert asked(under_test, user="alice", database="other") == 5
    assert asked(under_test, user="open") == 0
    assert refused(under_test, user="clear") == ("28000", "login rejected")
    assert refused(under_test, user="limited") == ("28000", "no authentication method is found")


def test_unknown_users_meet_the_same_rules(pooler, write):
    under_test = start(pooler, write, "host app nobody,alice 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 reject\n")
    wrong = refused(under_test, user="alice", secret="wrong")
    assert refused(under_test, user="nobody", secret="wrong") == wrong == ("28P01", "SASL authentication failed")
    assert refused(under_test, user="nobody2", secret="wrong") == ("28000", "login rejected")


def test_rules_for_tls_and_for_none(pooler, write, certificates):
    under_test = start(pooler, write, "hostssl all all all scram-sha-256\nhostnossl all all all reject\n",
                       **client_side(certificates, "prefer"))
    assert asked(under_test, tls=tls_context(certificates.ca)) == 10
    assert refused(under_test) == ("28000", "login rejected")


def certified(certificates, name):
    return tls_context(certificates.ca, certificates.certificate(name), certificates.key(name))


def test_certificates_as_the_method(pooler, write, certificates):
    """By the name inside, or by a map; nobody without one, and nobody whom the user list does not know."""
    under_test = start(pooler, write, "hostssl app alice,certified,nobody all cert\nhostssl app bob all cert map=m\n"
                                      "host app all all cert\n",
                       maps="m /^(al)ice$ bob\n", **client_side(certificates, "prefer", client_tls_ca_file=certificates.ca))
    failed = ("28000", "certificate authentication failed")
    assert asked(under_test, user="alice", tls=certified(certificates, "alice")) == 0
    assert asked(under_test, user="bob", tls=certified(certificates, "alice")) == 0
    assert refused(under_test, user="bob", tls=certified(certificates, "certified")) == failed
    assert refused(under_test, user="alice", tls=certified(certificates, "certified")) == failed
    assert refused(under_test, user="nobody", tls=certified(certificates, "alice")) == failed
    assert refused(under_test, user="alice", tls=tls_context(certificates.ca)) == failed
    assert refused(under_test, user="alice") == failed
    for line in ("TLS connection required", "TLS client certificate required", "TLS certificate name mismatch", "does not have a match"):
        under_test.await_log(line)


def test_a_certificate_besides_the_password(pooler, write, certificates):
    under_test = start(pooler, write, "hostssl app alice all scram-sha-256 clientcert=verify-full\n"
                                      "hostssl app all all scram-sha-256 clientcert=verify-ca\n",
                       **client_side(certificates, "prefer", client_tls_ca_file=certificates.ca))
    assert asked(under_test, user="alice", tls=certified(certificates, "alice")) == 10
    assert asked(under_test, user="bob", tls=certified(certificates, "alice")) == 10
    assert refused(under_test, user="alice", tls=certified(certificates, "certified"))[0] == "28000"
    assert refused(under_test, user="bob", tls=tls_context(certificates.ca))[0] == "28000"
    assert refused(under_test, user="alice", secret="wrong", tls=certified(certificates, "alice"))[0] == "28P01"


def test_auth_type_cert(pooler, certificates):
    under_test = pooler(auth_type="cert", **client_side(certificates, "verify-full"))
    assert asked(under_test, user="alice", tls=certified(certificates, "alice")) == 0
    assert refused(under_test, user="bob", tls=certified(certificates, "alice")) == ("28000", "certificate authentication failed")


@pytest.mark.parametrize("rules, reason", [
    ("host all +admins all md5\n", "groups of roles are not supported"),
    ("host samerole all all md5\n", "samerole is not supported"),
    ("include other.conf\n", "include directives are not supported"),
    ("host all all all pam\n", "unsupported method: buf=pam"),
    ("hostssl all all all cert\n", "client certificates need"),
    ("host all @gone all md5\n", "No such file"),
])
def test_a_reload_with_a_broken_file_changes_nothing(pooler, write, rules, reason):
    under_test = start(pooler, write, "host all all 127.0.0.1/32 scram-sha-256\n")
    path = write("hba.conf", LOCAL + rules)
    mark = len(under_test.log())
    with pytest.raises(Refused):
        under_test.console("RELOAD")
    under_test.await_log(r"hba\.conf:2: .*" + reason.replace("+", r"\+"), start=mark)
    assert asked(under_test) == 10
    write("hba.conf", LOCAL + "host all all 127.0.0.1/32 reject\n")
    under_test.console("RELOAD")
    assert refused(under_test) == ("28000", "login rejected")
    assert os.path.exists(path)
