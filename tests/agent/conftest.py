import hashlib
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "measuring"))  # for board_models, which several folders share
sys.path.append(str(Path(__file__).parents[1] / "devices"))  # for wheel_maker
sys.path.append(str(Path(__file__).parent))  # for link_simulator


@pytest.fixture
def root(tmp_path):
    """An agent's folder, empty."""
    for name in ("objects", "runs", "models"):
        (tmp_path / name).mkdir()
    return str(tmp_path)


@pytest.fixture
def keep(root):
    """Puts bytes or a file into the store of `root`; gives their digest."""

    def put(content):
        data = content if isinstance(content, bytes) else Path(content).read_bytes()
        sha = hashlib.sha256(data).hexdigest()
        shelf = Path(root, "objects", sha[:2])
        shelf.mkdir(exist_ok=True)
        (shelf / sha).write_bytes(data)
        return sha

    return put
