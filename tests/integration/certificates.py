"""Throwaway certificates, made with the openssl command: an authority, a server certificate for localhost, one for another
name, client certificates, and a foreign authority that nobody trusts."""

import os
import subprocess

from waiting import give_away


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


class Certificates:
    def __init__(self, directory):
        self.directory = directory
        os.makedirs(directory, exist_ok=True)
        self.authority("ca", "pgweir test authority")
        self.authority("foreign-ca", "an authority that nobody trusts")
        names = "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1"
        self.issue("server", "ca", "/CN=localhost", names)
        self.issue("server-renewed", "ca", "/CN=localhost/O=renewed", names)
        self.issue("server-other-name", "ca", "/CN=other.example", "subjectAltName=DNS:other.example")
        self.issue("alice", "ca", "/CN=alice")
        self.issue("certified", "ca", "/CN=certified")
        self.issue("foreign-alice", "foreign-ca", "/CN=alice")

    def path(self, name):
        return os.path.join(self.directory, name)

    def certificate(self, name):
        return self.path(name + ".crt")

    def key(self, name):
        return self.path(name + ".key")

    @property
    def ca(self):
        return self.certificate("ca")

    @property
    def foreign_ca(self):
        return self.certificate("foreign-ca")

    def new_key(self, name, kind=("EC", "-pkeyopt", "ec_paramgen_curve:P-256")):
        openssl("genpkey", "-algorithm", *kind, "-out", self.key(name))
        os.chmod(self.key(name), 0o600)

    def authority(self, name, subject):
        self.new_key(name)
        openssl("req", "-x509", "-new", "-key", self.key(name), "-subj", f"/CN={subject}", "-days", "3",
                "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
                "-out", self.certificate(name))
        give_away(self.key(name), self.certificate(name))

    def issue(self, name, authority, subject, extension=None, sign_options=(), **key):
        self.new_key(name, **key)
        request = self.path(name + ".csr")
        openssl("req", "-new", "-key", self.key(name), "-subj", subject, "-out", request)
        sign = ["x509", "-req", "-in", request, "-CA", self.certificate(authority), "-CAkey", self.key(authority),
                "-CAcreateserial", "-days", "3", "-out", self.certificate(name), *sign_options]
        if extension:
            with open(self.path(name + ".ext"), "w") as file:
                file.write(extension + "\n")
            sign += ["-extfile", self.path(name + ".ext")]
        openssl(*sign)
        give_away(self.key(name), self.certificate(name))
