# SPDX-License-Identifier: MIT
# What the shared object asks of the program that loads it.
. "${srcdir:-.}/tests/tap.sh"

library=.libs/libpartyalloc.so
test -r "$library" || skip_all "there is no shared library"

# glibc keeps little room for the thread-local storage of what is loaded late.
tls_bytes_max=16

tls_bytes() {
    hex=$(readelf -lW "$library" | awk '$1 == "TLS" { print $6 }')
    echo $((${hex:-0}))
}

tls_is_small() {
    bytes=$(tls_bytes)
    test "$bytes" -le "$tls_bytes_max" || { echo "$bytes bytes"; false; }
}

sanitized() {
    nm -D --undefined-only "$library" | grep -Eq '__(a|t|ub)san_|gcov'
}

# The loader itself may be named too.
needed() {
    readelf -dW "$library" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' |
        grep -v '^ld-linux'
}

needs_libc_only() {
    sanitized || same_text "libc.so.6" "$(needed)"
}

has_flag() {
    readelf -dW "$library" | grep -q "$1"
}

has_no_text_relocations() {
    ! readelf -dW "$library" | grep TEXTREL
}

stack_is_not_executable() {
    readelf -lW "$library" | awk '$1 == "GNU_STACK" { print $7 }' |
        grep -qx RW
}

plan 6
check "thread_local_storage_is_one_pointer" tls_is_small
check "libc_is_all_that_is_needed_at_run_time" needs_libc_only
check "the_code_stays_when_the_library_is_closed" has_flag NODELETE
check "no_function_is_looked_up_while_it_runs" has_flag BIND_NOW
check "no_code_is_patched_when_it_is_loaded" has_no_text_relocations
check "the_stack_is_not_executable" stack_is_not_executable
finish
