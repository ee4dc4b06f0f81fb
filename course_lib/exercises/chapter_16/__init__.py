"""Deployment on a CPU.

Five answers, in the order of the page: a line through times and the largest batch within a deadline (16.1), latency and
throughput from a list of times (16.2), do two runtimes agree (16.3), how long images wait for servers (16.4), and what
forbids a comparison of two timings (16.5).
"""
