"""What is said of an upload before it begins."""

import pytest

from edgeprune.devices.transfer_time import transfer_notice


@pytest.mark.parametrize(
    ("size", "rate", "share", "notice"),
    [
        (874 * 1024, 115_200, 1.0, "874 KiB over 115200 baud: about 1 min 18 s"),
        (874 * 1024, 115_200, 0.5, "874 KiB, 437 KiB when packed, over 115200 baud: about 39 s"),
        (40_000_000, 921_600, 1.0, "38.1 MiB over 921600 baud: about 7 min 14 s"),
        (500_000_000, 115_200, 1.0, "477 MiB over 115200 baud: about 12 h 03 min"),
        (874 * 1024, 3_000_000, 1.0, ""),
        (500_000_000, 0, 1.0, ""),
        (0, 115_200, 1.0, ""),
    ],
)
def test_the_estimate_is_that_of_the_line_and_what_is_quick_is_not_worth_a_line(size, rate, share, notice):
    assert transfer_notice(size, rate, share) == notice
