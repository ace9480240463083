# SPDX-License-Identifier: MIT
# The library exports the functions of its header and nothing else.
. "${srcdir:-.}/tests/tap.sh"

library=.libs/libpartyalloc.so
test -r "$library" || skip_all "there is no shared library"

exported() {
    nm -D --defined-only "$library" | awk '$2 != "A" { print $3 }' |
        sed 's/@.*//' | sort
}

in_map() {
    sed -n 's/^ *\(partyalloc_[a-z_]*\);$/\1/p' "$srcdir/src/partyalloc.map" |
        sort
}

# The declarations, without comments: a name before an opening parenthesis at
# the start of a declaration.
in_header() {
    sed -e 's:/\*.*\*/::' -e '/\/\*/,/\*\//d' \
        "$srcdir/include/partyalloc.h" |
        sed -n 's/^[a-z].*[ *]\(partyalloc_[a-z_]*\)(.*/\1/p' | sort
}

plan 3
check "the_exported_names_are_those_of_the_symbol_map" \
    same_text "$(in_map)" "$(exported)"
check "the_exported_names_are_those_of_the_header" \
    same_text "$(in_header)" "$(exported)"
check "every_exported_name_has_a_version" nothing_in \
    "$(nm -D --defined-only "$library" | grep -v ' A ' | grep -v '@@PARTYALLOC_')"
finish
