#include <check.h>
#include <string.h>

#include "base/memory.h"
#include "base/table.h"

Suite *suite_base_table(void);

struct item {
    char name[16];
    uint64_t id;
    UT_hash_handle hh, by_id;
};

START_TEST(an_added_element_is_found_by_its_name)
{
    struct item *table = NULL, *found = NULL;
    struct item item = {.name = "one"};

    HASH_ADD_STR(table, name, &item);
    ck_assert(TABLE_ADDED(&item));
    HASH_FIND_STR(table, "one", found);
    ck_assert_ptr_eq(found, &item);
    HASH_FIND_STR(table, "two", found);
    ck_assert_ptr_null(found);
    HASH_DEL(table, &item);
    ck_assert_ptr_null(table);
}
END_TEST

START_TEST(a_thousand_elements_survive_the_growing_of_a_table)
{
    struct item *table = NULL, *item, *next;
    struct item *items = memory_zalloc_array(1000, sizeof(*items));

    ck_assert_ptr_nonnull(items);
    for (uint64_t id = 0; id < 1000; id++) {
        items[id].id = id;
        HASH_ADD(by_id, table, id, sizeof(id), &items[id]);
    }
    for (uint64_t id = 0; id < 1000; id++) {
        HASH_FIND(by_id, table, &id, sizeof(id), item);
        ck_assert_ptr_eq(item, &items[id]);
    }
    ck_assert_uint_eq(HASH_CNT(by_id, table), 1000);
    HASH_ITER (by_id, table, item, next) {
        HASH_DELETE(by_id, table, item);
    }
    ck_assert_ptr_null(table);
    memory_free(items);
}
END_TEST

Suite *suite_base_table(void)
{
    Suite *suite = suite_create("base/table");
    TCase *cases = tcase_create("table");

    tcase_add_test(cases, an_added_element_is_found_by_its_name);
    tcase_add_test(cases, a_thousand_elements_survive_the_growing_of_a_table);
    suite_add_tcase(suite, cases);
    return suite;
}
