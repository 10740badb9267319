"""The C++ of the house and its compilation: a step of inference, and kernels of training."""
