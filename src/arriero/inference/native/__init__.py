"""The decoder's step on a CPU, in C++, compiled on first use."""
