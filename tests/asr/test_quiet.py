"""Compiled code is kept from the terminal, and nothing else is."""

import ctypes
import os
import sys
from threading import Thread

import pytest

from asr.quiet import NAME, quiet_c, quiet_cpp

try:
    C = ctypes.CDLL(None)
    C.fputs.argtypes = ctypes.c_char_p, ctypes.c_void_p
    C.fflush.argtypes = (ctypes.c_void_p,)
except (AttributeError, TypeError):
    pytest.skip("the C library is not at hand", allow_module_level=True)


def write_in_c(text: str) -> None:
    stream = ctypes.c_void_p.in_dll(C, NAME)
    C.fputs(text.encode(), stream)
    C.fflush(stream)


def test_c_is_quiet_and_python_is_not(capfd):
    write_in_c("before\n")
    with quiet_c():
        write_in_c("meanwhile\n")
        print("an error", file=sys.stderr, flush=True)
        os.write(2, b"past all streams\n")
    write_in_c("after\n")
    assert capfd.readouterr().err == "before\nan error\npast all streams\nafter\n"


def test_threads_may_be_within_at_once(capfd):
    inner, outer = quiet_c(), quiet_c()
    outer.__enter__()
    second = Thread(target=inner.__enter__)
    second.start()
    second.join()
    outer.__exit__(None, None, None)
    write_in_c("the second is still within\n")
    inner.__exit__(None, None, None)
    write_in_c("none is\n")
    assert capfd.readouterr().err == "none is\n"


def test_of_cpp_nothing_is_heard_by_whichever_thread(capfd):
    threads = [Thread(target=quietly, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"


def quietly(index: int) -> None:
    for _ in range(20):
        with quiet_cpp():
            os.write(2, b"%d\n" % index)


def test_it_ends_with_an_error(capfd):
    with pytest.raises(ValueError, match="x"), quiet_c():
        raise ValueError("x")
    write_in_c("heard\n")
    assert capfd.readouterr().err == "heard\n"
