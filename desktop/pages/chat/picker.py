"""The choice of a checkpoint, as every page has it: desktop/widgets/model_picker.py."""

from desktop.widgets.model_picker import ModelPicker, grouped

__all__ = ["ModelPicker", "grouped"]
