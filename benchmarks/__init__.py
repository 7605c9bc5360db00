"""Speed of fq beside memcpy and, on request, beside its peers: `python -m benchmarks` in the root of the checkout."""
