#include <check.h>

#include "base/digest.h"

Suite *suite_base_digest(void);

/* Key and input of the paper's appendix: 00 01 02 ... */
static const struct digest_key paper_key = {UINT64_C(0x0706050403020100),
                                            UINT64_C(0x0f0e0d0c0b0a0908)};
static const uint8_t paper_input[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

START_TEST(the_papers_vector_of_15_bytes)
{
    ck_assert_uint_eq(digest64_keyed(paper_key, paper_input, 15), UINT64_C(0xa129ca6149be45e5));
}
END_TEST

START_TEST(the_published_vectors_of_0_1_and_8_bytes)
{
    ck_assert_uint_eq(digest64_keyed(paper_key, NULL, 0), UINT64_C(0x726fdb47dd0e0e31));
    ck_assert_uint_eq(digest64_keyed(paper_key, paper_input, 1), UINT64_C(0x74f839c593dc67fd));
    ck_assert_uint_eq(digest64_keyed(paper_key, paper_input, 8), UINT64_C(0x93f5f5799a932462));
}
END_TEST

START_TEST(the_published_vectors_of_128_bits)
{
    struct digest128 empty = digest128_keyed(paper_key, NULL, 0);
    struct digest128 one = digest128_keyed(paper_key, paper_input, 1);

    ck_assert_uint_eq(empty.low, UINT64_C(0xe6a825ba047f81a3));
    ck_assert_uint_eq(empty.high, UINT64_C(0x930255c71472f66d));
    ck_assert_uint_eq(one.low, UINT64_C(0x44af996bd8c187da));
    ck_assert_uint_eq(one.high, UINT64_C(0x45fc229b11597634));
}
END_TEST

START_TEST(a_new_seed_changes_every_digest)
{
    uint64_t before = digest64("abc", 3);
    struct digest128 wide_before = digest128("abc", 3);

    digest_init();
    ck_assert_uint_ne(digest64("abc", 3), before);
    ck_assert(!digest128_equal(digest128("abc", 3), wide_before));
    ck_assert_uint_eq(digest64("abc", 3), digest64("abc", 3));
}
END_TEST

Suite *suite_base_digest(void)
{
    Suite *suite = suite_create("base/digest");
    TCase *cases = tcase_create("digest");

    tcase_add_test(cases, the_papers_vector_of_15_bytes);
    tcase_add_test(cases, the_published_vectors_of_0_1_and_8_bytes);
    tcase_add_test(cases, the_published_vectors_of_128_bits);
    tcase_add_test(cases, a_new_seed_changes_every_digest);
    suite_add_tcase(suite, cases);
    return suite;
}
