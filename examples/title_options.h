/* SPDX-License-Identifier: MIT */
/* The command line. */
#ifndef TITLE_OPTIONS_H
#define TITLE_OPTIONS_H

#include "title.h"

/* Reads the command line and chooses the allocator; ends the process when there
 * is nothing to run, with status 2 if an option was wrong. */
void options_read(struct title_options *options, int count, char **arguments);

#endif
