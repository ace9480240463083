# SPDX-License-Identifier: MIT
# "make mutants": builds a copy of the sources with one small fault after the
# other (tests/mutants/list.sh) and shows that the tests find each.  Prints TAP.
# MUTANTS in the environment is a pattern for the names of those to be tried.
#
# A test that fails, crashes or does not end has found the mutant.
. "${srcdir:-.}/tests/tap.sh"

srcdir=$(cd "$srcdir" && pwd)
work=$PWD/mutants
seconds_max=300
jobs=${MUTANT_JOBS:-2}

copy_sources() {
    rm -rf "$work"
    mkdir -p "$work/tree"
    (cd "$srcdir" && tar -cf - --exclude=.git --exclude='./build*' \
        --exclude=./build-aux --exclude=./mutants --exclude=./Makefile \
        --exclude=./config.status --exclude='*.o' --exclude='*.lo' \
        --exclude='*.la' --exclude=.libs --exclude=.deps .) |
        (cd "$work/tree" && tar -xf -)
    cp -R "$srcdir/build-aux" "$work/tree/"
}

configure_copy() {
    mkdir -p "$work/build"
    (cd "$work/build" &&
        "$work/tree/configure" CC="$CC" CFLAGS="$CFLAGS" >configure.log 2>&1)
}

# Builds and runs tests until one of them fails; says which.
found_by() {
    for test in "$@"; do
        (cd "$work/build" && make -s -j"$jobs" libpartyalloc.la \
            "tests/$test" >make.log 2>&1) || { echo "does not build"; return; }
        (cd "$work/build" && timeout "$seconds_max" "tests/$test" \
            >run.log 2>&1) 2>/dev/null || { echo "$test"; return; }
    done
    echo nobody
}

mutant() {
    name=$1 file=$2 change=$3
    shift 3
    case $name in
    ${MUTANTS:-*}) ;;
    *) return ;;
    esac
    number=$((number + 1))
    sed "$change" "$srcdir/$file" >"$work/mutated"
    if cmp -s "$work/mutated" "$srcdir/$file"; then
        finder="cannot be made: the expression changes nothing"
    else
        cp "$work/mutated" "$work/tree/$file"
        finder=$(found_by "$@")
        cp "$srcdir/$file" "$work/tree/$file"
    fi
    case $finder in
    nobody | "does not build" | cannot*)
        failures=$((failures + 1))
        echo "not ok $number - $name ($finder)"
        ;;
    *) echo "ok $number - $name (found by $finder)" ;;
    esac
}

copy_sources
configure_copy || { echo "Bail out! configure failed"; exit 1; }
. "$srcdir/tests/mutants/list.sh"
echo "1..$number"
finish
