#include <check.h>
#include <string.h>

#include "base/histogram.h"

Suite *suite_base_histogram(void);

static int bucket_of(usec_t time)
{
    struct histogram histogram = {0};
    int found = -1;
    histogram_add(&histogram, time);
    for (int i = 0; i < HISTOGRAM_BUCKETS; i++)
        if (histogram.counts[i] == 1)
            found = found == -1 ? i : -2;
        else
            ck_assert_uint_eq(histogram.counts[i], 0);
    return found;
}

START_TEST(a_time_counts_in_the_first_bucket_whose_bound_it_does_not_pass)
{
    for (int i = 0; i < HISTOGRAM_BUCKETS - 1; i++) {
        ck_assert_int_eq(bucket_of(histogram_bound(i)), i);
        ck_assert_int_eq(bucket_of(histogram_bound(i) + 1), i + 1);
    }
}
END_TEST

START_TEST(the_ends_take_what_is_beyond_them)
{
    ck_assert_int_eq(bucket_of(INT64_MIN), 0);
    ck_assert_int_eq(bucket_of(-1), 0);
    ck_assert_int_eq(bucket_of(0), 0);
    ck_assert_int_eq(bucket_of(INT64_MAX), HISTOGRAM_BUCKETS - 1);
}
END_TEST

Suite *suite_base_histogram(void)
{
    Suite *suite = suite_create("base/histogram");
    TCase *cases = tcase_create("histogram");
    tcase_add_test(cases, a_time_counts_in_the_first_bucket_whose_bound_it_does_not_pass);
    tcase_add_test(cases, the_ends_take_what_is_beyond_them);
    suite_add_tcase(suite, cases);
    return suite;
}
