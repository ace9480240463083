# SPDX-License-Identifier: MIT
#
# What partyalloc needs from Concurrency Kit and from the processor.

# PARTYALLOC_TRY_CK(WHAT, CACHE-VARIABLE, BODY, [IF-SO], [IF-NOT])
# ----------------------------------------------------------------
# Whether a program that includes ck_stack.h and does BODY can be linked.
# Uses CK_CFLAGS.
AC_DEFUN([PARTYALLOC_TRY_CK],
[AC_CACHE_CHECK([$1], [$2],
    [partyalloc_save_CPPFLAGS=$CPPFLAGS
    CPPFLAGS="$CPPFLAGS $CK_CFLAGS"
    AC_LINK_IFELSE([AC_LANG_PROGRAM([[
            #include <ck_pr.h>
            #include <ck_stack.h>
            static ck_stack_t stack __attribute__((aligned(64)));
            ]], [$3])],
        [$2=yes], [$2=no])
    CPPFLAGS=$partyalloc_save_CPPFLAGS])
AS_VAR_IF([$2], [yes], [$4], [$5])
])

# PARTYALLOC_CHECK_CAS16([IF-SO], [IF-NOT])
# -----------------------------------------
# Whether ck can compare and swap two pointers, 16 bytes, at once.
AC_DEFUN([PARTYALLOC_CHECK_CAS16],
[PARTYALLOC_TRY_CK([for a 16-byte compare-and-swap],
    [partyalloc_cv_cas16], [[
        #ifndef CK_F_PR_CAS_PTR_2_VALUE
        #error "ck knows no compare-and-swap of two pointers"
        #endif
        ck_stack_t old = stack;
        return !ck_pr_cas_ptr_2_value(&stack, &old, &old, &old);
    ]], [$1], [$2])
])

# PARTYALLOC_CHECK_CK_STACK([IF-SO], [IF-NOT])
# --------------------------------------------
# Whether ck's stack has a pop for many consumers.  ck leaves it out where it
# has no compare-and-swap of two pointers.
AC_DEFUN([PARTYALLOC_CHECK_CK_STACK],
[PARTYALLOC_TRY_CK([for ck_stack_pop_mpmc],
    [partyalloc_cv_ck_stack_pop_mpmc], [[
        #ifndef CK_F_STACK_POP_MPMC
        #error "ck_stack has no pop for many consumers"
        #endif
        return ck_stack_pop_mpmc(&stack) != NULL;
    ]], [$1], [$2])
])
