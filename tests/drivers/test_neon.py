"""Neon's driver, unmodified, over HTTP: what it gives is what pg gives over a socket."""

import os
import re

import pytest

from places import HERE, node
from waiting import free_port

PROGRAM = os.path.join(HERE, "programs", "neon.mjs")


def listed():
    with open(PROGRAM) as file:
        return re.findall(r"^  async (\w+)\(\) \{", file.read(), re.M)


@pytest.mark.parametrize("case", listed())
def test_neon(new_pooled, certificates, case):
    port = free_port()
    pooled = new_pooled(listeners={"web": f"port={port} protocols=http tls=require"})
    done = pooled.run(node(), PROGRAM, case, HTTP_PORT=str(port), NODE_EXTRA_CA_CERTS=certificates.ca)
    assert done.returncode == 0 and done.stdout == "as it should be\n", done.stdout
