# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# Installs Debian packages.  Sourced by quickstart and .ci/run.

# What building and testing takes.
# shellcheck disable=SC2034 # used by those that source this file
build_packages=(
    gcc g++ libc6-dev make autoconf automake libtool pkg-config
    libck-dev libcmocka-dev libenet-dev
)

# on_debian: whether packages can be queried and installed here at all.
on_debian()
{
    command -v dpkg-query >/dev/null && command -v apt-get >/dev/null
}

# missing_packages NAME...: prints those that are not installed.
missing_packages()
{
    local name status
    for name in "$@"; do
        status=$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null) ||
            status=absent
        [ "$status" = installed ] || echo "$name"
    done
}

# as_root COMMAND...: runs it as root, or fails if there is no way to.
as_root()
{
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        return 1
    fi
}

# install_packages NAME...: installs what is missing, without asking.  On
# systems other than Debian and derivatives it only names the packages;
# configure then says what it does not find.
install_packages()
{
    local missing
    if ! on_debian; then
        echo "No apt-get here.  Needed, by Debian's names: $*" >&2
        return 0
    fi
    missing=$(missing_packages "$@" | tr '\n' ' ')
    [ -n "$missing" ] || return 0
    echo "Installing $missing"
    # shellcheck disable=SC2086 # one word a package
    if ! as_root env DEBIAN_FRONTEND=noninteractive sh -eu -c '
            apt-get update -qq
            apt-get install -qq -y --no-install-recommends "$@"
        ' sh $missing </dev/null >/dev/null; then
        echo "Could not install these; as root: apt-get install $missing" >&2
        return 1
    fi
}
