"""The Llama decoder with its heads, and weights in and out of the public layouts."""
