#include "net/offload.h"

#include <pthread.h>
#include <signal.h>
#include <time.h>

#include "base/memory.h"
#include "net/loop.h"

#define THREADS_MAX 4

static const struct {
    const char *thread_name; /* at most 15 bytes */
    int threads;
} kinds[OFFLOAD_KINDS] = {
    [OFFLOAD_CONFIG] = {"pgweir-config", 1},
    [OFFLOAD_PBKDF2] = {"pgweir-pbkdf2", 2},
    [OFFLOAD_DNS] = {"pgweir-dns", 4},
    [OFFLOAD_PAGES] = {"pgweir-pages", 1},
};

/* Jobs of one kind and those who do them. */
struct crew {
    struct offload *offload;
    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t has_work;
    struct offload_job *first, **last;
    int queued;
    int idle; /* threads that wait for work */
    int threads;
    bool is_ending;             /* nothing is begun, and nothing posted, any more */
    pthread_t ids[THREADS_MAX]; /* of the thread that submits, under the mutex too */
    const char *thread_name;
};

struct offload {
    struct crew crews[OFFLOAD_KINDS];
    _Atomic int users; /* the threads, and the owner: the last one frees */
};

static void leave(struct offload *offload)
{
    if (atomic_fetch_sub(&offload->users, 1) != 1)
        return;
    for (int kind = 0; kind < OFFLOAD_KINDS; kind++) {
        pthread_cond_destroy(&offload->crews[kind].has_work);
        pthread_mutex_destroy(&offload->crews[kind].mutex);
    }
    memory_free(offload);
}

static void deliver(struct mail *mail, struct loop *loop)
{
    struct offload_job *job =
        (struct offload_job *)((char *)mail - offsetof(struct offload_job, mail));

    job->done(job, loop);
}

static struct offload_job *take_job(struct crew *crew)
{
    struct offload_job *job = crew->first;

    crew->first = job->next;
    if (crew->first == NULL)
        crew->last = &crew->first;
    crew->queued--;
    return job;
}

static void *work(void *argument)
{
    struct crew *crew = argument;

    pthread_setname_np(pthread_self(), crew->thread_name);
    pthread_mutex_lock(&crew->mutex);
    for (;;) {
        while (crew->first == NULL && !crew->is_ending) {
            crew->idle++;
            pthread_cond_wait(&crew->has_work, &crew->mutex);
            crew->idle--;
        }
        if (crew->is_ending)
            break;
        struct offload_job *job = take_job(crew);
        pthread_mutex_unlock(&crew->mutex);
        job->run(job);
        pthread_mutex_lock(&crew->mutex);
        /* After the end the job's owner and its loop may be gone. The mutex is held, so that the
         * end cannot come in between. */
        if (crew->is_ending)
            break;
        loop_post(job->loop, &job->mail);
    }
    pthread_mutex_unlock(&crew->mutex);
    leave(crew->offload);
    return NULL;
}

/* A thread more if all are busy and there may be more. Signals are for the main thread. */
static void add_thread(struct crew *crew, int threads_max)
{
    sigset_t all, before;

    if (crew->idle >= crew->queued || crew->threads >= threads_max)
        return;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    atomic_fetch_add(&crew->offload->users, 1);
    if (pthread_create(&crew->ids[crew->threads], NULL, work, crew) == 0)
        crew->threads++;
    else
        atomic_fetch_sub(&crew->offload->users, 1);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

struct offload *offload_create(void)
{
    struct offload *offload = memory_zalloc(sizeof(*offload));

    if (offload == NULL)
        return NULL;
    atomic_init(&offload->users, 1);
    for (int kind = 0; kind < OFFLOAD_KINDS; kind++) {
        struct crew *crew = &offload->crews[kind];
        pthread_mutex_init(&crew->mutex, NULL);
        pthread_cond_init(&crew->has_work, NULL);
        crew->offload = offload;
        crew->last = &crew->first;
        crew->thread_name = kinds[kind].thread_name;
    }
    return offload;
}

bool offload_submit(struct offload *offload, enum offload_kind kind, struct offload_job *job,
                    struct loop *loop)
{
    struct crew *crew = &offload->crews[kind];
    bool is_taken = false;

    job->loop = loop;
    job->mail.deliver = deliver;
    job->next = NULL;
    pthread_mutex_lock(&crew->mutex);
    if (crew->queued < OFFLOAD_QUEUE_MAX && !crew->is_ending) {
        crew->queued++;
        add_thread(crew, kinds[kind].threads);
        is_taken = crew->threads > 0;
        if (is_taken) {
            *crew->last = job;
            crew->last = &job->next;
            pthread_cond_signal(&crew->has_work);
        } else {
            crew->queued--;
        }
    }
    pthread_mutex_unlock(&crew->mutex);
    return is_taken;
}

static void end_crew(struct crew *crew)
{
    pthread_mutex_lock(&crew->mutex);
    crew->is_ending = true;
    pthread_cond_broadcast(&crew->has_work);
    pthread_mutex_unlock(&crew->mutex);
}

/* A hung name server must not hold up the end of the process: its thread is left behind, and goes
 * when it can. */
static void join_crew(const struct crew *crew, const struct timespec *until)
{
    for (int i = 0; i < crew->threads; i++)
        if (pthread_timedjoin_np(crew->ids[i], NULL, until) != 0)
            pthread_detach(crew->ids[i]);
}

void offload_destroy(struct offload *offload)
{
    struct timespec until;

    if (offload == NULL)
        return;
    for (int kind = 0; kind < OFFLOAD_KINDS; kind++)
        end_crew(&offload->crews[kind]);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec++;
    for (int kind = 0; kind < OFFLOAD_KINDS; kind++)
        join_crew(&offload->crews[kind], &until);
    leave(offload);
}
