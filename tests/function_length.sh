# SPDX-License-Identifier: MIT
# A function fits a screen, and a file stays short.
. "${srcdir:-.}/tests/tap.sh"

function_lines_max=60
file_lines_max=500

# Functions start and end with a brace in the first column.
long_functions() {
    awk -v max="$function_lines_max" '
        FNR == 1 { start = 0 }
        /^{/ { start = FNR }
        /^}/ && start {
            if (FNR - start - 1 > max)
                print FILENAME ":" start ": " FNR - start - 1 " lines"
            start = 0
        }' "$srcdir"/src/*.c "$srcdir"/src/*.h
}

long_files() {
    for file in "$srcdir"/src/*.[ch]; do
        lines=$(wc -l <"$file")
        test "$lines" -le "$file_lines_max" || echo "$file: $lines lines"
    done
}

plan 2
check "no_function_of_the_library_is_longer_than_a_screen" \
    nothing_in "$(long_functions)"
check "no_file_of_the_library_is_long" nothing_in "$(long_files)"
finish
