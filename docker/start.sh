#!/bin/sh
# numba reads what it compiled only where it may also write: the code in the image is copied there.
# Without a /tmp that can be written to, it is compiled anew, which takes some 15 s.
cp -r /opt/asr/compiled/. "$NUMBA_CACHE_DIR" 2>/dev/null || true
# What is mounted at /models/default goes before the model in the image, unless the arguments name one.
case " $*" in
*" --model"*) ;;
*) if [ -e "${DEFAULT_MODEL:=/models/default}" ]; then set -- --model "$DEFAULT_MODEL" "$@"; fi ;;
esac
exec asr-server "$@"
