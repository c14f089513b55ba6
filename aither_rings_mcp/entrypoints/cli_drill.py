"""How `ring-ctl drill` may be ended: in every way that leaves it time to clean up."""

from __future__ import annotations

import signal
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def ended_like_ctrl_c() -> Generator[None]:
    """Until the block ends, SIGTERM and a closed terminal are Ctrl-C, once: a second one would cut off the clean-up.

    Under `nohup` a closed terminal stays ignored.
    """
    ends = [n for n in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) is not signal.SIG_IGN]

    def end(_number: int, _frame: FrameType | None) -> None:
        for number in ends:
            signal.signal(number, signal.SIG_IGN)
        signal.raise_signal(signal.SIGINT)

    before = {number: signal.signal(number, end) for number in ends}
    # a shell starts its background jobs with Ctrl-C ignored
    before[signal.SIGINT] = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
