#include "wire/sqlstate.h"

#include <stddef.h>
#include <string.h>

bool sqlstate_is_about_the_login(const char *sqlstate)
{
    /* Whole classes: a value in the startup packet (22), the identity (28), a name or a right (42).
     */
    static const char *const classes[] = {"22", "28", "42"};
    static const char *const codes[] = {
        "3D000", /* no such database */
        "3F000", /* no such schema: a search_path at login */
        "55000", /* this database takes no connections */
        "55P02", /* a startup parameter that cannot be set */
    };

    for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++)
        if (strncmp(sqlstate, classes[i], 2) == 0)
            return true;
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
        if (strcmp(sqlstate, codes[i]) == 0)
            return true;
    return false;
}

bool sqlstate_is_starting_up(const char *sqlstate)
{
    return strcmp(sqlstate, "57P03") == 0;
}
