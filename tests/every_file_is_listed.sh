# SPDX-License-Identifier: MIT
# Every test is named in a makefile: it would never run otherwise.
. "${srcdir:-.}/tests/tap.sh"

makefiles=$(sed 's/#.*//' "$srcdir"/Makefile.am "$srcdir"/*/*.mk)

# A source need not be named if its program has the same name.
unlisted() {
    (cd "$srcdir" && find tests -type f ! -name '*.mk' | sort) |
    while read -r file; do
        relative=${file#tests/}
        case $relative in
        *.c) pattern="${relative%.c}(\\.c)?" ;;
        *.cpp) pattern="${relative%.cpp}(\\.cpp)?" ;;
        *.sh | *.awk | *.pml | *.txt | *.h) pattern=$relative ;;
        *) continue ;;
        esac
        printf '%s\n' "$makefiles" |
            grep -Eq "(%D%|tests)/$pattern([[:space:]]|\$)" ||
            echo "$file"
    done
}

# Every program that is built for the tests is also run.
not_run() {
    for list in TESTS check_PROGRAMS; do
        printf '%s\n' "$makefiles" |
            sed -n "s/^$list += *//p" | tr ' ' '\n' | grep -v 'shell_tests' |
            sort >"list_of_$list.tmp"
    done
    diff list_of_TESTS.tmp list_of_check_PROGRAMS.tmp
    status=$?
    rm -f list_of_TESTS.tmp list_of_check_PROGRAMS.tmp
    return $status
}

plan 2
check "every_file_among_the_tests_is_named_in_a_makefile" \
    nothing_in "$(unlisted)"
check "every_program_that_is_built_for_the_tests_is_run" not_run
finish
