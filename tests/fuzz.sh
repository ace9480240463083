# SPDX-License-Identifier: MIT
# "make fuzz": lets libFuzzer make up sequences of calls, for FUZZ_SECONDS (30).
# The arguments are the flags of the build.  Inputs that it finds interesting
# stay in the build's folder fuzz-corpus, from which the next run goes on.
srcdir=${srcdir:-.}
seconds=${FUZZ_SECONDS:-30}
clang=${CLANG:-clang}
program=./tests/fuzzer

if ! echo 'int LLVMFuzzerTestOneInput(void) { return 0; }' |
    $clang -x c -fsanitize=fuzzer,address - -o "$program.probe" 2>/dev/null
then
    echo "skipped: $clang has no libFuzzer (Debian: clang, libclang-rt-dev)"
    exit 0
fi
rm -f "$program.probe"

set -e
$clang "$@" -g -O1 -fsanitize=fuzzer,address,undefined \
    -fno-sanitize-recover=all -I"$srcdir/include" -I"$srcdir/src" \
    "$srcdir"/src/*.c "$srcdir/tests/operations.c" "$srcdir/tests/fuzzer.c" \
    -pthread -o "$program"
mkdir -p fuzz-corpus
"$program" -max_total_time="$seconds" -max_len=4096 -print_final_stats=1 \
    -artifact_prefix=fuzz- fuzz-corpus -verbosity=1
