"""The processor time of this process. The environment of quix-streams also runs this module."""

import resource


def processor_s() -> float:
    """Return the processor time of this process, librdkafka's threads included."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
