from __future__ import annotations

import logging
import sys
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).parent))  # for pruning_architectures, which several files share


# torch.export writes thousands of trace records that pytest would keep for its failure reports.
logging.getLogger("torch.__trace").propagate = False

torch.manual_seed(0)  # of what test files make when they are read


@pytest.fixture(autouse=True)
def one_thread_and_a_seed():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)
