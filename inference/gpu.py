"""Use and memory of the GPU that inference runs on, asked of NVIDIA's driver at each scrape."""

from collections.abc import Callable
from typing import Any, Self

import pynvml

from inference.device import CPU, cuda_devices
from runtime.logs import get_logger
from runtime.metrics import (
    GPU_DECODER_USE,
    GPU_MEMORY_TOTAL,
    GPU_MEMORY_USED,
    GPU_POWER,
    GPU_TEMPERATURE,
    GPU_USE,
    GPU_XID_ERRORS,
)

log = get_logger(__name__)


class GpuWatch:
    """One GPU; ``device`` (`cuda:N`) is its label. What the driver does not know of it is left out."""

    def __init__(self, device: str, handle: Any, nvml: Any) -> None:
        self._device = device
        self._handle = handle
        self._nvml = nvml
        self._events: Any = None
        self._ask(self._register)

    @classmethod
    def of(
        cls, device: str, nvml: Any = pynvml, identities: Callable[[], tuple[str, ...]] = cuda_devices
    ) -> Self | None:
        """The watch of a device as inference names it; None for the CPU, and where the driver does not know it.

        By its identity: the driver's count is not CUDA's, which `CUDA_VISIBLE_DEVICES` changes.
        """
        if device == CPU:
            return None
        try:
            raw = identities()[int(device.removeprefix("cuda:"))]
            nvml.nvmlInit()
            uuid = f"GPU-{raw[:8]}-{raw[8:12]}-{raw[12:16]}-{raw[16:20]}-{raw[20:]}"
            return cls(device, nvml.nvmlDeviceGetHandleByUUID(uuid), nvml)
        except (IndexError, ValueError, pynvml.NVMLError) as error:
            log.warning("gpu_not_measured", device=device, reason=str(error))
            return None

    def look(self) -> None:
        """Sets the metrics to what is now."""
        for ask in (self._use, self._decoder, self._memory, self._temperature, self._power, self._xids):
            self._ask(ask)

    @staticmethod
    def _ask(ask: Callable[[], None]) -> None:
        try:
            ask()
        except pynvml.NVMLError as error:  # not every card, driver or slice of a card knows everything
            log.debug("gpu_does_not_say", what=ask.__name__, reason=str(error))

    def _register(self) -> None:
        events = self._nvml.nvmlEventSetCreate()
        self._nvml.nvmlDeviceRegisterEvents(self._handle, pynvml.nvmlEventTypeXidCriticalError, events)
        self._events = events

    def _use(self) -> None:
        percent = self._nvml.nvmlDeviceGetUtilizationRates(self._handle).gpu
        GPU_USE.labels(self._device).set(percent / 100)  # asked before: a label alone would be a series of 0

    def _decoder(self) -> None:
        percent, _sampled_us = self._nvml.nvmlDeviceGetDecoderUtilization(self._handle)
        GPU_DECODER_USE.labels(self._device).set(percent / 100)

    def _memory(self) -> None:
        memory = self._nvml.nvmlDeviceGetMemoryInfo(self._handle)
        GPU_MEMORY_USED.labels(self._device).set(memory.used)
        GPU_MEMORY_TOTAL.labels(self._device).set(memory.total)

    def _temperature(self) -> None:
        degrees = self._nvml.nvmlDeviceGetTemperature(self._handle, pynvml.NVML_TEMPERATURE_GPU)
        GPU_TEMPERATURE.labels(self._device).set(degrees)

    def _power(self) -> None:
        milliwatts = self._nvml.nvmlDeviceGetPowerUsage(self._handle)
        GPU_POWER.labels(self._device).set(milliwatts / 1000)

    def _xids(self) -> None:
        while self._events is not None:
            try:
                event = self._nvml.nvmlEventSetWait_v2(self._events, 0)
            except pynvml.NVMLError_Timeout:
                return
            GPU_XID_ERRORS.labels(self._device, str(event.eventData)).inc()
