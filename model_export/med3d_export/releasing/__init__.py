"""From a fitted model to a bundle: networks and heads as ONNX, card, metrics, limits, promotion."""
