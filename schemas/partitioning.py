"""Which partition a key belongs to: murmur2 as Java's and Faust's default partitioners and librdkafka's
``murmur2_random`` compute it (Apache Kafka, ``org.apache.kafka.common.utils.Utils.murmur2``)."""

from typing import Final

_MIX: Final = 0x5BD1E995
_SEED: Final = 0x9747B28C
_WORD: Final = 0xFFFFFFFF


def murmur2(key: bytes) -> int:
    """The 32-bit hash, unsigned."""
    hashed = _SEED ^ len(key)
    whole = len(key) & ~3
    for place in range(0, whole, 4):
        word = int.from_bytes(key[place : place + 4], "little") * _MIX & _WORD
        word = (word ^ word >> 24) * _MIX & _WORD
        hashed = hashed * _MIX & _WORD ^ word
    if len(key) > whole:
        hashed = (hashed ^ int.from_bytes(key[whole:], "little")) * _MIX & _WORD
    hashed = (hashed ^ hashed >> 13) * _MIX & _WORD
    return hashed ^ hashed >> 15


def partition_of(key: str, partitions: int) -> int:
    """The partition of the records with this key."""
    return (murmur2(key.encode()) & 0x7FFFFFFF) % partitions
