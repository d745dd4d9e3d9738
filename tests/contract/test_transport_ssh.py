"""ssh:// and ssh+exec:// keep the promises of every transport, over a real sshd."""

import pytest
from ssh_server import ssh_server, user_settings  # noqa: F401  (fixtures)
from test_transport import TransportContract

from edgeprune.devices.address import SshAddress


class TestSshTransport(TransportContract):
    @pytest.fixture
    def address(self, ssh_server, tmp_path):  # noqa: F811
        return SshAddress("127.0.0.1", port=ssh_server.port, root=str(tmp_path / "root"))


class TestSshExecTransport(TransportContract):
    @pytest.fixture
    def address(self, ssh_server, tmp_path):  # noqa: F811
        return SshAddress("127.0.0.1", port=ssh_server.port, root=str(tmp_path / "root"), scheme="ssh+exec")
