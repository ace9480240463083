/* SPDX-License-Identifier: MIT */
/* The command line. */
#include "title_options.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>

#define SECONDS_DEFAULT        10
#define SECONDS_MAX            86400
#define PLAYERS_DEFAULT        8
#define PLAYERS_CYCLES_DEFAULT 2
#define CYCLES_MAX             1000000
#define RESERVE_MAX            65536
#define EXIT_WRONG_OPTION      2

static const char usage[] =
    "Usage: title [OPTION]...\n"
    "Runs a small title, whose threads take all their memory from one\n"
    "callback pair, on real traffic over 127.0.0.1, and reports on it.\n"
    "\n"
    "  --seconds N       how long it plays (default 10): a fifth to warm up,\n"
    "                    three fifths steady, a fifth with players and "
    "threads\n"
    "                    that come and go\n"
    "  --players N       players, 1 to 16 (default 8)\n"
    "  --allocator NAME  partyalloc (default) or libc\n"
    "  --reserve MIB     call partyalloc_reserve first\n"
    "  --maintain        call partyalloc_maintain once a frame\n"
    "  --trim            call partyalloc_trim when everybody has left\n"
    "  --realtime        ask for real-time scheduling of the audio threads\n"
    "  --expect-quiet    fail when the steady phase makes a kernel call for\n"
    "                    memory or takes a page fault\n"
    "  --watch           let the kernel report all memory calls of the "
    "process\n"
    "                    in the steady phase, whoever makes them\n"
    "  --csv FILE        write the lines that are shown to FILE as well\n"
    "  --cycles N        start and stop everything N times instead, and "
    "compare\n"
    "                    memory with the first time (default 2 players)\n"
    "  --help            show this\n"
    "\n"
    "The exit status is 0 when all is well; 1 when a reliable message was\n"
    "lost, a payload corrupted or a block left, when --expect-quiet saw a\n"
    "kernel call or page fault, when memory grew over --cycles, or when the\n"
    "title could not run to its end; 2 for a wrong option.\n";

enum title_option {
    OPTION_SECONDS = 1,
    OPTION_PLAYERS,
    OPTION_ALLOCATOR,
    OPTION_RESERVE,
    OPTION_MAINTAIN,
    OPTION_TRIM,
    OPTION_REALTIME,
    OPTION_EXPECT_QUIET,
    OPTION_WATCH,
    OPTION_CSV,
    OPTION_CYCLES,
    OPTION_HELP
};

static const struct option long_options[] = {
    {"seconds", required_argument, NULL, OPTION_SECONDS},
    {"players", required_argument, NULL, OPTION_PLAYERS},
    {"allocator", required_argument, NULL, OPTION_ALLOCATOR},
    {"reserve", required_argument, NULL, OPTION_RESERVE},
    {"maintain", no_argument, NULL, OPTION_MAINTAIN},
    {"trim", no_argument, NULL, OPTION_TRIM},
    {"realtime", no_argument, NULL, OPTION_REALTIME},
    {"expect-quiet", no_argument, NULL, OPTION_EXPECT_QUIET},
    {"watch", no_argument, NULL, OPTION_WATCH},
    {"csv", required_argument, NULL, OPTION_CSV},
    {"cycles", required_argument, NULL, OPTION_CYCLES},
    {"help", no_argument, NULL, OPTION_HELP},
    {NULL, 0, NULL, 0},
};

static void refuse(const char *what)
{
    fprintf(stderr, "title: %s; see title --help\n", what);
    exit(EXIT_WRONG_OPTION);
}

/* The number from 1 to `most` that `text` is. */
static unsigned number_of(const char *text, unsigned most)
{
    char *end;
    unsigned long number;

    errno = 0;
    number = strtoul(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || text[0] == '-' ||
        number < 1 || number > most) {
        fprintf(stderr, "title: %s is not a number from 1 to %u\n", text, most);
        exit(EXIT_WRONG_OPTION);
    }
    return (unsigned)number;
}

static void read_one(struct title_options *options, int option)
{
    switch (option) {
    case OPTION_SECONDS:
        options->seconds = number_of(optarg, SECONDS_MAX);
        break;
    case OPTION_PLAYERS:
        options->players = number_of(optarg, PLAYERS_MAX);
        break;
    case OPTION_ALLOCATOR:
        if (!allocator_choose(optarg))
            refuse("the allocator is partyalloc or libc");
        break;
    case OPTION_RESERVE:
        options->reserve_bytes = number_of(optarg, RESERVE_MAX) * MEBIBYTE;
        break;
    case OPTION_MAINTAIN:
        options->maintain = true;
        break;
    case OPTION_TRIM:
        options->trim = true;
        break;
    case OPTION_REALTIME:
        options->realtime = true;
        break;
    case OPTION_EXPECT_QUIET:
        options->expect_quiet = true;
        break;
    case OPTION_WATCH:
        options->watch = true;
        break;
    case OPTION_CSV:
        options->csv_path = optarg;
        break;
    case OPTION_CYCLES:
        options->cycles = number_of(optarg, CYCLES_MAX);
        break;
    case OPTION_HELP:
        fputs(usage, stdout);
        exit(EXIT_SUCCESS);
    default:
        exit(EXIT_WRONG_OPTION);
    }
}

/* Options that exclude each other. */
static void check_options(const struct title_options *options)
{
    if (!allocator_is_partyalloc() &&
        (options->reserve_bytes != 0 || options->maintain || options->trim))
        refuse("--reserve, --maintain and --trim are for partyalloc");
    if (options->cycles > 0 &&
        (options->watch || options->expect_quiet || options->csv_path != NULL))
        refuse("--cycles has no steady phase and no lines");
}

void options_read(struct title_options *options, int count, char **arguments)
{
    int option;

    *options = (struct title_options){.seconds = SECONDS_DEFAULT};
    allocator_choose("partyalloc");
    while ((option = getopt_long(count, arguments, "", long_options, NULL)) !=
           -1)
        read_one(options, option);
    if (optind < count)
        refuse("it takes options only");
    if (options->players == 0)
        options->players =
            options->cycles > 0 ? PLAYERS_CYCLES_DEFAULT : PLAYERS_DEFAULT;
    check_options(options);
}
