"""Statistics of a window against a baseline: divergence, mean shift, null distributions, power.

Of scipy, the service imports scipy.special alone, by `special`: on top of it scipy.optimize takes 23 MiB and
0.3 s of processor time, scipy.stats 46 MiB and 0.7 s or more (scipy 1.17). The functions that these two
packages have as well are compared with them by unit tests.
"""
