"""What is measured of a GPU, with a simulated driver; nothing here was run on a GPU."""

from types import SimpleNamespace
from typing import Any

import pynvml
import pytest
from prometheus_client import REGISTRY

from inference.gpu import GpuWatch

IDENTITY = "0123456789abcdef0123456789abcdef"
UUID = "GPU-01234567-89ab-cdef-0123-456789abcdef"
ALL = (
    "use_ratio",
    "decoder_use_ratio",
    "memory_used_bytes",
    "memory_total_bytes",
    "temperature_celsius",
    "power_watts",
)


class Driver:
    """As much of NVML as is asked for. ``refused``: functions this card does not have."""

    def __init__(self, *refused: str, xids: tuple[int, ...] = ()) -> None:
        self._refused = refused
        self._xids = list(xids)

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("nvml") and name in self._refused:

            def refuse(*_: object) -> None:
                raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

            return refuse
        return super().__getattribute__(name)

    def nvmlInit(self) -> None: ...  # noqa: N802

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:  # noqa: N802
        if uuid != UUID:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return uuid

    def nvmlDeviceGetUtilizationRates(self, _handle: str) -> Any:  # noqa: N802
        return SimpleNamespace(gpu=73, memory=5)

    def nvmlDeviceGetDecoderUtilization(self, _handle: str) -> list[int]:  # noqa: N802
        return [20, 166_000]

    def nvmlDeviceGetMemoryInfo(self, _handle: str) -> Any:  # noqa: N802
        return SimpleNamespace(used=3 * 2**30, free=21 * 2**30, total=24 * 2**30)

    def nvmlDeviceGetTemperature(self, _handle: str, sensor: int) -> int:  # noqa: N802
        assert sensor == pynvml.NVML_TEMPERATURE_GPU
        return 61

    def nvmlDeviceGetPowerUsage(self, _handle: str) -> int:  # noqa: N802
        return 148_500

    def nvmlEventSetCreate(self) -> str:  # noqa: N802
        return "events"

    def nvmlDeviceRegisterEvents(self, _handle: str, what: int, _events: str) -> None:  # noqa: N802
        assert what == pynvml.nvmlEventTypeXidCriticalError

    def nvmlEventSetWait_v2(self, _events: str, wait_ms: int) -> Any:  # noqa: N802
        assert wait_ms == 0, "a scrape waits for nothing"
        if not self._xids:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_TIMEOUT)
        return SimpleNamespace(eventData=self._xids.pop(0))


def watch(driver: Driver, device: str) -> GpuWatch | None:
    number = int(device.removeprefix("cuda:"))
    return GpuWatch.of(device, driver, lambda: ("f" * 32,) * number + (IDENTITY,))


def shown(device: str) -> dict[str, float | None]:
    return {name: REGISTRY.get_sample_value(f"backsight_gpu_{name}", {"gpu": device}) for name in ALL}


def test_the_card_that_inference_has_is_measured() -> None:
    one = watch(Driver(xids=(79, 79, 31)), "cuda:1")
    assert one is not None
    one.look()
    assert shown("cuda:1") == dict(zip(ALL, (0.73, 0.2, 3 * 2**30, 24 * 2**30, 61, 148.5), strict=True))
    one.look()
    xids = [
        REGISTRY.get_sample_value("backsight_gpu_xid_errors_total", {"gpu": "cuda:1", "xid": each})
        for each in ("79", "31")
    ]
    assert xids == [2, 1]


def test_what_a_card_does_not_know_is_absent_and_the_rest_is_there() -> None:
    one = watch(Driver("nvmlDeviceGetPowerUsage", "nvmlDeviceGetDecoderUtilization", "nvmlEventSetCreate"), "cuda:2")
    assert one is not None
    one.look()
    assert {name for name, value in shown("cuda:2").items() if value is None} == {"power_watts", "decoder_use_ratio"}


@pytest.mark.parametrize("refused", ["nvmlInit", "nvmlDeviceGetHandleByUUID"])
def test_without_a_driver_there_are_no_series(refused: str) -> None:
    assert watch(Driver(refused), "cuda:3") is None
    assert set(shown("cuda:3").values()) == {None}


def test_the_cpu_has_none() -> None:
    assert GpuWatch.of("cpu", Driver()) is None
