"""The documents that people write: `cameras.yaml`, `rois.yaml`, `services.yaml`. Unknown keys are refused."""
