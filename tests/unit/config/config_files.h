/* config_files: a folder of its own for each test, and loads from it. Included by the tests of this
 * room. */
#pragma once
#include <check.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/memory.h"
#include "config/load.h"

#define INI "pgweir.ini"

struct loaded {
    const struct config *config;
    struct config_problems problems, warnings;
};

static char config_folder[64];

static inline void enter_folder(void)
{
    digest_init();
    (void)umask(077); /* the files of secrets are private, or a warning says so */
    (void)snprintf(config_folder, sizeof config_folder, "/tmp/pgweir-config-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(config_folder));
    ck_assert_int_eq(chdir(config_folder), 0);
}

static inline int remove_one(const char *path, const struct stat *status, int type,
                             struct FTW *walk)
{
    (void)status;
    (void)type;
    (void)walk;
    return remove(path);
}

static inline void leave_folder(void)
{
    ck_assert_int_eq(chdir("/"), 0);
    ck_assert_int_eq(nftw(config_folder, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

static inline void write_file(const char *name, const char *text)
{
    FILE *file = fopen(name, "w");

    ck_assert_ptr_nonnull(file);
    ck_assert_int_ge(fputs(text, file), 0);
    ck_assert_int_eq(fclose(file), 0);
}

static inline struct loaded load_after(const struct config *previous, const char *text)
{
    struct config_load_request request = {.file = INI, .previous = previous};
    struct loaded loaded = {0};

    write_file(INI, text);
    loaded.config = config_load(&request, &loaded.problems, &loaded.warnings);
    return loaded;
}

static inline struct loaded load(const char *text)
{
    return load_after(NULL, text);
}

static inline void unload(struct loaded *loaded)
{
    config_release(loaded->config);
    config_problems_finish(&loaded->problems);
    config_problems_finish(&loaded->warnings);
}

/* A load that must succeed. */
static inline struct loaded load_good(const char *text)
{
    struct loaded loaded = load(text);

    if (loaded.problems.count > 0)
        ck_abort_msg("refused: %s", loaded.problems.lines[0]);
    ck_assert_ptr_nonnull(loaded.config);
    return loaded;
}

/* A load that must fail with this one problem. */
static inline void assert_problem(const char *text, const char *expected)
{
    struct loaded loaded = load(text);

    ck_assert_ptr_null(loaded.config);
    ck_assert_int_eq(loaded.problems.count, 1);
    ck_assert_str_eq(loaded.problems.lines[0], expected);
    unload(&loaded);
}

static inline bool has_line(const struct config_problems *problems, const char *part)
{
    for (int i = 0; i < problems->count && i < CONFIG_PROBLEMS_MAX; i++) {
        if (strstr(problems->lines[i], part) != NULL)
            return true;
    }
    return false;
}

#define PROBLEM_TEST(name, text, expected)                                                         \
    START_TEST(name)                                                                               \
    {                                                                                              \
        assert_problem(text, expected);                                                            \
    }                                                                                              \
    END_TEST
