# SPDX-License-Identifier: MIT

include_HEADERS += %D%/partyalloc.h
