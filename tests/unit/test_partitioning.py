"""Keys land where Java, Faust and librdkafka put them."""

import pytest

from schemas.partitioning import murmur2, partition_of


@pytest.mark.parametrize(
    ("key", "hashed"),
    [  # Apache Kafka, UtilsTest.testMurmur2
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_the_hash_is_kafkas_own(key: bytes, hashed: int) -> None:
    assert murmur2(key) == hashed % 2**32


def test_a_partition_is_never_negative_and_below_the_count() -> None:
    assert {partition_of(f"cam_{number}", 12) for number in range(300)} == set(range(12))
