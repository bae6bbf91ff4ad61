//! The tests that need the whole: each file under `tests/` is one story of the real binary, over real sockets.
