#!/bin/sh
# numba reads what it compiled only where it may also write: the code in the image is copied there.
# Without a /tmp that can be written to, it is compiled anew, which takes some 15 s.
cp -r /opt/asr/compiled/. "$NUMBA_CACHE_DIR" 2>/dev/null || true
exec asr-server "$@"
