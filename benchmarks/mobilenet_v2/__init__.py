"""What fake quantization costs a training step of MobileNetV2: `python -m benchmarks.mobilenet_v2`."""
